package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/embed"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/realip"
	"wcsgateway/gateway/session"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/translate"
)

// Public returns the handler of the listeners that clients reach. It serves WebSocket upgrades on any path,
// because apps use all kinds of paths (docs/wcs-protocol.md#transport), and the load balancer's address and
// the player for frames if configured.
func (g *Gateway) Public() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case websocket.IsWebSocketUpgrade(r):
			g.accept(w, r)
		case g.cfg.LBPath != "" && r.URL.Path == g.cfg.LBPath && r.Method == http.MethodGet:
			g.loadBalancer(w, r)
		case g.cfg.Embed != nil && r.URL.Path == embed.Path:
			g.cfg.Embed.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// accept makes a session of an upgrade. It returns at once, which frees the HTTP server's stack and buffers.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request) {
	settings := g.table.Settings()
	address := g.clientAddress(r)
	p := session.Peer{Remote: address.String(), Origin: r.Header.Get("Origin")}
	p.OwnOrigin = origins.Own(p.Origin, r.Host, r.TLS != nil && strings.HasPrefix(p.Origin, "https:")) // the client has verified the name
	reject := func(reason socket.Rejection, status int, text string) {
		g.metrics.Rejected(reason)
		g.env.Sampled.Info().Str("remote", p.Remote).Str("origin", translate.Abridge(p.Origin, 300)).
			Str("rejection", string(reason)).Msg("socket rejected: " + text)
		if status != http.StatusForbidden && status != http.StatusLoopDetected {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		}
		w.Header().Set("Connection", "close")
		http.Error(w, text, status)
	}
	switch {
	case g.table.Refusing():
		reject(session.RejectDraining, http.StatusServiceUnavailable, "shutting down")
		return
	case len(p.Origin) > origins.MaxLength || len(r.Header["Origin"]) > 1 || !p.OwnOrigin && !settings.Origins.Allows(p.Origin):
		reject(session.RejectOrigin, http.StatusForbidden, "origin not allowed")
		return
	}
	if upstream.Loops(r, g.cfg.Deployment) {
		reject(rejectLoop, http.StatusLoopDetected, "sent around by upstreams")
		return
	}
	metered, rejection := g.admission.Acquire(realip.LimitKey(address.Addr()), &settings.Limits.Limits)
	if rejection != "" {
		status := http.StatusServiceUnavailable
		if rejection == socket.RejectAddress {
			status = http.StatusTooManyRequests
		}
		reject(rejection, status, "too many connections")
		return
	}
	ws, err := g.upgrader.Upgrade(w, r, metered)
	if err != nil {
		g.env.Sampled.Info().Err(err).Str("remote", p.Remote).Msg("upgrade failed") // the upgrader answered
		return
	}
	p.Conn = metered
	handshake := upstream.NewHandshake(r, address.Addr(), g.cfg.Deployment)
	if settings.Hybrid {
		p.Hybrid = &hybrid.Origin{Handshake: handshake, Party: metered.Key}
	}
	if !settings.Routed {
		g.table.Open(ws, p, nil)
		return
	}
	go router{g}.serve(ws, p, handshake)
}

// clientAddress returns the client's address. With the PROXY protocol it is that of the connection, which the
// header named: X-Forwarded-For is then the client's own, also if the client is a trusted proxy.
func (g *Gateway) clientAddress(r *http.Request) netip.AddrPort {
	if g.cfg.ProxyProtocol {
		return realip.Proxies(nil).Client(r)
	}
	return g.cfg.Proxies.Client(r)
}

// ConnState is for the http.Server of a public listener. It bounds the TCP connections that are not a socket.
func (g *Gateway) ConnState(c net.Conn, s http.ConnState) {
	trusted := g.cfg.Proxies.Trust
	if g.cfg.ProxyProtocol { // the client's address is known only after the header was read
		trusted = func(netip.Addr) bool { return true }
	}
	g.admission.ConnState(c, s, trusted, &g.table.Settings().Limits.Limits)
}

// retryAfter is the number of seconds after which a rejected client can retry.
const retryAfter = 10

// Internal returns the handler of the listener that only the cluster reaches. metrics serves /metrics.
func (g *Gateway) Internal(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("POST /webhook", g.webhook)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case g.draining.Load():
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case !g.deps.StoreReady():
			http.Error(w, "Redis has not been reached yet", http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
	return mux
}
