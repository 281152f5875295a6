package guard

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxProxyConns = 16
	maxIdle       = 8
	maxRedirects  = 8
	headerTimeout = 10 * time.Second
)

// errRedirect is returned for redirects that are not followed.
var errRedirect = errors.New("redirect from TLS to plain HTTP, or one too many")

// Proxy serves one source over http(s) to the program that reads it, which so needs neither names nor TLS nor
// other addresses: it opens a URL on loopback that contains the source's URL encrypted. In a playlist the
// proxy resolves every address and writes it in the same way. It follows redirects itself, with each
// connection checked, and verifies the names of servers, which ffmpeg 5.1 does not do for the segments of
// HLS. A request for another URL than those that the proxy made is not answered.
type Proxy struct {
	origin  *url.URL
	host    string // with port, for the program
	server  *http.Server
	client  *http.Client
	seal    cipher.AEAD
	nonces  []byte // key of nonces
	serving sync.WaitGroup

	mu    sync.Mutex
	fault error
}

// StatusError is the fault of a source that answers with an HTTP status.
type StatusError int

func (e StatusError) Error() string { return fmt.Sprintf("HTTP status %d", int(e)) }

// Proxy returns a proxy for the source at origin, an http(s) URL, which the program reaches at address
// (host:port). roots verify servers; nil are the system's. It ends with Close.
func (n *Network) Proxy(origin *url.URL, roots *x509.CertPool, address string) (*Proxy, error) {
	secret := make([]byte, 32+sha256.Size)
	_, _ = rand.Read(secret) // never fails since Go 1.24
	block, err := aes.NewCipher(secret[:32])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	p := &Proxy{origin: origin, host: address, seal: aead, nonces: secret[32:]}
	transport := &http.Transport{
		DialContext:     n.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: dialTimeout,
		ResponseHeaderTimeout: headerTimeout, MaxConnsPerHost: maxProxyConns, MaxIdleConnsPerHost: 2, MaxIdleConns: maxIdle,
		IdleConnTimeout: 30 * time.Second, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
	p.client = &http.Client{Jar: jar, CheckRedirect: followRedirect, Transport: &credentials{origin: origin, next: transport}}
	p.server = &http.Server{
		Handler: p, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	return p, nil
}

// Serve serves the program at a socket that listens, until that is closed. Several sockets can be served.
func (p *Proxy) Serve(socket *os.File) (io.Closer, error) {
	l, err := net.FileListener(socket)
	if err != nil {
		return nil, err
	}
	p.serving.Go(func() { _ = p.server.Serve(netutil.LimitListener(l, maxProxyConns)) }) // ends with the listener
	return l, nil
}

// Source is the URL under which the program reads the source.
func (p *Proxy) Source() string {
	target := *p.origin
	target.User = nil
	return p.sealed(&target)
}

// Address is the proxy for the program's environment: an address that the proxy did not make ends there too.
func (p *Proxy) Address() string { return "http://" + p.host }

// Fault returns why the last request failed: a StatusError, an error of the connection, or nil.
func (p *Proxy) Fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.server.Close() // its connections end
	p.serving.Wait()
	p.client.CloseIdleConnections()
}

func (p *Proxy) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err
}

// sealed returns the proxy's URL for a target. It is always the same for one target: ffmpeg compares the URLs
// of keys and of initialization segments. It has the extension of the target's path, which ffmpeg looks at.
func (p *Proxy) sealed(target *url.URL) string {
	text, extension := target.String(), path.Ext(target.Path)
	if !plainExtension.MatchString(extension) {
		extension = ".ts"
	}
	mac := hmac.New(sha256.New, p.nonces)
	mac.Write([]byte(text))
	nonce := mac.Sum(nil)[:p.seal.NonceSize()]
	sealed := p.seal.Seal(nonce, nonce, []byte(text), nil)
	return p.Address() + "/" + base64.RawURLEncoding.EncodeToString(sealed) + extension
}

var plainExtension = regexp.MustCompile(`^\.[A-Za-z0-9]{1,5}$`)

// target returns the target of a URL that sealed made.
func (p *Proxy) target(sealed string) (*url.URL, bool) {
	sealed, _, _ = strings.Cut(strings.TrimPrefix(sealed, "/"), ".")
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(b) < p.seal.NonceSize() {
		return nil, false
	}
	text, err := p.seal.Open(nil, b[:p.seal.NonceSize()], b[p.seal.NonceSize():], nil)
	if err != nil {
		return nil, false
	}
	u, err := url.Parse(string(text))
	return u, err == nil
}

func followRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return errRedirect
	}
	r.Header.Del("Referer")
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, ok := p.target(r.URL.Path)
	if !ok || r.Method != http.MethodGet || r.URL.Host != "" && r.URL.Host != p.host {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	res, err := p.get(r, target)
	if err != nil {
		if r.Context().Err() == nil {
			p.note(err)
		}
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = res.Body.Close() }() // it was read as far as it is needed
	if res.StatusCode >= http.StatusBadRequest {
		p.note(StatusError(res.StatusCode))
		w.WriteHeader(res.StatusCode)
		return
	}
	begun, err := p.answer(w, res)
	switch {
	case err == nil:
		p.note(nil)
		return
	case r.Context().Err() == nil:
		p.note(err)
	}
	if !begun {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	// The program must not take what it has for all.
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func (p *Proxy) get(r *http.Request, target *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", r.Header.Get("User-Agent"))
	if part := r.Header.Get("Range"); part != "" && part != "bytes=0-" {
		req.Header.Set("Range", part)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	if encoding := res.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		_ = res.Body.Close() // nothing of it is read
		return nil, errors.New("content encoding")
	}
	return res, nil
}

// answer passes a response on, playlists rewritten. begun says whether a part of it was written.
func (p *Proxy) answer(w http.ResponseWriter, res *http.Response) (begun bool, err error) {
	body := bufio.NewReaderSize(res.Body, maxTag)
	playlist, err := startsPlaylist(body)
	if err != nil {
		return false, err
	}
	if playlist {
		text, err := io.ReadAll(io.LimitReader(body, maxPlaylist+1))
		if err == nil {
			text, err = p.playlist(text, res.Request.URL)
		}
		if err != nil {
			return false, err
		}
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		_, err = w.Write(text)
		return true, err
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges"} {
		if value := res.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(res.StatusCode)
	_, err = io.Copy(flushed{w}, body)
	return true, err
}

// flushed writes without delay.
type flushed struct{ http.ResponseWriter }

// Write implements io.Writer.
func (f flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
