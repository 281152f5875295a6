package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"wcsgateway/gateway/upstream"
)

// PassOn configures the REST API of another WCS server, which gets the requests that this server answers with
// 501 otherwise (docs/rest-api.md#endpoints-of-another-wcs-server).
type PassOn struct {
	URL                string      // http(s)://host[:port]
	TLS                *tls.Config // nil: the default
	Username, Password string      // of the other server; empty: none
	Users              []string    // users of this API that may use it; empty: all
	Deployment         string      // of this gateway, so that a request does not come back
}

// passOnTimeout bounds a request to the other server.
const passOnTimeout = 20 * time.Second

var (
	errNotAllowed = errors.New("user may not use the other WCS server: rest.passOn.users")
	errLoop       = errors.New("the other WCS server has sent the request back")
	errOther      = errors.New("the other WCS server does not answer, or rejects the gateway's password")
)

var errOtherURL = errors.New("must be http://host[:port] or https://host[:port]")

// ParseOther parses PassOn.URL.
func ParseOther(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	web := strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
	if err != nil || !web || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errOtherURL
	}
	return u, nil
}

// other is the other WCS server.
type other struct {
	PassOn
	url    *url.URL
	client *http.Client
}

func newOther(p *PassOn) (*other, error) {
	if p == nil {
		return nil, nil
	}
	u, err := ParseOther(p.URL)
	if err != nil {
		return nil, err
	}
	return &other{PassOn: *p, url: u, client: &http.Client{
		Timeout:       passOnTimeout,
		Transport:     &http.Transport{TLSClientConfig: p.TLS, DisableCompression: true, MaxConnsPerHost: 20, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// passOn answers a request with the other server's response. Of the headers, only the types of the bodies
// pass: passwords and cookies of one server are nothing to the other.
func (a *API) passOn(q *request) error {
	o := a.other
	q.setTarget(path.Clean(q.URL.Path))
	switch {
	case len(o.Users) > 0 && !slices.Contains(o.Users, q.user):
		return errNotAllowed
	case upstream.Loops(q.Request, o.Deployment):
		return errLoop
	}
	body, err := q.body()
	if err != nil {
		return err
	}
	res, err := o.send(q.Context(), q.Request, body)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		_ = res.Body.Close() // not of interest
		err = errors.New(res.Status)
	}
	if err != nil {
		a.sampled.Warn().Err(err).Str("path", q.URL.Path).Msg("request not passed on")
		return errOther
	}
	defer func() { _ = res.Body.Close() }() // was read
	if typ := res.Header.Get("Content-Type"); typ != "" {
		q.w.Header().Set("Content-Type", typ)
	}
	q.w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(q.w, res.Body); err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return nil
}

func (o *other) send(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	to := *o.url
	to.Path, to.RawQuery = path.Clean(r.URL.Path), r.URL.RawQuery
	out, err := http.NewRequestWithContext(ctx, r.Method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Content-Type", "Accept"} {
		if value := r.Header.Get(name); value != "" {
			out.Header.Set(name, value)
		}
	}
	out.Header.Set(upstream.ViaHeader, strings.Join(append(r.Header.Values(upstream.ViaHeader), o.Deployment), ", "))
	if o.Username != "" {
		out.SetBasicAuth(o.Username, o.Password)
	}
	return o.client.Do(out)
}
