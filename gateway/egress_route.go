package gateway

import (
	"context"

	"wcsgateway/translate"
)

// routeEgress brings news of an egress to the stream it is about. Unlike those about participants they matter after the stream's session was
// resumed elsewhere, where the identity does not lead: then the stream's record tells whose it is.
func (g *Gateway) routeEgress(ctx context.Context, e translate.Event) (result string) {
	if _, ours := g.podOf(e.Identity); !ours {
		return "ignored"
	}
	if g.streams.find(e.Identity) != nil {
		return g.deliver(e)
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	for name := range g.namesOf(e.Room) {
		rec, err := g.deps.Store.FindStream(ctx, name)
		if err == nil && rec.Identity == string(e.Identity) && rec.Owner.Pod != g.cfg.Pod {
			return g.forward(ctx, rec.Owner.Pod, e)
		}
	}
	return "stale"
}

// namesOf gives the names of the streams that may be in a room. There is one, unless applications were reconfigured (translate.OneToOne).
func (g *Gateway) namesOf(room translate.RoomName) map[string]struct{} {
	names := make(map[string]struct{})
	for _, app := range g.live().apps {
		if name, ok := app.Room.Name(app.Key, room); ok {
			names[name] = struct{}{}
		}
	}
	return names
}
