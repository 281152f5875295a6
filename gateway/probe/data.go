package probe

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Limits of the data messages that are forwarded from one room. Each is sent to every player of the stream.
const (
	dataPerSecond = 20
	DataBurst     = 50 // forwarded at once
)

// Results for data messages: values of a metric's label.
const (
	DataPassed  = "passed"
	DataOwn     = "own"      // sent by a gateway, or through LiveKit's API
	DataTooBig  = "too_big"  // limits.payloadBytes
	DataTooMany = "too_many" // dataPerSecond
	DataBinary  = "binary"   // neither JSON nor text
)

// Listener receives the data messages that native participants send to a publisher's room.
type Listener interface {
	// OnData is called on the probe's goroutines and must not block. payload is JSON.
	OnData(publisher translate.Identity, payload json.RawMessage)
}

// Subscribe has l called for data messages in the room of a publisher that this pod probes: one of its own,
// or a native one. The subscription ends with Unsubscribe or with PublisherGone.
func (p *Pool) Subscribe(l Listener, publisher translate.Identity, room translate.RoomName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.feed(publisher, "", room)
	if f.subscribers == nil {
		f.subscribers = make(map[Listener]struct{})
		f.dataLimit = rate.NewLimiter(dataPerSecond, DataBurst)
	}
	f.subscribers[l] = struct{}{}
}

// Unsubscribe ends a subscription, if there is one.
func (p *Pool) Unsubscribe(l Listener, publisher translate.Identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.feeds[publisher]; f != nil {
		delete(f.subscribers, l)
	}
}

// onData takes a data message of the room. It runs on the probe's goroutines.
func (f *feed) onData(d translate.Data) {
	p := f.pool
	defer p.d.Recovered()
	p.mu.Lock()
	subscribers := slices.Collect(maps.Keys(f.subscribers))
	p.mu.Unlock()
	if len(subscribers) == 0 {
		return
	}
	payload, result := f.admit(d)
	p.d.Metrics.Data.WithLabelValues(result).Inc()
	if result != DataPassed {
		return
	}
	for _, l := range subscribers {
		l.OnData(f.publisher, payload)
	}
}

// admit returns the payload as JSON. Messages that gateways sent through LiveKit's API arrive without a
// sender. They are dropped: the gateway's clients have received them already.
func (f *feed) admit(d translate.Data) (payload json.RawMessage, result string) {
	switch {
	case d.Sender == "" || !d.Sender.Native():
		return nil, DataOwn
	case !f.dataLimit.Allow():
		return nil, DataTooMany
	case !utf8.Valid(d.Payload):
		return nil, DataBinary
	case f.pool.d.CheckPayload(d.Payload) != nil:
		return nil, DataTooBig
	case json.Valid(d.Payload):
		return d.Payload, DataPassed
	}
	text, err := wcs.Encode(string(d.Payload))
	if err != nil {
		return nil, DataBinary
	}
	return text, DataPassed
}
