package session

import (
	"encoding/json"
	"time"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/quota"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// The mutes of a publisher are a state: they are in the stream's record, which is sent to the pods with
// players after each write, and in the attributes of the publisher's participant, which players' pods read
// with each query of the room at LiveKit. A player is sent the difference to what its client was sent last.
// Data are messages: they are published with the record, one message for each pod. Since there is one write
// at a time, they stay in order. If a message is lost, its data is lost.

// Limits of the events that are pending, for Redis or for LiveKit.
const (
	MaxEvents     = 256
	maxEventBytes = 2 << 20
)

// events is a queue of a publisher's data.
type events struct {
	list  [][]byte
	bytes int
}

func (o *events) add(payload []byte) error {
	if len(o.list) >= MaxEvents || o.bytes+len(payload) > maxEventBytes && len(o.list) > 0 {
		return errTooManyEvents
	}
	o.list = append(o.list, payload)
	o.bytes += len(payload)
	return nil
}

func (o *events) take() [][]byte {
	list := o.list
	*o = events{}
	return list
}

// publishData sends data to players and native participants.
func (st *stream) publishData(payload json.RawMessage) error {
	if st.phase != phaseUp {
		return nil
	}
	if err := st.publishToPlayers(payload); err != nil {
		return err
	}
	if st.sess.app.Native == apps.NativeOff { // no native participant receives it
		return nil
	}
	return st.relay.queue(payload)
}

// publishToPlayers sends data to the players of a publisher that is up, on all pods.
func (st *stream) publishToPlayers(payload json.RawMessage) error {
	if err := st.writer.outbox.add(payload); err != nil {
		return err
	}
	st.writer.save(nil)
	return nil
}

// onPublisherData passes a publisher's data to a player that is up.
func (st *stream) onPublisherData(data [][]byte) {
	for _, payload := range data {
		if st.phase == phaseUp {
			st.sess.relay(wcs.StreamData(st.id, payload))
		}
	}
}

func mutesOf(rec state.Stream) translate.Mutes {
	return translate.Mutes{Audio: rec.AudioMuted, Video: rec.VideoMuted, Changes: rec.Mutes}
}

// applyMutes takes a publisher's mutes, unless they are outdated.
func (st *stream) applyMutes(m translate.Mutes) {
	if m.Changes > st.mutes.Changes {
		st.mutes = m
		st.showMutes()
	}
}

// shown is what the client of a player was sent last.
type shown struct {
	mutes         translate.Mutes
	width, height int
}

// canShow reports whether the client may be sent a state of the stream that it plays.
func (st *stream) canShow() bool {
	return !st.published && st.phase == phaseUp && st.ending == nil && st.sess.conn.HasRoom()
}

// showMutes sends the client of a player that is up the mutes that it was not sent, unless its queue has no
// room: then onDrained does.
func (st *stream) showMutes() {
	was, now := st.shown.mutes, st.mutes
	if was.Changes == now.Changes || !st.canShow() {
		return
	}
	st.shown.mutes = now
	if now.Audio != was.Audio {
		st.sendMute(now.Audio, wcs.EventAudioMuted, wcs.EventAudioUnmuted)
	}
	if now.Video != was.Video {
		st.sendMute(now.Video, wcs.EventVideoMuted, wcs.EventVideoUnmuted)
	}
}

func (st *stream) sendMute(muted bool, mute, unmute wcs.StreamEventType) {
	typ := unmute
	if muted {
		typ = mute
	}
	st.sess.sendState(wcs.StreamMute(st.id, typ, st.said()))
}

// showFormat sends the client of a player that is up the picture size that it was not sent, as showMutes
// does.
func (st *stream) showFormat() {
	v := st.tracks[translate.Video]
	if v.Width == 0 || v.Height == 0 || v.Width == st.shown.width && v.Height == st.shown.height || !st.canShow() {
		return
	}
	st.shown.width, st.shown.height = v.Width, v.Height
	for _, f := range (wcs.VideoFormat{
		MediaSessionID: st.id, Width: v.Width, Height: v.Height, AudioMuted: st.mutes.Audio, VideoMuted: st.mutes.Video,
	}).Frames(st.sess.knowsResize) {
		st.sess.sendState(f)
	}
}

// handleStreamEvent passes a publisher's mutes and data to its players
// (docs/wcs-protocol.md#sendstreamevent). Events of players, of ended streams and of other types have no
// effect, nor do data before PUBLISHING, which no SDK sends.
func handleStreamEvent(s *Session, e wcs.StreamEvent) error {
	st := s.streams[e.MediaSessionID]
	if st == nil || !st.published || st.ending != nil {
		return nil
	}
	m := st.mutes
	switch e.Type {
	case wcs.EventAudioMuted, wcs.EventAudioUnmuted:
		m.Audio = e.Type == wcs.EventAudioMuted
	case wcs.EventVideoMuted, wcs.EventVideoUnmuted:
		m.Video = e.Type == wcs.EventVideoMuted
	case wcs.EventData:
		return st.sendData(e.Payload)
	}
	if m == st.mutes {
		return nil
	}
	m.Changes++
	st.mutes = m
	st.announceMutes()
	return nil
}

// announceMutes sends the mutes to players and native participants, at the rate of the session: a publisher
// that changes them faster has the latest state sent. Before the stream is up they are in its first record.
func (st *stream) announceMutes() {
	if st.phase != phaseUp || st.ending != nil || st.mutesWait {
		return
	}
	announce := func() {
		st.mutesWait = false
		if st.ending == nil {
			st.writer.save(nil)
			st.relay.next()
		}
	}
	if delay := st.sess.quota().Delay(quota.Mutes); delay > 0 {
		st.mutesWait = true
		time.AfterFunc(delay, func() { st.sess.loop.Post(announce) })
		return
	}
	announce()
}

// sendData sends data to all who watch the stream: its players on all pods, and native participants.
func (st *stream) sendData(payload json.RawMessage) error {
	if err := st.sess.table.Settings().Limits.CheckPayload(payload); err != nil {
		return err
	}
	if !st.sess.quota().Allow(quota.Data) {
		return errTooManyEvents
	}
	return st.publishData(payload)
}
