package gateway

import (
	"context"
	"fmt"
	"maps"

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

// Values of the status in a ConnectionStatusEvent (integration.md §1.3).
const (
	connectionEstablished  wcs.Status = "ESTABLISHED"
	connectionFailed       wcs.Status = "FAILED"
	connectionDisconnected wcs.Status = "DISCONNECTED"
)

// askConnect lets the backend decide on a client, which is not accepted before it has (integration.md §1.6).
func (s *session) askConnect(app *App, c wcs.Connection, id sessionID) {
	if app.Hooks.Backend == nil {
		s.enter(app, c, id)
		return
	}
	h := newSessionHooks(s, app, id)
	s.hooks = h
	h.connection = h.connectBody(c)
	if !h.wants(hooks.Connect) {
		h.accept(c)
		return
	}
	var ctx context.Context
	ctx, h.giveUp = context.WithCancel(s.g.ctx)
	h.call(ctx, hooks.Connect, h.connection, func(answer hooks.Object, err error) {
		s.loop.post(func() { h.onConnect(c, answer, err) })
	})
}

// onConnect goes on when the backend has answered.
func (h *sessionHooks) onConnect(c wcs.Connection, answer hooks.Object, err error) {
	h.giveUp()
	s := h.sess
	if s.closed || s.conn.ended() {
		return // the client has not waited
	}
	if err == nil {
		c, err = h.takeConnect(c, answer)
	}
	if err = h.decide(hooks.Connect, err); err == nil {
		h.accept(c)
		return
	}
	v := classify(err)
	h.log.WithLevel(v.level).Err(err).Msg("refused by the application's backend, or for want of its answer")
	s.refuse(v.info)
	h.connection = h.body(errorBody{Info: v.info}) // all that is said of it from now on
	h.tellConnection(connectionFailed)
	delete(h.connection, memberInfo)
}

func (h *sessionHooks) accept(c wcs.Connection) { h.sess.enter(h.app, c, h.id) }

// established tells the backend that the session stands. Its id may not be the one that it was asked about: a session to
// be resumed can end meanwhile.
func (h *sessionHooks) established(id sessionID) {
	if h == nil {
		return
	}
	h.id = id
	h.connection = h.addressed(h.connection)
	h.tellConnection(connectionEstablished)
	if !h.wants(hooks.ConnectionStatusEvent) {
		h.connection = nil // nobody will ask for it
	}
}

// takeConnect takes what the backend has changed, and its policies for the session. What it leaves out stays as it was.
func (h *sessionHooks) takeConnect(c wcs.Connection, answer hooks.Object) (wcs.Connection, error) {
	policies, fault := hooks.ParsePolicies(answer[memberPolicies])
	if fault != nil {
		h.log.Warn().Err(fault).Msg("part of restClientConfig is not taken")
	}
	if idle := idleOverwrites(policies); len(idle) > 0 {
		h.log.Warn().Strs("members", idle).Msg("restOverwrite of restClientConfig names what this server makes no use of")
	}
	taken, changed := hooks.TakeConnect(h.connection, answer)
	sent := maps.Clone(c.Sent)
	delete(sent, memberPolicies) // a client has none
	for _, name := range changed {
		sent[name] = taken[name]
	}
	if err := rebind(sent, &c); err != nil {
		return c, fmt.Errorf("%w: %w", hooks.ErrBadResponse, err)
	}
	h.policies, h.connection = policies, taken
	h.log.Debug().Strs("changed", changed).Msg("the application's backend accepts the client")
	return c, nil
}

// rebind decodes members of a command's argument that were changed into what was decoded of it before.
func rebind(members hooks.Object, v any) error {
	return wcs.Command{Name: "answer", Arg: raw(members)}.Bind(v)
}

// tellConnection tells the backend what has become of the connection.
func (h *sessionHooks) tellConnection(status wcs.Status) {
	if !h.wants(hooks.ConnectionStatusEvent) {
		return
	}
	body := maps.Clone(h.connection)
	body[memberStatus] = raw(status)
	h.tell(hooks.ConnectionStatusEvent, body)
}

// disconnected runs when the socket is closed, after the ends of the streams have been told.
func (h *sessionHooks) disconnected() {
	if h == nil {
		return
	}
	if h.giveUp != nil {
		h.giveUp()
	}
	h.tellConnection(connectionDisconnected)
}
