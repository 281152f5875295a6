package hooks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

const userAgent = "wcs-gateway"

// attempt sends the call once. retry reports whether the call failed before it reached the backend and can be
// repeated.
func (b *Backend) attempt(ctx context.Context, url string, body []byte) (got Object, retry bool, err error) {
	var p progress
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, p.trace()), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, false, unavailable(err)
	}
	span := trace.SpanFromContext(ctx) // records nothing unless ctx has a trace
	public := *req.URL
	public.User, public.RawQuery = nil, "" // they can contain secrets
	span.SetAttributes(semconv.HTTPRequestMethodPost, semconv.URLFull(public.String()), semconv.ServerAddress(req.URL.Hostname()))
	b.setHeaders(req, body)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header)) // a no-op unless ctx has a trace
	res, err := b.transport.RoundTrip(req)                                        // http.Client would follow redirects
	switch {
	case err == nil:
		defer res.Body.Close()
		span.SetAttributes(semconv.HTTPResponseStatusCode(res.StatusCode))
		got, err = answer(ctx, res, b.cfg.MaxResponseBytes)
		return got, false, err
	case ctx.Err() != nil:
		return nil, false, unavailable(context.Cause(ctx))
	case p.answered.Load():
		// The transport's error quotes the response, which must not be logged.
		return nil, false, fmt.Errorf("%w: not HTTP, too long or truncated", ErrBadResponse)
	default:
		return nil, p.notReceived(err), unavailable(err)
	}
}

// setHeaders sets the headers that WCS sends. net/http adds Content-Length because the body's length is
// known.
func (b *Backend) setHeaders(req *http.Request, body []byte) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json;charset=UTF-8")
	req.Header.Set("Connection", "keep-alive")
	req.Header.Set("User-Agent", userAgent)
	switch {
	case b.cfg.HMACSecret != "":
		// Backends verify HMAC-MD5, as WCS sends it. HMAC does not depend on collision resistance.
		mac := hmac.New(md5.New, []byte(b.cfg.HMACSecret))
		mac.Write(body)
		req.Header.Set("Authorization", "WCS "+hex.EncodeToString(mac.Sum(nil)))
	case b.cfg.Username != "":
		req.SetBasicAuth(b.cfg.Username, b.cfg.Password)
	}
}

// progress records how far an attempt got. The transport's goroutines write it. The goroutine that writes the
// request has ended when RoundTrip returns an error.
type progress struct {
	reused, wrote, answered atomic.Bool
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) {
			p.wrote.Store(false) // the transport retries on its own if it has written nothing
			p.reused.Store(c.Reused)
		},
		WroteRequest:         func(w httptrace.WroteRequestInfo) { p.wrote.Store(w.Err == nil) },
		GotFirstResponseByte: func() { p.answered.Store(true) },
	}
}

// notReceived reports whether an attempt without an answer failed before the backend received it, as far as
// that can be known (see the package comment). An untrusted certificate is not retried.
func (p *progress) notReceived(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return !errors.As(err, &untrusted) && (!p.wrote.Load() || p.reused.Load())
}
