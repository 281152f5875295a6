package gateway

import (
	"context"
	"sync"
	"time"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/ends"
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
	lines sync.Map // *serial.Executor by app key
}

// maxOrphans bounds the queued calls of an application.
const maxOrphans = 100_000

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
		o.env.Ends.Keep(ends.Stream{Session: rec.Session, MediaID: rec.MediaID}, ends.Publish, ends.Ended{
			Name: rec.Name, App: rec.App, Status: wcs.StatusUnpublished, Info: wcs.InfoStoppedBySessionDisconnect, Reason: ends.PodLost,
		})
		o.streamEnded(rec)
	case orphan.Room != nil:
		o.env.Log.Info().Str("room", orphan.Room.Name).Str("app", orphan.Room.App).Msg("members of a dead pod removed from a room")
		o.env.Cleanup.Add(cleanup.StoreTask("notify room of orphan", cleanup.Party{}, func(ctx context.Context) error {
			o.env.Bus.Notify(ctx, orphan.Pods, roomapi.ChangedEvent(*orphan.Room))
			return nil
		}))
	case orphan.Session != nil:
		o.sessionEnded(*orphan.Session)
	case orphan.Player != nil:
		o.playerEnded(*orphan.Player)
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

// sessionEnded notifies the backend that the session of a dead pod is DISCONNECTED. All pods are one server
// (NodeID) to the backend. If the pod is alive after all, the backend receives the event twice. The same is
// true of streamEnded and playerEnded.
func (o *orphans) sessionEnded(sess state.Session) {
	if !sess.TellEnd {
		return
	}
	o.notify(hooks.ConnectionStatusEvent, sess.App, sess.ID, struct {
		Status wcs.Status `json:"status"`
	}{hooks.Disconnected})
}

// streamEnded notifies the backend of the end of a dead pod's published stream, before its session's.
func (o *orphans) streamEnded(s state.Stream) {
	if !s.TellEnd {
		return
	}
	body := streamBody(s.Tracks)
	body.MediaSessionID, body.Name, body.Published, body.Status, body.MediaType = s.MediaID, s.Name, true, wcs.StatusUnpublished, "publish"
	body.MinBitrate, body.MaxBitrate, body.CreateDate = s.MinKbps, s.MaxKbps, s.CreatedAt.UnixMilli()
	body.AudioState, body.VideoState = wcs.MuteState{Muted: s.AudioMuted}, wcs.MuteState{Muted: s.VideoMuted}
	o.notify(hooks.StreamStatusEvent, s.App, s.Session, body)
}

// playerEnded notifies the backend of the end of a dead pod's player, before its session's.
func (o *orphans) playerEnded(p state.Player) {
	if !p.TellEnd {
		return
	}
	body := streamBody(p.Tracks)
	body.MediaSessionID, body.Name, body.Status, body.MediaType = p.MediaID, p.Stream, wcs.StatusStopped, "play"
	body.CreateDate = p.CreatedAt.UnixMilli()
	o.notify(hooks.StreamStatusEvent, p.App, p.Session, body)
}

// streamBody returns the members that follow from a stream's tracks, and those that are the same of all.
func streamBody(tracks []state.Track) (b hooks.StreamBody) {
	b.Info, b.Transport, b.MediaProvider = wcs.InfoStoppedBySessionDisconnect, "UDP", wcs.ProviderWebRTC
	for _, t := range tracks {
		switch translate.Kind(t.Kind) {
		case translate.Audio:
			b.HasAudio, b.AudioCodec = true, translate.CodecName(t.Mime)
		case translate.Video:
			b.HasVideo, b.VideoCodec, b.Width, b.Height = true, translate.CodecName(t.Mime), t.Width, t.Height
		}
	}
	return b
}

// notify queues a call to the backend of an application.
func (o *orphans) notify(m hooks.Method, appKey, session string, v any) {
	app := o.table.Settings().Apps[appKey]
	if app == nil || !app.Hooks.Backend.Sends(m) {
		return
	}
	body := hooks.Addressed(hooks.Body(v), o.env.Config.NodeID, appKey, session)
	since := time.Now()
	release := o.env.Cleanup.Hold()
	line, _ := o.lines.LoadOrStore(app.Key, new(serial.Executor))
	queued := line.(*serial.Executor).TryPost(func() {
		defer release()
		defer o.env.Recovered()
		if time.Since(since) > cleanup.Expiry || o.env.Context.Err() != nil {
			return
		}
		if _, err := app.Hooks.Backend.Call(o.env.Context, m, body); err != nil {
			o.env.HookLog.Warn().Err(err).Str("session", session).Str("app", appKey).Str("hook", string(m)).
				Msg("backend not notified: session of a dead pod ended")
		}
	}, maxOrphans)
	if !queued {
		release()
		o.env.Metrics.HookCall(m, 0, hooks.ErrBusy)
	}
}
