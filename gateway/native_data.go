package gateway

import (
	"encoding/json"
	"unicode/utf8"

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
	dataLost    = "lost"     // Redis did not tell who the players are
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
	f := r.feed(publisher, st.room)
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

// hear takes a data message of the room. It runs on the probe's own goroutines and may wait for Redis, so that nothing
// overtakes it.
func (f *feed) hear(d translate.Data) {
	g := f.rates.g
	defer g.recovered()
	f.rates.mu.Lock()
	var name string
	for st := range f.hearers {
		name = st.name
	}
	f.rates.mu.Unlock()
	if name == "" {
		return // the application does not want it
	}
	payload, result := f.admit(d)
	if result == dataPassed && !f.passOn(name, payload) {
		result = dataLost
	}
	g.metrics.nativeData.WithLabelValues(result).Inc()
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
	case g.live().limits.checkPayload(d.Payload) != nil:
		return nil, dataTooBig
	case json.Valid(d.Payload):
		return d.Payload, dataPassed
	case utf8.Valid(d.Payload):
		return raw(string(d.Payload)), dataPassed
	}
	return nil, dataBinary
}

// passOn brings data to the pods with players of the stream.
func (f *feed) passOn(name string, payload json.RawMessage) bool {
	g := f.rates.g
	ctx, cancel := g.withTimeout(g.cfg.Media.StoreTimeout)
	defer cancel()
	pods, err := []string{g.cfg.Pod}, error(nil)
	if !f.publisher.Native() {
		pods, err = g.deps.Audience.PlayerPods(ctx, name)
	}
	if err != nil {
		g.noisy.Warn().Err(err).Str("room", string(f.room)).Msg("data of a native participant is lost: nobody knows where the stream is played")
		return false
	}
	g.tell(ctx, pods, state.Event{Kind: state.EventData, Name: name, Identity: string(f.publisher), Body: payload})
	return true
}

// tellPlayersData tells this pod's players of a stream of data that is for them.
func (g *Gateway) tellPlayersData(e state.Event) {
	for _, st := range g.streams.playersOf(e.Name) {
		st.sess.loop.post(func() {
			if st.ending == nil && st.phase == phaseUp && st.publisher == translate.Identity(e.Identity) {
				st.sess.send(wcs.StreamData(st.id, e.Body))
			}
		})
	}
}
