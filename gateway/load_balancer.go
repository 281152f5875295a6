package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"

	"wcsgateway/state"
)

// LoadBalancer configures the answer to the SDK's lbUrl (docs/wcs-protocol.md#lburl).
type LoadBalancer struct {
	LBPath    string // "": none
	LBServer  string // host name of the deployment; "": that of the request
	LBPodHost string // host name of this pod, where pods have their own; "": they have none
	LBWS      string // port of both
	LBWSS     string // port of both
}

// lbAnswer has all members that the SDK reads. Flash, a port, is null: it is not served.
type lbAnswer struct {
	Server string  `json:"server"`
	WS     string  `json:"ws"`
	WSS    string  `json:"wss"`
	Flash  *string `json:"flash"`
}

// loadBalancer answers the SDK's lbUrl from memory. The answer must be 200 with JSON that any page can read:
// with any other answer the client hangs (docs/wcs-protocol.md#lburl).
func (g *Gateway) loadBalancer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(g.lbAnswer(r.Host)) // the client may be gone
}

// lbAnswer returns the address for a client that requested it from the host asked.
func (g *Gateway) lbAnswer(asked string) lbAnswer {
	c := g.cfg.LoadBalancer
	switch {
	case c.LBPodHost != "":
		p := g.describe()
		if choice, ok := fewerSessions(g.deps.Peers()); ok {
			p = choice
		}
		return lbAnswer{Server: p.Server, WS: p.WS, WSS: p.WSS}
	case c.LBServer != "":
		return lbAnswer{Server: c.LBServer, WS: c.LBWS, WSS: c.LBWSS}
	}
	// The address that brought the request here also brings a WebSocket here.
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		return lbAnswer{Server: asked, WS: "80", WSS: "443"}
	}
	if strings.Contains(host, ":") { // IPv6
		host = "[" + host + "]"
	}
	return lbAnswer{Server: host, WS: port, WSS: port}
}

// fewerSessions picks two pods at random and returns the one with fewer sessions: the figures are seconds
// old, and clients must not all go to the same pod.
func fewerSessions(pods []state.Peer) (choice state.Peer, ok bool) {
	for _, i := range rand.Perm(len(pods)) {
		p := pods[i]
		switch {
		case !p.Ready || p.Server == "":
		case !ok:
			choice, ok = p, true
		case p.Sessions < choice.Sessions:
			return p, true
		default:
			return choice, true
		}
	}
	return choice, ok
}

// describe returns what other pods learn about this one.
func (g *Gateway) describe() state.Peer {
	c := g.cfg.LoadBalancer
	p := state.Peer{Sessions: g.sockets(), Ready: g.Ready()}
	if c.LBPodHost != "" {
		p.Server, p.WS, p.WSS = c.LBPodHost, c.LBWS, c.LBWSS
	}
	return p
}

// Load returns how full the pod is, in percent of limits.connections, and whether it accepts new clients.
func (g *Gateway) Load() (percent int, open bool) {
	most := g.table.Settings().Limits.Connections
	if most <= 0 {
		return 0, g.Ready()
	}
	return min(100*g.sockets()/most, 100), g.Ready()
}

// sockets returns the number of client sockets: of sessions here and of spliced ones.
func (g *Gateway) sockets() int { return g.table.Sockets() + g.links.Len() }
