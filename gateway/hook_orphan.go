package gateway

import (
	"sync"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/hooks"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// orphanLines are the calls about sessions of dead pods that wait to be made, one after the other for each application: a pod may have
// had many sessions, and what its clients do now comes first.
type orphanLines struct {
	mu    sync.Mutex
	lines map[string]*hooks.Line // by app key
}

// maxOrphans bounds how many of an application wait.
const maxOrphans = 100_000

func (o *orphanLines) of(app string) *hooks.Line {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lines == nil {
		o.lines = make(map[string]*hooks.Line)
	}
	if o.lines[app] == nil {
		o.lines[app] = &hooks.Line{Max: maxOrphans}
	}
	return o.lines[app]
}

// orphanBody is all that is known of the connection of a dead pod's session.
type orphanBody struct {
	NodeID    string     `json:"nodeId"`
	AppKey    string     `json:"appKey"`
	SessionID string     `json:"sessionId"`
	Status    wcs.Status `json:"status"`
}

// tellOrphaned tells the backend of a session whose pod has died that it is DISCONNECTED, which ends its streams, too. To the
// backend all pods are one server (NodeID): nobody else could tell it. It is told once more of a session whose pod lives after all.
func (g *Gateway) tellOrphaned(sess state.Session) {
	app := g.live().apps[sess.App]
	if app == nil || !sess.TellEnd || !app.Hooks.Backend.Sends(hooks.ConnectionStatusEvent) {
		return
	}
	body := object(orphanBody{g.cfg.NodeID, sess.App, sess.ID, connectionDisconnected})
	since := time.Now()
	release := g.cleanup.Hold()
	queued := g.orphanTold.of(app.Key).Do(func() {
		defer release()
		defer g.recovered()
		if time.Since(since) > cleanup.Expiry || g.ctx.Err() != nil {
			return
		}
		if _, err := app.Hooks.Backend.Call(g.ctx, hooks.ConnectionStatusEvent, body); err != nil {
			g.hookLog.Warn().Err(err).Str("session", sess.ID).Str("app", sess.App).Str("hook", string(hooks.ConnectionStatusEvent)).
				Msg("backend was not told of the end of a dead pod's session")
		}
	})
	if !queued {
		release()
		g.metrics.HookCall(hooks.ConnectionStatusEvent, 0, hooks.ErrBusy)
	}
}
