package session

import (
	"context"
	"fmt"
	"maps"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

// Members of the connection's hooks.
const (
	memberAuthToken = "authToken"
	memberInfo      = "info"
	memberPolicies  = "restClientConfig"
	memberStatus    = "status"
)

// Values of the status in a ConnectionStatusEvent.
const (
	connectionEstablished wcs.Status = "ESTABLISHED"
	connectionFailed      wcs.Status = "FAILED"
)

// authorizeConnect lets the backend decide on a client. The client is accepted after the backend agreed.
func (s *Session) authorizeConnect(app *apps.App, c *wcs.Connection, id sessionID) {
	if app.Hooks.Backend != nil {
		s.hooks = newSessionHooks(s, app, id)
		s.hooks.connection = s.hooks.connectBody(c)
	}
	h := s.hooks
	if !h.wants(hooks.Connect) {
		s.enter(app, c, id)
		return
	}
	var ctx context.Context
	ctx, h.cancelConnect = context.WithCancel(s.table.Context)
	h.call(ctx, hooks.Connect, h.connection, func(answer hooks.Object, err error) {
		s.loop.Post(func() { h.onConnect(c, answer, err) })
	})
}

// onConnect handles the backend's answer to connect.
func (h *sessionHooks) onConnect(c *wcs.Connection, answer hooks.Object, err error) {
	h.cancelConnect()
	s := h.sess
	if s.closed || s.conn.Ended() {
		return // the client disconnected
	}
	if err == nil {
		err = h.takeConnect(c, answer)
	}
	if err = h.decide(hooks.Connect, err); err == nil {
		s.enter(h.app, c, h.id)
		return
	}
	v := classify(err)
	h.log.WithLevel(v.reason.Class().Level()).Err(err).Msg("connection refused by backend hook")
	s.reject(v.info)
	h.connection = h.body(hooks.ErrorBody{Info: v.info}) // the only content of further events
	h.notifyConnection(connectionFailed)
	delete(h.connection, memberInfo)
}

// established notifies the backend that the session is established. Its id can differ from the one in
// connect: a session that was to be resumed can end in between.
func (h *sessionHooks) established(id sessionID) {
	if h == nil {
		return
	}
	h.id = id
	h.connection = h.addressed(h.connection)
	h.notifyConnection(connectionEstablished)
	if !h.wants(hooks.ConnectionStatusEvent) {
		h.connection = nil // not needed any more
	}
}

// takeConnect applies the members that the backend changed and its policies for the session. Members that the
// answer lacks keep their value.
func (h *sessionHooks) takeConnect(c *wcs.Connection, answer hooks.Object) error {
	policies, fault := hooks.ParsePolicies(answer[memberPolicies])
	if fault != nil {
		h.log.Warn().Err(fault).Msg("restClientConfig partly ignored")
	}
	if idle := idleOverwrites(policies); len(idle) > 0 {
		h.log.Warn().Strs("members", idle).Msg("restOverwrite without effect")
	}
	taken, changed := hooks.TakeConnect(h.connection, answer)
	sent := maps.Clone(c.Sent)
	delete(sent, memberPolicies) // not a member of the client's
	for _, name := range changed {
		sent[name] = taken[name]
	}
	if err := rebind(sent, c); err != nil {
		return fmt.Errorf("%w: %w", hooks.ErrBadResponse, err)
	}
	h.policies, h.connection = policies, taken
	h.log.Debug().Strs("changed", changed).Msg("connection accepted by backend hook")
	return nil
}

// rebind decodes changed members of a command's argument into v, the value decoded from the original
// argument.
func rebind(members hooks.Object, v any) error {
	return wcs.Command{Name: "answer", Arg: hooks.Raw(members)}.Bind(v)
}

// notifyConnection sends the backend a ConnectionStatusEvent.
func (h *sessionHooks) notifyConnection(status wcs.Status) {
	if !h.wants(hooks.ConnectionStatusEvent) {
		return
	}
	body := maps.Clone(h.connection)
	body[memberStatus] = hooks.Raw(status)
	h.notify(hooks.ConnectionStatusEvent, body)
}

// disconnected runs when the session closes, after the events of its streams.
func (h *sessionHooks) disconnected() {
	if h == nil {
		return
	}
	if h.cancelConnect != nil {
		h.cancelConnect()
	}
	h.notifyConnection(hooks.Disconnected)
}
