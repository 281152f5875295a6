package gateway

import (
	"context"
	"encoding/json"
	"net/http"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// webhook takes what LiveKit tells. It answers 200 to everything genuine, also to what it has no use for: LiveKit
// holds back later events of a room while it repeats an earlier one (feasibility.md §3).
func (g *Gateway) webhook(w http.ResponseWriter, r *http.Request) {
	e, ok, err := g.deps.Webhooks.Webhook(w, r)
	switch {
	case err != nil:
		g.metrics.webhooks.WithLabelValues("refused").Inc()
		g.noisy.Warn().Err(err).Str("remote", r.RemoteAddr).Msg("webhook refused: is it LiveKit's, and is it signed with the key that is configured here?")
		http.Error(w, "not a webhook of our LiveKit", http.StatusUnauthorized)
		return
	case !ok:
		g.metrics.webhooks.WithLabelValues("ignored").Inc()
	default:
		g.metrics.webhooks.WithLabelValues(g.route(r.Context(), e)).Inc()
	}
	w.WriteHeader(http.StatusOK)
}

// route brings the event to the stream it is about, here or on another pod. Late, repeated and disordered events do
// no harm: an identity is used once, and what is over cannot happen again.
func (g *Gateway) route(ctx context.Context, e translate.Event) (result string) {
	pod, ours := g.podOf(e.Identity)
	_, role, _, _ := e.Identity.Parse()
	switch {
	case e.Kind == translate.EventEgress:
		return g.routeEgress(ctx, e)
	case role == translate.RoleProbe, role == translate.RoleSnapshot: // whoever runs it knows
		return "ignored"
	case ours && pod == g.cfg.Pod:
		return g.deliver(e)
	case ours:
		return g.forward(ctx, pod, e)
	case e.Identity.Native() && e.Kind == translate.EventLeft:
		for _, st := range g.watch.in(e.Room) {
			st.sess.loop.post(func() { st.publisherGone(e.Identity, notice{}) })
		}
		return "native"
	}
	return "ignored"
}

// forward passes an event on to another pod.
func (g *Gateway) forward(ctx context.Context, pod string, e translate.Event) (result string) {
	body, err := json.Marshal(e)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
		defer cancel()
		err = g.deps.Events.Publish(ctx, pod, state.Event{Kind: state.EventWebhook, From: g.cfg.Pod, Body: body})
	}
	if err != nil {
		g.log.Warn().Err(err).Str("pod", pod).Msg("webhook for another pod is lost; it will find out by asking")
		return "lost"
	}
	return "forwarded"
}

func (g *Gateway) deliver(e translate.Event) (result string) {
	st := g.streams.find(e.Identity)
	if st == nil {
		return "stale"
	}
	st.sess.loop.post(func() { st.onEvent(e) })
	return "delivered"
}

func (g *Gateway) forwardedWebhook(body []byte) {
	var e translate.Event
	if err := json.Unmarshal(body, &e); err != nil {
		g.log.Error().Err(err).Msg("a pod of another version forwarded a webhook that cannot be read")
		return
	}
	g.deliver(e)
}
