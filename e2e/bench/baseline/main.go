// Command baseline is the server that the gateway is compared with: gorilla/websocket with
// small buffers and no application. It answers a socket's first message with a canned text, pings all
// sockets with the WCS ping, and drops all other messages. It shows the metrics of the Go runtime and of the
// process as the gateway does. With parts of the gateway's work (-with) it shows what these cost.
package main

import (
	"errors"
	"flag"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The gateway's read buffer is smaller than this one, which most servers would take.
const (
	readBuffer  = 512
	writeBuffer = 4096
)

// slots spread the pings over the interval, as the gateway's pinger does.
const slots = 50

const ping = `{"message":"ping","data":[]}`

// cannedBytes is about the size of the gateway's getUserData.
const cannedBytes = 1000

func main() {
	public := flag.String("public", "127.0.0.1:8080", "address for WebSocket clients")
	internal := flag.String("internal", "127.0.0.1:9090", "address for /metrics and /readyz")
	interval := flag.Duration("ping", 5*time.Second, "how often each socket is pinged")
	with := flag.String("with", "", "parts of the gateway's work, separated by commas: protocol, log, redis, timeouts")
	redis := flag.String("redis", "", "address for -with redis")
	flag.Parse()
	if err := run(*public, *internal, *interval, newParts(*with, *redis)); err != nil {
		log.Fatal(err)
	}
}

func run(public, internal string, interval time.Duration, p *parts) error {
	s := newServer(p)
	go s.pingAll(interval)
	failed := make(chan error, 2)
	clients := &http.Server{Addr: public, Handler: http.HandlerFunc(s.accept)}
	p.limit(clients)
	go func() { failed <- clients.ListenAndServe() }()
	go func() { failed <- http.ListenAndServe(internal, s.internal()) }()
	err := <-failed
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

type server struct {
	upgrader websocket.Upgrader
	parts    *parts
	canned   []byte
	open     prometheus.Gauge

	mu    sync.Mutex
	next  int
	conns [slots]map[*websocket.Conn]struct{}
}

func newServer(p *parts) *server {
	s := &server{
		parts:    p,
		upgrader: websocket.Upgrader{ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: new(sync.Pool)},
		canned:   []byte(`{"message":"getUserData","data":[{"text":"` + strings.Repeat("x", cannedBytes) + `"}]}`),
		open:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "wcs_connections", Help: "Open client sockets."}),
	}
	for i := range s.conns {
		s.conns[i] = make(map[*websocket.Conn]struct{})
	}
	return s
}

func (s *server) internal() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), s.open)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return mux
}

// accept lets the HTTP handler return and reads in a goroutine of its own, which frees the handler's
// buffers.
func (s *server) accept(w http.ResponseWriter, r *http.Request) {
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader sent the error
	}
	go s.serve(ws)
}

// serve answers the first message. From then on only pingAll writes, as gorilla allows one writer at a time.
func (s *server) serve(ws *websocket.Conn) {
	defer func() { _ = ws.Close() }() // the socket has ended anyway
	s.open.Inc()
	defer s.open.Dec()
	end, err := s.greet(ws)
	if err != nil {
		return
	}
	defer end()
	defer s.add(ws)()
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

// greet answers the first message. What it needs is not held by an idle socket.
func (s *server) greet(ws *websocket.Conn) (end func(), err error) {
	_, frame, err := ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	answer, end := s.canned, func() {}
	if s.parts.has(partProtocol) {
		if answer, end, err = s.parts.open(frame, ws.RemoteAddr().String()); err != nil {
			return nil, err
		}
	}
	return end, ws.WriteMessage(websocket.TextMessage, answer)
}

func (s *server) add(ws *websocket.Conn) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.conns[s.next]
	s.next = (s.next + 1) % slots
	slot[ws] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(slot, ws)
	}
}

func (s *server) pingAll(interval time.Duration) {
	tick := time.NewTicker(interval / slots)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % slots {
		<-tick.C
		for _, ws := range s.slot(i) {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(ping)) // the reader handles a dead socket
		}
	}
}

func (s *server) slot(i int) []*websocket.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*websocket.Conn, 0, len(s.conns[i]))
	for ws := range s.conns[i] {
		conns = append(conns, ws)
	}
	return conns
}
