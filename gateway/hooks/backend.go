package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"
)

// Object is a JSON object whose members are not looked into.
type Object = map[string]json.RawMessage

// Deps are what a Backend needs of the process.
type Deps struct {
	// Observe is told of each call: how long it took, with waiting and repeating, and its error, which is
	// context.Canceled (errors.Is) where the caller has given up. May be nil. Calls of it may be at the same time.
	Observe func(m Method, d time.Duration, err error)
	Log     zerolog.Logger
}

// Backend calls one application's backend. It has connections and limits of its own, so that a slow backend holds up
// nobody but its own application. Its methods may be called at the same time.
type Backend struct {
	cfg       Config
	deps      Deps
	endpoints map[Method]string
	transport *http.Transport

	slots   chan struct{} // one for each call that is made now
	waiting atomic.Int64

	closed context.Context
	close  context.CancelCauseFunc
}

var errClosed = errors.New("client of the backend is closed")

// An idle connection is given up before common servers do it (Apache and Node.js: after 5 s). A call on a connection
// that is just being closed is one of which nobody knows whether it arrived.
const idleTimeout = 4 * time.Second

// New makes the client of a backend. It connects when it is first needed. The error joins all faults of cfg.
func New(cfg Config, deps Deps) (*Backend, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("hooks: %w", err)
	}
	cfg = cfg.withDefaults()
	http1 := new(http.Protocols) // HTTP/2 has no reason phrase
	http1.SetHTTP1(true)
	b := &Backend{
		cfg: cfg, deps: deps, endpoints: cfg.endpoints(),
		transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: cfg.DialTimeout}).DialContext,
			TLSClientConfig:        cfg.tls(),
			TLSHandshakeTimeout:    cfg.DialTimeout,
			MaxConnsPerHost:        cfg.MaxInFlight,
			MaxIdleConnsPerHost:    cfg.MaxInFlight,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHead,
			DisableCompression:     true, // no bombs
			Protocols:              http1,
		},
		slots: make(chan struct{}, cfg.MaxInFlight),
	}
	b.closed, b.close = context.WithCancelCause(context.Background())
	return b, nil
}

// Close ends the calls that are being made, with ErrUnavailable, and closes all connections. Later calls fail.
func (b *Backend) Close() {
	b.close(errClosed)
	b.transport.CloseIdleConnections()
}

// Sends tells whether the method is one that this backend is called with. A nil Backend is called with none.
func (b *Backend) Sends(m Method) bool {
	return b != nil && b.endpoints[m] != ""
}

// Call posts body to the method's address and gives the object that the backend answered with a 200; it is empty, not
// nil, if there was none. It returns within Config.Timeout, whatever the backend does. Errors are a *Refusal for any
// other status, ErrUnavailable, ErrBusy and ErrBadResponse. To call a method that is not sent is the caller's fault.
func (b *Backend) Call(ctx context.Context, m Method, body Object) (Object, error) {
	if !b.Sends(m) {
		return nil, fmt.Errorf("hooks: %s is not sent to this backend", m)
	}
	start := time.Now()
	got, err := b.call(ctx, m, body)
	if b.deps.Observe != nil {
		b.deps.Observe(m, time.Since(start), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m, err)
	}
	return got, nil
}

func (b *Backend) call(ctx context.Context, m Method, body Object) (Object, error) {
	raw, err := encode(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.closed, func() { cancel(errClosed) })()
	ctx, stop := context.WithTimeout(ctx, b.cfg.Timeout)
	defer stop()

	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	defer b.leave()
	if b.closed.Err() != nil { // ctx may learn of it later
		return nil, unavailable(errClosed)
	}
	return b.repeat(ctx, m, raw)
}

// enter waits for the call's turn. Calls get it in the order they came.
func (b *Backend) enter(ctx context.Context) error {
	select {
	case b.slots <- struct{}{}:
		return nil
	default:
	}
	defer b.waiting.Add(-1)
	if b.waiting.Add(1) > int64(b.cfg.MaxWaiting) {
		return ErrBusy
	}
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for other calls to end: %w", ErrUnavailable, context.Cause(ctx))
	}
}

func (b *Backend) leave() { <-b.slots }

// repeat makes the call, again after a pause if it could not be sent. Three pauses are about 2.6 s in all.
func (b *Backend) repeat(ctx context.Context, m Method, body []byte) (Object, error) {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: 200 * time.Millisecond, Multiplier: 3, MaxInterval: 2 * time.Second, RandomizationFactor: 0.5,
	}
	pause.Reset()
	for repeated := 0; ; repeated++ {
		got, again, err := b.attempt(ctx, b.endpoints[m], body)
		if !again || repeated == b.cfg.Retries {
			return got, err
		}
		wait := pause.NextBackOff()
		b.deps.Log.Debug().Err(err).Str("hook", string(m)).Dur("in", wait).Msg("call of the backend could not be sent and is repeated")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; %w", err, context.Cause(ctx))
		}
	}
}

// encode leaves <, > and & as they are: a backend that searches the text finds what the client wrote.
func encode(body Object) ([]byte, error) {
	if body == nil {
		body = Object{}
	}
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.ToValidUTF8(bytes.TrimSuffix(w.Bytes(), []byte("\n")), []byte("\uFFFD")), nil
}
