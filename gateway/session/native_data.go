package session

import (
	"encoding/json"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// subscribeNativeData subscribes to the data messages that native participants send to the stream's room, if
// the application has nativeData. For a publisher's room, the publisher's pod subscribes. For the room of a
// native publisher, each pod with players does.
func (st *stream) subscribeNativeData() {
	switch {
	case !st.sess.app.NativeData:
	case st.published:
		st.sess.table.Probes.Subscribe(st, st.identity, st.room)
	case st.publisher.Native():
		st.sess.table.Probes.Subscribe(st, st.publisher, st.room)
	}
}

func (st *stream) unsubscribeNativeData() {
	if st.sess.app.NativeData {
		st.sess.table.Probes.Unsubscribe(st, st.publisher)
	}
}

// OnData implements probe.Listener.
func (st *stream) OnData(publisher translate.Identity, payload json.RawMessage) {
	st.sess.loop.Post(func() { st.deliverNative(publisher, payload) })
}

// deliverNative forwards a native participant's data message: to all players if st is the publisher,
// otherwise to this player.
func (st *stream) deliverNative(publisher translate.Identity, payload json.RawMessage) {
	switch {
	case st.ending != nil || st.phase != phaseUp:
	case st.published:
		if err := st.publishToPlayers(state.StreamNotice{Type: string(wcs.EventData), Payload: payload}); err != nil {
			st.sess.sampledAt(zerolog.WarnLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Msg("native participant's data dropped")
		}
	case st.publisher == publisher:
		st.sess.relay(wcs.StreamData(st.id, payload))
	}
}
