package gateway

import (
	"context"
	"net/http"

	"wcsgateway/gateway/bus"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Webhooks verifies what LiveKit sends. ok is false for a genuine event that does not concern streams.
type Webhooks interface {
	Webhook(w http.ResponseWriter, r *http.Request) (e translate.Event, ok bool, err error)
}

// webhook handles LiveKit's webhooks. It answers 200 to every genuine one, also to those that are not used:
// LiveKit delays later events of a room while it repeats an earlier one (docs/livekit-notes.md#webhooks).
func (g *Gateway) webhook(w http.ResponseWriter, r *http.Request) {
	e, ok, err := g.deps.Webhooks.Webhook(w, r)
	switch {
	case err != nil:
		g.metrics.webhooks.WithLabelValues("refused").Inc()
		g.env.Sampled.Warn().Err(err).Str("remote", r.RemoteAddr).Str("hint", "LiveKit signs webhooks with another key than livekit.apiKey and livekit.webhookKeys").Msg("webhook refused")
		http.Error(w, "not a webhook of our LiveKit", http.StatusUnauthorized)
		return
	case !ok:
		g.metrics.webhooks.WithLabelValues("ignored").Inc()
	default:
		g.metrics.webhooks.WithLabelValues(g.route(r.Context(), e)).Inc()
	}
	w.WriteHeader(http.StatusOK)
}

// route passes the event to its stream, on this pod or another one. Late, repeated and disordered events are
// harmless: an identity is used for one stream only, and streams that have ended ignore events. Native
// participants keep their identity when they reconnect; the SID tells their connections apart. result is a
// label of the metric.
func (g *Gateway) route(ctx context.Context, e translate.Event) (result string) {
	pod, ours := g.env.PodOf(e.Identity)
	_, role, _, _ := e.Identity.Parse()
	switch {
	case e.Kind == translate.EventEgress:
		return g.routeEgress(ctx, e)
	case role == translate.RoleProbe, role == translate.RoleSnapshot: // the call that runs it returns at its end
		return "ignored"
	case ours && pod == g.cfg.Pod:
		return g.deliver(e)
	case ours:
		return g.forward(ctx, pod, e)
	case e.Identity.Native():
		g.env.Natives.Forget(e.Room)
		if e.Kind == translate.EventLeft {
			g.env.Poller.PublisherLeft(e.Room, e.Identity, e.SID)
			return "native"
		}
	}
	return "ignored"
}

// routeEgress passes an egress event to its stream. Unlike events about participants, it matters after the
// stream's session was resumed by another pod than the one that the identity names: then the stream's record
// names the pod.
func (g *Gateway) routeEgress(ctx context.Context, e translate.Event) (result string) {
	if _, ours := g.env.PodOf(e.Identity); !ours {
		return "ignored"
	}
	if g.table.Deliver(e) {
		return "delivered"
	}
	for name := range g.namesOf(e.Room) {
		rec, err := g.env.Store.FindStream(ctx, name)
		if err == nil && rec.Identity == string(e.Identity) && rec.Owner.Pod != g.cfg.Pod {
			return g.forward(ctx, rec.Owner.Pod, e)
		}
	}
	return "stale"
}

// namesOf returns the names that streams in a room may have. It is one name, unless applications were
// reconfigured (translate.OneToOne).
func (g *Gateway) namesOf(room translate.RoomName) map[string]struct{} {
	names := make(map[string]struct{})
	for _, app := range g.table.Settings().Apps {
		if name, ok := app.Room.Name(app.Key, room); ok {
			names[name] = struct{}{}
		}
	}
	return names
}

// forward sends an event to another pod.
func (g *Gateway) forward(ctx context.Context, pod string, e translate.Event) (result string) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	if err := g.env.Bus.ForwardWebhook(ctx, pod, e); err != nil {
		g.env.Log.Warn().Err(err).Str("pod", pod).Str("hint", "that pod polls LiveKit").Msg("webhook not forwarded")
		return "lost"
	}
	return "forwarded"
}

func (g *Gateway) deliver(e translate.Event) (result string) {
	if !g.table.Deliver(e) {
		return "stale"
	}
	return "delivered"
}

func (g *Gateway) deliverForwarded(forwarded state.Event) {
	e, err := bus.Webhook(forwarded)
	if err != nil {
		g.env.Log.Error().Err(err).Str("hint", "the pod that forwarded it may run another version").Msg("forwarded webhook malformed")
		return
	}
	g.deliver(e)
}
