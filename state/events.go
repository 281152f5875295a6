package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	eventSilence = 3 * time.Second        // after which a subscription is probed
	eventRetry   = 250 * time.Millisecond // between attempts to subscribe
)

// Publish sends an event to the pod with this id. Delivery is not confirmed. It fails with ErrUnavailable.
func (r *Redis) Publish(ctx context.Context, pod string, e Event) error {
	return r.read(ctx, "publish", func(ctx context.Context) error {
		e.From = r.pod.ID
		if r.sharded {
			return r.client.SPublish(ctx, r.keys.channel(pod), asJSON{e}).Err()
		}
		return r.client.Publish(ctx, r.keys.channel(pod), asJSON{e}).Err()
	})
}

// receiveEvents passes the events for this pod to the handler, and subscribes again whenever the subscription
// is lost.
func (r *Redis) receiveEvents(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.subscribe(ctx, r.keys.channel(r.pod.ID), func() { r.subscribed.Store(true) }, r.received)
		if ctx.Err() != nil {
			return
		}
		r.log.Debug().Err(err).Msg("event subscription lost")
		Sleep(ctx, eventRetry)
	}
}

var errUnsubscribed = errors.New("subscription ended by the server")

// subscribe receives the messages of a channel until the subscription is lost or ctx is done. It does not use
// go-redis' channels: they keep a subscription that a Cluster ended when it moved the slot, and drop messages
// after a minute of blocking.
func (r *Redis) subscribe(ctx context.Context, channel string, subscribed func(), received func(text string)) error {
	var sub *redis.PubSub
	if r.sharded {
		sub = r.client.SSubscribe(ctx, channel)
	} else {
		sub = r.client.Subscribe(ctx, channel)
	}
	end := context.AfterFunc(ctx, func() { closeSubscription(sub) }) // a read ignores ctx
	defer func() {
		if end() {
			closeSubscription(sub)
		}
	}()
	for asked := false; ; {
		got, err := sub.ReceiveTimeout(ctx, eventSilence)
		var netErr net.Error
		if errors.As(err, &netErr) && netErr.Timeout() && !asked {
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		switch got := got.(type) {
		case *redis.Subscription:
			if got.Kind == "unsubscribe" || got.Kind == "sunsubscribe" {
				return errUnsubscribed
			}
			subscribed()
		case *redis.Message:
			received(got.Payload)
		}
	}
}

// closeSubscription ignores the error, which means that the connection was broken already.
func closeSubscription(sub *redis.PubSub) { _ = sub.Close() }

// received passes an event for this pod to the handler.
func (r *Redis) received(text string) {
	var e Event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		r.log.Warn().Err(fmt.Errorf("event: %w", err)).Msg("unreadable event")
		return
	}
	if r.handlers.Event != nil {
		r.handlers.Event(e)
	}
}
