package gateway

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Data messages that are passed on of one room: so many a second in the long run, and at once. Each is a message for every
// player of the stream.
const (
	nativeDataPerSecond = 20
	nativeDataBurst     = 50
)

// What became of a data message: values of a metric's label.
const (
	dataPassed  = "passed"
	dataOwn     = "own"      // sent by a gateway, or through LiveKit's API
	dataTooBig  = "too_big"  // limits.payloadBytes
	dataTooMany = "too_many" // nativeDataPerSecond
	dataBinary  = "binary"   // neither JSON nor text
)

// hearNatives begins to pass on what native participants send to the stream's room as data, if its application wants it
// (the hidden participant is the publisher's; of a native publisher each pod with players has one).
func (st *stream) hearNatives() {
	switch {
	case !st.sess.app.NativeData:
	case st.published:
		st.sess.g.rates.hear(st, st.identity)
	case st.publisher.Native():
		st.sess.g.rates.hear(st, st.publisher)
	}
}

func (st *stream) stopHearing() {
	if st.sess.app.NativeData {
		st.sess.g.rates.deafen(st, st.publisher)
	}
}

func (r *rates) hear(st *stream, publisher translate.Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.feed(publisher, "", st.room)
	if f.hearers == nil {
		f.hearers = make(map[*stream]struct{})
		f.chatter = rate.NewLimiter(nativeDataPerSecond, nativeDataBurst)
	}
	f.hearers[st] = struct{}{}
}

// deafen ends hear for a player; a publisher's feed ends with it.
func (r *rates) deafen(st *stream, publisher translate.Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.feeds[publisher]; f != nil {
		delete(f.hearers, st)
	}
}

// hear takes a data message of the room. It runs on the probe's own goroutines.
func (f *feed) hear(d translate.Data) {
	g := f.rates.g
	defer g.recovered()
	f.rates.mu.Lock()
	hearers := slices.Collect(maps.Keys(f.hearers))
	f.rates.mu.Unlock()
	if len(hearers) == 0 {
		return // the application does not want it
	}
	payload, result := f.admit(d)
	g.metrics.nativeData.WithLabelValues(result).Inc()
	if result != dataPassed {
		return
	}
	for _, st := range hearers {
		st.sess.loop.post(func() { st.passOn(f.publisher, payload) })
	}
}

// admit gives the payload as JSON. What gateways have sent to the room comes back without a sender, because it was sent
// through LiveKit's API, and is dropped.
func (f *feed) admit(d translate.Data) (payload json.RawMessage, result string) {
	g := f.rates.g
	switch {
	case d.Sender == "" || !d.Sender.Native():
		return nil, dataOwn
	case !f.chatter.Allow():
		return nil, dataTooMany
	case !utf8.Valid(d.Payload):
		return nil, dataBinary
	case g.live().limits.checkPayload(d.Payload) != nil:
		return nil, dataTooBig
	case json.Valid(d.Payload):
		return d.Payload, dataPassed
	}
	return raw(string(d.Payload)), dataPassed
}

// passOn brings what a native participant has said to who watches the stream: to all its players if this is the publisher, and else
// to this player of a native publisher.
func (st *stream) passOn(publisher translate.Identity, payload json.RawMessage) {
	switch {
	case st.ending != nil || st.phase != phaseUp:
	case st.published:
		if err := st.tellPlayers(state.Said{Type: string(wcs.EventData), Payload: payload}); err != nil {
			st.sess.noisyAt(zerolog.WarnLevel).Err(err).Str("media", st.id).Str("room", string(st.room)).Msg("data of a native participant is lost")
		}
	case st.publisher == publisher:
		st.sess.relay(wcs.StreamData(st.id, payload))
	}
}
