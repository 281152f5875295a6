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
)

const userAgent = "wcs-gateway"

// attempt sends the call once. again tells that it has not reached the backend and may be repeated.
func (b *Backend) attempt(ctx context.Context, url string, body []byte) (got Object, again bool, err error) {
	var p progress
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, p.trace()), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, false, unavailable(err)
	}
	b.head(req, body)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header)) // nothing unless ctx is of a trace
	res, err := b.transport.RoundTrip(req)                                        // not a Client, which follows redirects
	switch {
	case err == nil:
		defer res.Body.Close()
		got, err = answer(ctx, res, b.cfg.MaxResponseBytes)
		return got, false, err
	case ctx.Err() != nil:
		return nil, false, unavailable(context.Cause(ctx))
	case p.answered.Load():
		// The error quotes what came, which is not for logs.
		return nil, false, fmt.Errorf("%w: it is not HTTP, too long, or broken off", ErrBadResponse)
	default:
		return nil, p.unsent(err), unavailable(err)
	}
}

// head sets the headers of WCS (integration.md §1.1). Content-Length is there because the body's length is known.
func (b *Backend) head(req *http.Request, body []byte) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json;charset=UTF-8")
	req.Header.Set("Connection", "keep-alive")
	req.Header.Set("User-Agent", userAgent)
	switch {
	case b.cfg.HMACSecret != "":
		// MD5 is what backends check (integration.md §1.1). HMAC does not need it free of collisions.
		mac := hmac.New(md5.New, []byte(b.cfg.HMACSecret))
		mac.Write(body)
		req.Header.Set("Authorization", "WCS "+hex.EncodeToString(mac.Sum(nil)))
	case b.cfg.Username != "":
		req.SetBasicAuth(b.cfg.Username, b.cfg.Password)
	}
}

// progress is how far an attempt came. Transport's goroutines write it. When RoundTrip returns an error, the one that
// writes the request has ended.
type progress struct {
	reused, wrote, answered atomic.Bool
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) {
			p.wrote.Store(false) // Transport itself tries again where it has written nothing
			p.reused.Store(c.Reused)
		},
		WroteRequest:         func(w httptrace.WroteRequestInfo) { p.wrote.Store(w.Err == nil) },
		GotFirstResponseByte: func() { p.answered.Store(true) },
	}
}

// unsent tells of an attempt without an answer whether it has not reached the backend, as far as that can be known (see
// the package comment). A certificate that is not to be trusted will not be a moment later.
func (p *progress) unsent(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return !errors.As(err, &untrusted) && (!p.wrote.Load() || p.reused.Load())
}
