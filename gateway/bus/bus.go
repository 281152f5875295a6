// Package bus carries events between the pods of a deployment: notifications, requests with their replies,
// and LiveKit webhooks for participants of another pod. It owns the requests whose replies are pending. The
// gateway delivers received events to it; services send events through it. Events may be lost, so their
// receivers also poll what events report.
package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Events sends events to pods.
type Events interface {
	// Publish sends an event to the pod with this id (the pod tag of identities), which may be this one. It
	// needs a context with a deadline. A nil error does not mean that the event was received.
	Publish(ctx context.Context, pod string, e state.Event) error
}

// Deps are what a Bus needs.
type Deps struct {
	Events Events
	Pod    string // the id of this pod
	// Handle handles an event for this pod. It must not block.
	Handle  func(state.Event)
	Transit prometheus.Observer // seconds from publishing an event to receiving it
	Log     zerolog.Logger
}

// Bus sends events to pods and delivers received ones. Its methods are safe for concurrent use.
type Bus struct {
	deps    Deps
	pending sync.Map // by id of a request that waits: chan string, which takes its reply
}

// New returns a Bus.
func New(d Deps) *Bus { return &Bus{deps: d} }

// Deliver handles an event that this pod received. Repeated and late replies are dropped.
func (b *Bus) Deliver(e state.Event) {
	if e.Kind != state.EventReply {
		b.deps.Handle(e)
	} else if replies, waits := b.pending.LoadAndDelete(e.ID); waits {
		replies.(chan string) <- e.Answer
	}
}

// Send sends an event to a pod through Redis, also to this one.
func (b *Bus) Send(ctx context.Context, pod string, e state.Event) error {
	e.From = b.deps.Pod
	return b.deps.Events.Publish(ctx, pod, e)
}

// Notify sends an event to pods, and delivers it directly if this pod is among them. It returns the number of
// other pods for which Redis has accepted the event; failures are logged.
func (b *Bus) Notify(ctx context.Context, pods []string, e state.Event) (published int) {
	e.From = b.deps.Pod
	for _, pod := range pods {
		if pod == b.deps.Pod {
			b.Deliver(e)
			continue
		}
		if err := b.Send(ctx, pod, e); err != nil {
			b.deps.Log.Warn().Err(err).Str("pod", pod).Str("event", string(e.Kind)).Str("hint", "that pod polls LiveKit and Redis").Msg("event for another pod lost")
			continue
		}
		published++
	}
	return published
}

// Request sends an event to a pod and returns its reply. It waits until ctx is done.
func (b *Bus) Request(ctx context.Context, pod string, e state.Event) (reply string, err error) {
	e.ID = rand.Text()
	replies := make(chan string, 1)
	b.pending.Store(e.ID, replies)
	defer b.pending.Delete(e.ID)
	if err := b.Send(ctx, pod, e); err != nil {
		return "", err
	}
	select {
	case reply = <-replies:
		return reply, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Reply sends the reply to a request.
func (b *Bus) Reply(ctx context.Context, request state.Event, reply string) {
	b.Notify(ctx, []string{request.From}, state.Event{Kind: state.EventReply, ID: request.ID, Answer: reply})
}

// ForwardWebhook sends a LiveKit event to the pod that handles it.
func (b *Bus) ForwardWebhook(ctx context.Context, pod string, e translate.Event) error {
	body, err := wcs.Encode(e)
	if err != nil {
		return fmt.Errorf("encode webhook: %w", err)
	}
	return b.Send(ctx, pod, state.Event{Kind: state.EventWebhook, Body: body})
}

// Webhook returns the LiveKit event that another pod has forwarded.
func Webhook(forwarded state.Event) (e translate.Event, err error) {
	if err := json.Unmarshal(forwarded.Body, &e); err != nil {
		return e, fmt.Errorf("decode webhook from pod %s: %w", forwarded.From, err)
	}
	return e, nil
}

// transitInterval is the time between two events that a pod sends to itself. An event that has not arrived by
// then is lost and not measured; an alert fires when none arrive.
const transitInterval = 5 * time.Second

// MeasureTransit measures until ctx is done how long events take between pods.
func (b *Bus) MeasureTransit(ctx context.Context) {
	ticker := time.NewTicker(transitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			b.measureTransit(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (b *Bus) measureTransit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, transitInterval)
	defer cancel()
	sent := time.Now()
	if _, err := b.Request(ctx, b.deps.Pod, state.Event{Kind: state.EventReply}); err == nil { // its own reply
		b.deps.Transit.Observe(time.Since(sent).Seconds())
	}
}
