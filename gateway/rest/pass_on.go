package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

// Other configures the REST API of another WCS server (docs/rest-api.md#with-another-wcs-server). It gets
// the requests that this server answers with 501 or 404 otherwise, and its lists are added to those of this
// server.
type Other struct {
	Name               string      // of the upstream
	URL                string      // http(s)://host[:port]
	TLS                *tls.Config // nil: the default
	Username, Password string      // of the other server; empty: none
	Users              []string    // users of this API whose requests reach it; empty: all
	Deployment         string      // of this gateway, so that a request does not come back
}

const (
	passOnTimeout = 20 * time.Second // of a request to all other servers
	dialTimeout   = 5 * time.Second  // of a connection to one, so that the next one gets the request
	maxPassedOn   = 64 << 20         // bytes of a response
	maxOtherConns = 20
	listTimeout   = 5 * time.Second // of the lists of all other servers
	maxOtherList  = 16 << 20        // bytes of a list, which is in memory
	maxOtherLists = 4               // requests whose lists are in memory at a time
)

var (
	errNotAllowed = errors.New("user may not use another WCS server: upstreams.<name>.rest.users")
	errLoop       = errors.New("another WCS server has sent the request back")
	errOther      = errors.New("another WCS server does not answer, or rejects the gateway's password")
	errTooMuch    = errors.New("the response of another WCS server is too large")
)

var errOtherURL = errors.New("must be http://host[:port] or https://host[:port], with a port up to 65535 and without a path")

// ParseOther parses Other.URL.
func ParseOther(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	web := strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
	if err != nil || !web || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || !upstream.IsPort(u.Port()) {
		return nil, errOtherURL
	}
	return u, nil
}

// other is another WCS server.
type other struct {
	Other
	url    *url.URL
	client *http.Client
}

func newOther(o Other) (*other, error) {
	u, err := ParseOther(o.URL)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return &other{Other: o, url: u, client: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: o.TLS, DialContext: dialer.DialContext, DisableCompression: true, MaxConnsPerHost: maxOtherConns, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// passOnUnsupported answers a request to an endpoint that this server does not have.
func (a *API) passOnUnsupported(q *request) error {
	q.target = path.Clean(q.URL.Path)
	servers := q.usable()
	switch {
	case len(servers) > 0:
		return a.passOn(q, servers)
	case slices.ContainsFunc(q.others, func(o *other) bool { return o.allows(q.user) }):
		return errLoop
	}
	return errNotAllowed
}

// orOther returns an endpoint for requests with a body, which are passed on if what they name is not here.
func orOther[B any](serve func(*API, *request, B) error) func(*API, *request) error {
	return func(a *API, q *request) error {
		var body B
		if err := q.decode(&body); err != nil {
			return err
		}
		err := serve(a, q, body)
		notHere := errors.Is(err, errNothing) || errors.Is(err, admin.ErrNoSuchStream) || errors.Is(err, state.ErrNotFound)
		servers := q.usable()
		if !notHere || len(servers) == 0 {
			return err
		}
		return a.passOn(q, servers)
	}
}

// usable returns the other servers that may answer the request of the user. A request that came back is
// answered by this server alone.
func (q *request) usable() (servers []*other) {
	for _, o := range q.others {
		if o.allows(q.user) && !upstream.Loops(q.Request, o.Deployment) {
			servers = append(servers, o)
		}
	}
	return servers
}

func (o *other) allows(user string) bool { return len(o.Users) == 0 || slices.Contains(o.Users, user) }

// passOn answers a request with the response of the first server that has what the request names, else with
// the last 404. Of the headers, only the types of the bodies pass: passwords and cookies of one server are
// nothing to the other.
func (a *API) passOn(q *request, servers []*other) error {
	q.passedOn = true
	body, err := q.body()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(q.Context(), passOnTimeout)
	defer cancel()
	failed := false
	for i, o := range servers {
		last := i == len(servers)-1
		res, err := o.send(ctx, q.Request, body)
		if err == nil && res.StatusCode == http.StatusUnauthorized {
			_ = res.Body.Close() // not of interest
			err = fmt.Errorf("%w: %s", errUnused, res.Status)
		}
		switch {
		case err != nil:
			a.sampled.Warn().Err(err).Str("path", q.URL.Path).Str("upstream", o.Name).Msg("request not passed on")
			if failed = true; last || !isUnused(err) {
				return errOther
			}
		case res.StatusCode != http.StatusNotFound || last && !failed:
			return q.copyResponse(res)
		default:
			_ = res.Body.Close() // not of interest
		}
	}
	return errOther // a server that failed can have it
}

// errUnused is the error of a server that rejected the gateway's password.
var errUnused = errors.New("request rejected")

// isUnused reports whether a server did nothing about a request that failed, so that another one may get it.
func isUnused(err error) bool {
	var network *net.OpError
	return errors.Is(err, errUnused) || errors.As(err, &network) && network.Op == "dial"
}

// copyResponse answers with the response of another server.
func (q *request) copyResponse(res *http.Response) error {
	defer func() { _ = res.Body.Close() }() // was read
	if typ := res.Header.Get("Content-Type"); typ != "" {
		q.w.Header().Set("Content-Type", typ)
	}
	q.w.WriteHeader(res.StatusCode)
	n, err := io.Copy(q.w, io.LimitReader(res.Body, maxPassedOn+1))
	if err == nil && n > maxPassedOn {
		err = errTooMuch
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	return nil
}

// Errors of Other.Try, besides those of the connection.
var (
	ErrOtherPassword = errors.New("the other WCS server rejects the user or the password")
	ErrOtherNotWCS   = errors.New("the response is not one of WCS's REST API")
)

// Try asks the other server for a session that it does not have. It fails with the error of the connection,
// ErrOtherPassword or ErrOtherNotWCS.
func (o Other) Try(ctx context.Context) error {
	server, err := newOther(o)
	if err != nil {
		return err
	}
	defer server.client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, prefix+"/connection/find", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := server.send(ctx, r, []byte(`{"sessionId":"/wcs-gateway-check"}`))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // was read
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return ErrOtherPassword
	case res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound:
		return fmt.Errorf("%w: status %d", ErrOtherNotWCS, res.StatusCode)
	case len(body) > 0 && !json.Valid(body):
		return fmt.Errorf("%w: status %d with a body that is not JSON", ErrOtherNotWCS, res.StatusCode)
	}
	return nil
}

func (o *other) send(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	to := *o.url
	to.Path, to.RawQuery = path.Clean(r.URL.Path), r.URL.RawQuery
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // what a list has decides the status
	}
	out, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
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
