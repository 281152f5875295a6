package gateway

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
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
		CheckOrigin:      func(*http.Request) bool { return true }, // the page comes from elsewhere as a rule
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
			g.loadBalancer(w)
		default:
			http.NotFound(w, r)
		}
	})
}

// accept makes a session of an upgrade. It returns at once, which frees the HTTP server's stack and buffers.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request) {
	if g.refusing.Load() {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	ws, err := g.upgrader.Upgrade(w, r, nil)
	if err != nil {
		g.log.Info().Err(err).Str("remote", r.RemoteAddr).Msg("upgrade failed") // the upgrader has answered
		return
	}
	g.open(ws, peer{remote: r.RemoteAddr, origin: r.Header.Get("Origin")})
}

// loadBalancer answers the SDK's lbUrl. It must be 200 with JSON, readable from any page: with anything else
// the client hangs for good (integration.md §3.1).
func (g *Gateway) loadBalancer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_ = json.NewEncoder(w).Encode(map[string]string{ // the client may be gone
		"server": g.cfg.LBServer, "ws": g.cfg.LBWS, "wss": g.cfg.LBWSS,
	})
}

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
