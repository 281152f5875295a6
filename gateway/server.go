package gateway

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/realip"
)

// readBuffer is small on purpose: most of what a client sends is a pong, and a larger message is read past the buffer.
// With it, and with the write buffers pooled, an idle socket costs 7 KB instead of 17 (design.md §8).
const readBuffer = 512

// writeBuffer holds a session description of a few codecs, the largest message there usually is.
const writeBuffer = 4096

func newUpgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  writeBuffer,
		WriteBufferPool:  new(sync.Pool),
		CheckOrigin:      func(*http.Request) bool { return true }, // accept has asked origins
		// No compression: a client's offer of permessage-deflate is not taken up, so that a compressed frame is a protocol error.
	}
}

// Public is the handler of the listeners that clients reach: WebSocket upgrades on any path, because apps put all
// sorts of things there (protocol.md §1.1), the address of the load balancer if configured, and nothing else.
func (g *Gateway) Public() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case websocket.IsWebSocketUpgrade(r):
			g.accept(w, r)
		case g.cfg.LBPath != "" && r.URL.Path == g.cfg.LBPath && r.Method == http.MethodGet:
			g.loadBalancer(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// accept makes a session of an upgrade. It returns at once, which frees the HTTP server's stack and buffers.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request) {
	live := g.live()
	address := g.cfg.Proxies.Client(r)
	p := peer{remote: address.String(), origin: r.Header.Get("Origin"), guard: newGuard(&live.limits, g.excess)}
	refuse := func(reason refusal, status int, text string) {
		g.metrics.refused(reason)
		g.noisy.Info().Str("remote", p.remote).Str("origin", cut(p.origin, 300)).Str("refusal", string(reason)).Msg("socket refused: " + text)
		if status != http.StatusForbidden {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		}
		w.Header().Set("Connection", "close")
		http.Error(w, text, status)
	}
	switch {
	case g.refusing.Load():
		refuse(refusedDraining, http.StatusServiceUnavailable, "shutting down")
		return
	case !origins.Valid(p.origin) || len(r.Header["Origin"]) > 1 || !live.origins.Allows(p.origin):
		refuse(refusedOrigin, http.StatusForbidden, "origin not allowed")
		return
	}
	p.guard.of = realip.LimitKey(address.Addr())
	if reason, ok := g.door.enter(&p.guard.place, &live.limits); !ok {
		status := http.StatusServiceUnavailable
		if reason == refusedAddress {
			status = http.StatusTooManyRequests
		}
		refuse(reason, status, "too many connections")
		return
	}
	ws, err := g.upgrader.Upgrade(hijacker{w, p.guard}, r, nil)
	if err != nil {
		p.guard.leave()
		g.noisy.Info().Err(err).Str("remote", p.remote).Msg("upgrade failed") // the upgrader has answered
		return
	}
	g.open(ws, p)
}

// retryAfter is when a client that was refused may try again, in seconds.
const retryAfter = 10

// Internal is the handler of the listener that only the cluster reaches. metrics serves /metrics.
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
