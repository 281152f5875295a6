package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/apps"
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
			entrance{g}.accept(w, r)
		case g.cfg.LBPath != "" && r.URL.Path == g.cfg.LBPath && r.Method == http.MethodGet:
			g.loadBalancer(w, r)
		case g.cfg.Embed != nil && r.URL.Path == embed.Path:
			g.cfg.Embed.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// entrance admits clients and passes their sockets on.
type entrance struct{ *Gateway }

// accept makes a session of an upgrade. It returns at once, which frees the HTTP server's stack and buffers.
func (g entrance) accept(w http.ResponseWriter, r *http.Request) {
	settings := g.table.Settings()
	p := g.peer(r)
	reason, status, text := g.admit(r, p, settings)
	if reason != "" {
		g.reject(w, p, reason, status, text)
		return
	}
	ws, err := g.upgrader.Upgrade(w, r, p.Conn)
	if err != nil {
		g.env.Sampled.Info().Err(err).Str("remote", p.Remote).Msg("upgrade failed") // the upgrader answered
		return
	}
	if settings.Routed {
		g.startRouter(ws, r, *p, settings.Hybrid)
		return
	}
	g.table.Open(ws, *p, nil)
}

// startRouter has a router serve a client that another server can serve, or help to serve.
func (g entrance) startRouter(ws *websocket.Conn, r *http.Request, p session.Peer, withUpstream bool) {
	handshake := upstream.NewHandshake(r, g.clientAddress(r).Addr(), g.cfg.Deployment)
	if withUpstream {
		p.Hybrid = &hybrid.Origin{Handshake: handshake, Party: p.Conn.Key}
	}
	go router{g.Gateway}.serve(ws, p, handshake)
}

// peer returns the client of a request.
func (g entrance) peer(r *http.Request) *session.Peer {
	p := &session.Peer{Remote: g.clientAddress(r).String(), Origin: r.Header.Get("Origin")}
	p.OwnOrigin = origins.Own(p.Origin, r.Host, r.TLS != nil && strings.HasPrefix(p.Origin, "https:")) // the client has verified the name
	return p
}

// admit sets the client's Conn, or returns the limit that rejects the client and the response.
func (g entrance) admit(r *http.Request, p *session.Peer, settings *apps.Settings) (reason socket.Rejection, status int, text string) {
	switch {
	case g.table.Refusing():
		return session.RejectDraining, http.StatusServiceUnavailable, "shutting down"
	case len(p.Origin) > origins.MaxLength || len(r.Header["Origin"]) > 1 || !p.OwnOrigin && !settings.Origins.Allows(p.Origin):
		return session.RejectOrigin, http.StatusForbidden, "origin not allowed"
	case upstream.Loops(r, g.cfg.Deployment):
		return rejectLoop, http.StatusLoopDetected, "sent around by upstreams"
	}
	p.Conn, reason = g.admission.Acquire(realip.LimitKey(g.clientAddress(r).Addr()), &settings.Limits.Limits)
	status = http.StatusServiceUnavailable
	if reason == socket.RejectAddress {
		status = http.StatusTooManyRequests
	}
	return reason, status, "too many connections"
}

func (g entrance) reject(w http.ResponseWriter, p *session.Peer, reason socket.Rejection, status int, text string) {
	g.metrics.Rejected(reason)
	g.env.Sampled.Info().Str("remote", p.Remote).Str("origin", translate.Abridge(p.Origin, 300)).
		Str("rejection", string(reason)).Msg("socket rejected: " + text)
	if status != http.StatusForbidden && status != http.StatusLoopDetected {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// clientAddress returns the client's address. With the PROXY protocol it is that of the connection, which the
// header named: X-Forwarded-For is then the client's own, also if the client is a trusted proxy.
func (g *Gateway) clientAddress(r *http.Request) netip.AddrPort {
	if g.cfg.ProxyProtocol {
		return realip.Proxies(nil).Client(r)
	}
	return g.cfg.Proxies.Client(r)
}

// Listener returns the public listener on l, which must have no TLS. An http.Server serves it with the
// Listener's ConnState. timeout bounds a request until the upgrade.
func (g *Gateway) Listener(l net.Listener, timeout time.Duration) *socket.Listener {
	return socket.NewListener(l, socket.ListenerConfig{
		Upgrade: g.Public(), Timeout: timeout, ConnState: g.ConnState, Abort: g.admission.AbortHandshakes, Recovered: g.env.Recovered,
	})
}

// ConnState is for the http.Server of a public listener with TLS. It bounds the TCP connections that are not
// a socket.
func (g *Gateway) ConnState(c net.Conn, s http.ConnState) {
	trusted := g.cfg.Proxies.Trust
	if g.cfg.ProxyProtocol {
		trusted = nil
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
