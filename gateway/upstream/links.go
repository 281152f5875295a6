package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// Metrics are the figures of links. All label sets are closed: applications, upstreams and commands.
type Metrics struct {
	Sessions *prometheus.GaugeVec   // app, upstream
	Streams  *prometheus.GaugeVec   // app, upstream, kind
	Opened   *prometheus.CounterVec // upstream, result
	Commands *prometheus.CounterVec // app, upstream, cmd
}

// Results of attempts to open a link, for the metric.
const (
	resultOK          = "ok"
	resultLimit       = "limit"       // maxLinks
	resultUnavailable = "unavailable" // no connection, another response or none in time
)

// Deps are what Links uses.
type Deps struct {
	Context   context.Context // of the connections that are being opened
	Stall     time.Duration   // after which a receiver that takes nothing is closed
	Metrics   *Metrics
	Usage     UsageStore          // nil: none
	Tokens    TokenStore          // nil: no token is remembered
	Opened    func()              // is called for each link
	Ended     func(socket.Reason) // is called for each link that has ended
	Refusing  func() bool         // links are closed at once, because the pod shuts down
	Recovered func()              // recovers a panic; is deferred
	Log       zerolog.Logger
}

// Links holds the links of a pod. Its methods may be called from any goroutine.
type Links struct {
	Deps
	running sync.WaitGroup
	usage   usage
	issued  *issued

	mu          sync.Mutex
	open        map[*Link]struct{}
	closed      bool                    // Wait was called
	transcripts map[string][]*beginning // that are open or began lately, by application
}

// NewLinks returns a Links without links.
func NewLinks(d Deps) *Links {
	return &Links{
		Deps: d, open: make(map[*Link]struct{}), issued: newIssued(), transcripts: make(map[string][]*beginning),
		usage: usage{store: d.Usage, log: d.Log, counts: make(map[state.UpstreamUse]int64)},
	}
}

// Request is a client that is to be spliced.
type Request struct {
	Client    *socket.MeteredConn
	Remote    string // the client's address and port, for the log
	App       string // "" if the client does not say, as the second socket of a media provider
	Version   string // of the client's SDK (Client.Version)
	To        *Server
	Handshake Handshake
	Sent      []byte // all that the client has sent, as it came
	Session   bool   // the client opens a session, so that the server issues a token
	// Transcripts is how many transcripts of the application's sessions are kept. 0: none are written.
	Transcripts int
}

// Open connects to the server and starts a link, which ends on its own. After an error, ErrTooManyLinks or
// one that wraps ErrUnavailable, the client's connection is as before.
func (ls *Links) Open(r Request) error {
	if !r.To.take() {
		ls.Metrics.Opened.WithLabelValues(r.To.Name(), resultLimit).Inc()
		return ErrTooManyLinks
	}
	server, rest, err := r.To.dial(ls.Context, r.Handshake)
	if err != nil {
		r.To.release()
		ls.Metrics.Opened.WithLabelValues(r.To.Name(), resultUnavailable).Inc()
		return err
	}
	_ = r.Client.SetReadDeadline(time.Time{}) // fails only on a dead socket, which the read reports
	l := &Link{app: r.App, to: r.To, client: r.Client, server: server, stall: ls.Stall}
	l.up.onText = ls.counter(r.App, r.To.Name())
	if r.Session {
		l.streams = &streams{frames: &l.down, count: func(kind string, delta float64) {
			ls.Metrics.Streams.WithLabelValues(r.App, r.To.Name(), kind).Add(delta)
		}}
		l.down.onPayload = l.streams.payload
	}
	if r.Session && ls.Tokens != nil {
		l.issued, l.greeting = ls.issued, newGreeting()
	}
	if !ls.enter(l) {
		_ = server.Close() // the client is rejected
		r.To.release()
		return fmt.Errorf("%w: the pod has shut down", ErrUnavailable)
	}
	l.tap = ls.transcribe(r)
	ls.Metrics.Opened.WithLabelValues(r.To.Name(), resultOK).Inc()
	ls.Metrics.Sessions.WithLabelValues(r.App, r.To.Name()).Inc()
	ls.Opened()
	ls.usage.add(state.UpstreamUse{App: r.App, Upstream: r.To.Name(), ClientVersion: r.Version})
	if ls.Refusing() { // All might not have returned this link
		l.Close(socket.ClosedShutdown)
	}
	log := ls.Log.With().Str("remote", r.Remote).Str("app", r.App).Str("upstream", r.To.Name()).Logger()
	log.Info().Msg("session spliced")
	go func() {
		defer ls.running.Done()
		ls.run(l, r.Sent, rest, log)
	}()
	return nil
}

// enter adds a link, unless Wait was called. nil stands for a connection of Dial.
func (ls *Links) enter(l *Link) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return false
	}
	if l != nil {
		ls.open[l] = struct{}{}
	}
	ls.running.Add(1)
	return true
}

// DialRequest is a session of this gateway that needs a server, too.
type DialRequest struct {
	App        string
	Version    string // of the client's SDK (Client.Version)
	To         *Server
	Handshake  Handshake
	MaxMessage int // bytes of a message of the server; larger ones are dropped
}

// Dial opens a WebSocket to a server for a session of this gateway. It counts as a link. The caller closes
// the socket and then calls release. The error is ErrTooManyLinks, or wraps ErrUnavailable.
func (ls *Links) Dial(ctx context.Context, r DialRequest) (out *socket.Outbound, release func(), err error) {
	opened := func(result string) { ls.Metrics.Opened.WithLabelValues(r.To.Name(), result).Inc() }
	if !r.To.take() {
		opened(resultLimit)
		return nil, nil, ErrTooManyLinks
	}
	if !ls.enter(nil) {
		r.To.release()
		return nil, nil, fmt.Errorf("%w: the pod has shut down", ErrUnavailable)
	}
	release = func() {
		r.To.release()
		ls.running.Done()
	}
	if out, err = r.To.socket(ctx, r.Handshake, r.MaxMessage); err != nil {
		release()
		opened(resultUnavailable)
		return nil, nil, err
	}
	opened(resultOK)
	ls.usage.add(state.UpstreamUse{App: r.App, Upstream: r.To.Name(), ClientVersion: r.Version})
	return out, release, nil
}

// CountCommand counts a command that goes to a server over a socket of Dial.
func (ls *Links) CountCommand(app string, to *Server, name wcs.Name) {
	text := string(name)
	if !slices.Contains(commands, name) {
		text = otherCommand
	}
	ls.count(app, to.Name(), text)
}

func (ls *Links) run(l *Link, sent, rest []byte, log zerolog.Logger) {
	defer ls.Recovered()
	reason := l.run(sent, rest, ls.Recovered)
	l.tap.end()
	l.streams.end()
	ls.issued.drop(l.token, l)
	ls.mu.Lock()
	delete(ls.open, l)
	ls.mu.Unlock()
	l.to.release()
	ls.Metrics.Sessions.WithLabelValues(l.app, l.to.Name()).Dec()
	ls.Ended(reason)
	log.Info().Str("reason", reason.Name).Msg("spliced session closed")
}

// All returns the open links.
func (ls *Links) All() []*Link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Collect(maps.Keys(ls.open))
}

// Len returns the number of open links.
func (ls *Links) Len() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.open)
}

// Wait waits for the end of all links. Open fails from now on.
func (ls *Links) Wait() {
	ls.mu.Lock()
	ls.closed = true
	ls.mu.Unlock()
	ls.running.Wait()
}

// Info returns the text for a client whose link could not be opened.
func Info(err error) string {
	if errors.Is(err, ErrTooManyLinks) {
		return "Upstream server is busy"
	}
	return "Upstream server is not available"
}
