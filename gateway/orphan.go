package gateway

import (
	"context"
	"sync"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/serial"
	"wcsgateway/gateway/session"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// orphans cleans up after dead pods.
type orphans struct {
	env   *session.Env
	table *session.Table

	// The queued calls about sessions of dead pods, one line per application. The calls are made one at a time: a
	// dead pod can leave many sessions, and the calls of live sessions must not wait for them.
	mu    sync.Mutex
	lines map[string]*serial.Executor // by app key
}

// maxOrphans bounds the queued calls of an application.
const maxOrphans = 100_000

func (o *orphans) line(app string) *serial.Executor {
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

// takenOver removes the participants that a dead pod left at LiveKit, and notifies the pods with players of
// its streams.
func (o *orphans) takenOver(orphan state.Orphan) {
	switch {
	case orphan.Stream != nil:
		rec := *orphan.Stream
		o.env.Log.Info().Str("room", rec.Room).Str("identity", rec.Identity).Str("pod_lost", rec.Owner.Pod).Msg("stream of a dead pod taken over")
		o.env.Cleanup.RemoveParticipant(cleanup.Party{}, translate.RoomName(rec.Room), translate.Identity(rec.Identity), cleanup.Expiry)
		o.env.Cleanup.Add(cleanup.StoreTask("notify players of orphan", cleanup.Party{}, func(ctx context.Context) error {
			o.env.Bus.Notify(ctx, orphan.Pods, state.Event{Kind: state.EventEnded, Name: rec.Name, Stream: &rec})
			return nil
		}))
	case orphan.Room != nil:
		o.env.Log.Info().Str("room", orphan.Room.Name).Str("app", orphan.Room.App).Msg("members of a dead pod removed from a room")
		o.env.Cleanup.Add(cleanup.StoreTask("notify room of orphan", cleanup.Party{}, func(ctx context.Context) error {
			o.env.Bus.Notify(ctx, orphan.Pods, roomapi.ChangedEvent(*orphan.Room))
			return nil
		}))
	case orphan.Session != nil:
		o.sessionEnded(*orphan.Session)
	case orphan.Player != nil:
		for room := range o.roomsOf(*orphan.Player) {
			o.env.Cleanup.RemoveParticipant(cleanup.Party{}, room, translate.Identity(orphan.Player.Identity), cleanup.Expiry)
		}
	}
}

// roomsOf returns the rooms that a player may be in. A player is registered before the application of its
// stream, and with it the room, is known. Its room is then one of those that the applications map the
// stream's name to.
func (o *orphans) roomsOf(p state.Player) map[translate.RoomName]struct{} {
	rooms := make(map[translate.RoomName]struct{})
	if p.Room != "" {
		rooms[translate.RoomName(p.Room)] = struct{}{}
		return rooms
	}
	for _, app := range o.table.Settings().Apps {
		rooms[app.Room.Room(app.Key, p.Stream)] = struct{}{}
	}
	return rooms
}

// orphanBody holds all that is known of the connection of a dead pod's session.
type orphanBody struct {
	NodeID    string     `json:"nodeId"`
	AppKey    string     `json:"appKey"`
	SessionID string     `json:"sessionId"`
	Status    wcs.Status `json:"status"`
}

// sessionEnded notifies the backend that the session of a dead pod is DISCONNECTED, which also ends its
// streams. All pods are one server (NodeID) to the backend. If the pod is alive after all, the backend
// receives the event twice.
func (o *orphans) sessionEnded(sess state.Session) {
	app := o.table.Settings().Apps[sess.App]
	if app == nil || !sess.TellEnd || !app.Hooks.Backend.Sends(hooks.ConnectionStatusEvent) {
		return
	}
	body := hooks.Body(orphanBody{o.env.Config.NodeID, sess.App, sess.ID, hooks.Disconnected})
	since := time.Now()
	release := o.env.Cleanup.Hold()
	queued := o.line(app.Key).TryPost(func() {
		defer release()
		defer o.env.Recovered()
		if time.Since(since) > cleanup.Expiry || o.env.Context.Err() != nil {
			return
		}
		if _, err := app.Hooks.Backend.Call(o.env.Context, hooks.ConnectionStatusEvent, body); err != nil {
			o.env.HookLog.Warn().Err(err).Str("session", sess.ID).Str("app", sess.App).Str("hook", string(hooks.ConnectionStatusEvent)).
				Msg("backend not notified: session of a dead pod ended")
		}
	}, maxOrphans)
	if !queued {
		release()
		o.env.Metrics.HookCall(hooks.ConnectionStatusEvent, 0, hooks.ErrBusy)
	}
}
