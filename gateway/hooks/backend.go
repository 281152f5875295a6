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

	"wcsgateway/translate/wcs"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"
)

// Object is a JSON object with undecoded members.
type Object = map[string]json.RawMessage

// Deps are the dependencies of a Backend.
type Deps struct {
	// Observe receives the duration of each call, including waiting and retries, and its error, which is
	// context.Canceled (errors.Is) if the caller canceled it. Observe can be nil and is called concurrently.
	Observe func(m Method, d time.Duration, err error)
	Log     zerolog.Logger
}

// Backend calls one application's backend. Each Backend has its own connections and limits, so that a slow
// backend only delays its own application. Its methods are safe for concurrent use.
type Backend struct {
	Queued Budget // shared by the Queues of the application's sessions

	cfg       Config
	deps      Deps
	endpoints map[Method]string
	transport *http.Transport

	slots *semaphore.Weighted // of calls in progress
	calls atomic.Int64        // in progress or waiting

	closed context.Context
	close  context.CancelCauseFunc
}

var errClosed = errors.New("backend client is closed")

// idleTimeout is shorter than that of common servers (Apache and Node.js: 5 s): if the server closes a
// connection during a call, the gateway cannot know whether the call arrived.
const idleTimeout = 4 * time.Second

// New returns the client of a backend. It does not connect before the first call. The error joins all faults
// of cfg.
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
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:        cfg.tls(),
			TLSHandshakeTimeout:    dialTimeout,
			MaxConnsPerHost:        cfg.MaxInFlight,
			MaxIdleConnsPerHost:    cfg.MaxInFlight,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHead,
			DisableCompression:     true, // no decompression bombs
			Protocols:              http1,
		},
		slots: semaphore.NewWeighted(int64(cfg.MaxInFlight)),
	}
	b.closed, b.close = context.WithCancelCause(context.Background())
	return b, nil
}

// Close aborts the calls in progress with ErrUnavailable and closes all connections. Later calls fail.
func (b *Backend) Close() {
	b.close(errClosed)
	b.transport.CloseIdleConnections()
}

// Sends reports whether the backend receives calls of method m. A nil Backend receives none.
func (b *Backend) Sends(m Method) bool {
	return b != nil && b.endpoints[m] != ""
}

// Call posts body to the method's URL and returns the object of a 200 response, which is empty, not nil, if
// the response has no body. It returns within Config.Timeout. Errors are a *Refusal for any other status,
// ErrUnavailable, ErrBusy and ErrBadResponse. The caller must check Sends first.
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

	if err := b.acquire(ctx); err != nil {
		return nil, err
	}
	defer b.release()
	if b.closed.Err() != nil { // ctx is canceled asynchronously
		return nil, unavailable(errClosed)
	}
	return b.attempts(ctx, m, raw)
}

// acquire waits for one of MaxInFlight slots, in the order of the calls.
func (b *Backend) acquire(ctx context.Context) error {
	if b.calls.Add(1) > int64(b.cfg.MaxInFlight+b.cfg.MaxWaiting) {
		b.calls.Add(-1)
		return ErrBusy
	}
	if b.slots.Acquire(ctx, 1) != nil {
		b.calls.Add(-1)
		return fmt.Errorf("%w: waiting for other calls to end: %w", ErrUnavailable, context.Cause(ctx))
	}
	return nil
}

func (b *Backend) release() {
	b.slots.Release(1)
	b.calls.Add(-1)
}

// attempts makes the call and retries it with back-off if it could not be sent. Three pauses take about 2.6 s
// in all.
func (b *Backend) attempts(ctx context.Context, m Method, body []byte) (Object, error) {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: 200 * time.Millisecond, Multiplier: 3, MaxInterval: 2 * time.Second, RandomizationFactor: 0.5,
	}
	pause.Reset()
	for retries := 0; ; retries++ {
		got, retry, err := b.attempt(ctx, b.endpoints[m], body)
		if !retry || retries == b.cfg.Retries {
			return got, err
		}
		wait := pause.NextBackOff()
		b.deps.Log.Debug().Err(err).Str("hook", string(m)).Dur("in", wait).Msg("backend call not sent, retrying")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; %w", err, context.Cause(ctx))
		}
	}
}

// encode marshals body without escaping <, > and &, so that backends that search the text find the client's
// input.
func encode(body Object) ([]byte, error) {
	if body == nil {
		body = Object{}
	}
	b, err := wcs.Encode(body)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD")), nil
}
