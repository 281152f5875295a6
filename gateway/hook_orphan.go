package gateway

import (
	"sync"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/serial"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// orphanLines hold the queued calls about sessions of dead pods, one line per application. The calls are made
// one at a time: a dead pod can leave many sessions, and the calls of live sessions must not wait for them.
type orphanLines struct {
	mu    sync.Mutex
	lines map[string]*serial.Executor // by app key
}

// maxOrphans bounds the queued calls of an application.
const maxOrphans = 100_000

func (o *orphanLines) of(app string) *serial.Executor {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lines == nil {
		o.lines = make(map[string]*serial.Executor)
	}
	if o.lines[app] == nil {
		o.lines[app] = new(serial.Executor)
	}
	return o.lines[app]
}

// orphanBody holds all that is known of the connection of a dead pod's session.
type orphanBody struct {
	NodeID    string     `json:"nodeId"`
	AppKey    string     `json:"appKey"`
	SessionID string     `json:"sessionId"`
	Status    wcs.Status `json:"status"`
}

// notifyOrphaned notifies the backend that the session of a dead pod is DISCONNECTED, which also ends its
// streams. All pods are one server (NodeID) to the backend. If the pod is alive after all, the backend
// receives the event twice.
func (g *Gateway) notifyOrphaned(sess state.Session) {
	app := g.live().apps[sess.App]
	if app == nil || !sess.TellEnd || !app.Hooks.Backend.Sends(hooks.ConnectionStatusEvent) {
		return
	}
	body := object(orphanBody{g.cfg.NodeID, sess.App, sess.ID, connectionDisconnected})
	since := time.Now()
	release := g.cleanup.Hold()
	queued := g.orphanHook.of(app.Key).TryPost(func() {
		defer release()
		defer g.recovered()
		if time.Since(since) > cleanup.Expiry || g.ctx.Err() != nil {
			return
		}
		if _, err := app.Hooks.Backend.Call(g.ctx, hooks.ConnectionStatusEvent, body); err != nil {
			g.hookLog.Warn().Err(err).Str("session", sess.ID).Str("app", sess.App).Str("hook", string(hooks.ConnectionStatusEvent)).
				Msg("backend not notified: session of a dead pod ended")
		}
	}, maxOrphans)
	if !queued {
		release()
		g.metrics.HookCall(hooks.ConnectionStatusEvent, 0, hooks.ErrBusy)
	}
}
