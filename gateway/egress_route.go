package gateway

import (
	"context"

	"wcsgateway/gateway/egress"
	"wcsgateway/translate"
)

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
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	for name := range g.namesOf(e.Room) {
		rec, err := g.env.Store.FindStream(ctx, name)
		if err == nil && rec.Identity == string(e.Identity) && rec.Owner.Pod != g.cfg.Pod {
			return g.forward(ctx, rec.Owner.Pod, e)
		}
	}
	return "stale"
}

// pushAddress returns the RTMP address of a stream, and whether its application is allowed to send there
// (admin.PushAddress).
func (g *Gateway) pushAddress(app, stream, base string, full bool) (address string, allowed bool) {
	a := g.table.Settings().Apps[app]
	if a == nil {
		return "", false
	}
	address = base
	if !full && !a.RTMPFullURL {
		address = egress.Address(base, stream)
	}
	return address, a.RTMPHosts.Allow(base)
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
