package session

import (
	"context"
	"sync"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/gateway/serial"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// TakenOver removes the participants that a dead pod left at LiveKit, and notifies the pods with players of
// its streams.
func (t *Table) TakenOver(o state.Orphan) {
	switch {
	case o.Stream != nil:
		rec := *o.Stream
		t.Log.Info().Str("room", rec.Room).Str("identity", rec.Identity).Str("pod_lost", rec.Owner.Pod).Msg("stream of a dead pod taken over")
		t.Cleanup.RemoveParticipant(translate.RoomName(rec.Room), translate.Identity(rec.Identity), cleanup.Expiry)
		t.Cleanup.Add(cleanup.StoreTask("notify players of orphan", func(ctx context.Context) error {
			t.Bus.Notify(ctx, o.Pods, state.Event{Kind: state.EventEnded, Name: rec.Name, Stream: &rec})
			return nil
		}))
	case o.Room != nil:
		t.Log.Info().Str("room", o.Room.Name).Str("app", o.Room.App).Msg("members of a dead pod removed from a room")
		t.Cleanup.Add(cleanup.StoreTask("notify room of orphan", func(ctx context.Context) error {
			t.Bus.Notify(ctx, o.Pods, roomapi.ChangedEvent(*o.Room))
			return nil
		}))
	case o.Session != nil:
		t.notifyOrphaned(*o.Session)
	case o.Player != nil:
		for room := range t.roomsOf(*o.Player) {
			t.Cleanup.RemoveParticipant(room, translate.Identity(o.Player.Identity), cleanup.Expiry)
		}
	}
}

// roomsOf returns the rooms that a player may be in. A player is registered before the application of its
// stream, and with it the room, is known. Its room is then one of those that the applications map the
// stream's name to.
func (t *Table) roomsOf(p state.Player) map[translate.RoomName]struct{} {
	rooms := make(map[translate.RoomName]struct{})
	if p.Room != "" {
		rooms[translate.RoomName(p.Room)] = struct{}{}
		return rooms
	}
	for _, app := range t.Settings().Apps {
		rooms[app.Room.Room(app.Key, p.Stream)] = struct{}{}
	}
	return rooms
}

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
func (t *Table) notifyOrphaned(sess state.Session) {
	app := t.Settings().Apps[sess.App]
	if app == nil || !sess.TellEnd || !app.Hooks.Backend.Sends(hooks.ConnectionStatusEvent) {
		return
	}
	body := object(orphanBody{t.Config.NodeID, sess.App, sess.ID, connectionDisconnected})
	since := time.Now()
	release := t.Cleanup.Hold()
	queued := t.orphanHook.of(app.Key).TryPost(func() {
		defer release()
		defer t.Recovered()
		if time.Since(since) > cleanup.Expiry || t.Context.Err() != nil {
			return
		}
		if _, err := app.Hooks.Backend.Call(t.Context, hooks.ConnectionStatusEvent, body); err != nil {
			t.hookLog.Warn().Err(err).Str("session", sess.ID).Str("app", sess.App).Str("hook", string(hooks.ConnectionStatusEvent)).
				Msg("backend not notified: session of a dead pod ended")
		}
	}, maxOrphans)
	if !queued {
		release()
		t.Metrics.HookCall(hooks.ConnectionStatusEvent, 0, hooks.ErrBusy)
	}
}
