package guard

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/icholy/digest"
)

const maxRejection = 16 << 10

// credentials sends user and password of a source to its own server only, and only when that asks for them:
// by Digest where the server offers it, otherwise by Basic.
type credentials struct {
	origin *url.URL
	next   *http.Transport

	mu     sync.Mutex
	digest *digest.Challenge // the last one, nil without
	used   int               // requests that answered it
	basic  bool              // the server has asked for it
}

// RoundTrip implements http.RoundTripper. A request that the server rejects is sent again, once.
func (c *credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.origin.User == nil || r.URL.Scheme != c.origin.Scheme || canonical(r.URL.Host) != canonical(c.origin.Host) {
		return c.next.RoundTrip(r)
	}
	res, err := c.next.RoundTrip(c.signed(r))
	if err != nil || res.StatusCode != http.StatusUnauthorized || !c.learn(res.Header) {
		return res, err
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxRejection) // so that the connection can be used again
	_ = res.Body.Close()
	return c.next.RoundTrip(c.signed(r))
}

// learn notes how the server wants the password, and reports whether it is a way that there is. A server that
// rejected the password may ask again, with a new nonce.
func (c *credentials) learn(h http.Header) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if challenge, err := digest.FindChallenge(h); err == nil {
		c.digest, c.used, c.basic = challenge, 0, false
		return true
	}
	asked := c.basic
	offers := h.Values("WWW-Authenticate")
	c.digest, c.basic = nil, len(offers) == 0 // some servers say nothing
	for _, offer := range offers {
		scheme, _, _ := strings.Cut(offer, " ")
		c.basic = c.basic || strings.EqualFold(scheme, "Basic")
	}
	return c.basic && !asked
}

// signed returns a request with the credentials that the server has asked for.
func (c *credentials) signed(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	c.mu.Lock()
	defer c.mu.Unlock()
	password, _ := c.origin.User.Password()
	switch {
	case c.basic:
		r.SetBasicAuth(c.origin.User.Username(), password)
	case c.digest != nil:
		c.used++
		answer, err := digest.Digest(c.digest, digest.Options{
			Method: r.Method, URI: r.URL.RequestURI(), Count: c.used, Username: c.origin.User.Username(), Password: password,
		})
		if err == nil { // FindChallenge returns only what can be answered
			r.Header.Set("Authorization", answer.String())
		}
	}
	return r
}

// CloseIdleConnections is called by http.Client.
func (c *credentials) CloseIdleConnections() { c.next.CloseIdleConnections() }
