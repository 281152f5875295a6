package guard

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// sourceHost stands for the source in the requests of the program, which so knows neither its host, nor
	// the user, the password and the query of its URL.
	sourceHost = "source.invalid"
	// tlsSuffix marks a host that is reached by TLS. The program speaks plain HTTP to the proxy only.
	tlsSuffix = ".tls.invalid"

	maxPlaylist   = 1 << 20
	maxProxyConns = 16
	headerTimeout = 10 * time.Second
)

// Proxy is an HTTP proxy on loopback for the program that reads one source over http(s). TLS is the proxy's:
// it verifies names, which ffmpeg 5.1 does not do for the segments of HLS. Redirects and playlists lead back
// to the proxy, so that each connection is checked.
type Proxy struct {
	origin   *url.URL
	listener net.Listener
	server   *http.Server
	client   *http.Transport
	done     chan struct{}

	mu    sync.Mutex
	fault error
}

// StatusError is the fault of a source that answers with an HTTP status.
type StatusError int

func (e StatusError) Error() string { return fmt.Sprintf("HTTP status %d", int(e)) }

// Proxy starts a proxy for the source at origin, an http(s) URL. roots verify servers; nil are the system's.
// It ends with Close.
func (n *Network) Proxy(origin *url.URL, roots *x509.CertPool) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	client := &http.Transport{
		DialContext:     n.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: dialTimeout,
		ResponseHeaderTimeout: headerTimeout, MaxConnsPerHost: maxProxyConns, MaxIdleConnsPerHost: 2,
		IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
	p := &Proxy{origin: origin, listener: l, client: client, done: make(chan struct{})}
	quiet := log.New(io.Discard, "", 0)
	p.server = &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite: p.rewrite, ModifyResponse: p.modify, ErrorHandler: p.failed,
			Transport: client, FlushInterval: -1, ErrorLog: quiet,
		},
		ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 64 << 10, ErrorLog: quiet,
	}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(netutil.LimitListener(l, maxProxyConns)) // ends with Close
	}()
	return p, nil
}

// Address is the proxy for the program: http://127.0.0.1:port.
func (p *Proxy) Address() string { return "http://" + p.listener.Addr().String() }

// Source is the URL under which the program reads the source through the proxy. It has no secrets.
func (p *Proxy) Source() string {
	return (&url.URL{Scheme: "http", Host: sourceHost, Path: p.origin.Path, RawPath: p.origin.RawPath}).String()
}

// Fault returns why the last request to the source failed: a StatusError, an error of the connection, or nil.
func (p *Proxy) Fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.server.Close() // its connections end
	<-p.done
	p.client.CloseIdleConnections()
}

func (p *Proxy) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err
}

// rewrite turns a request of the program into that to the server.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	out := r.Out
	if out.Method == http.MethodConnect || out.URL.Host == "" {
		out.URL = &url.URL{Scheme: "refused"} // the transport knows no such scheme
		return
	}
	target := p.target(out.URL)
	out.URL, out.Host = target, ""
	out.Header.Del("Referer")
	if p.isOrigin(target) && p.origin.User != nil {
		password, _ := p.origin.User.Password()
		out.SetBasicAuth(p.origin.User.Username(), password)
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "")
	}
}

// target is the URL that a URL of the program stands for.
func (p *Proxy) target(u *url.URL) *url.URL {
	target := *u
	target.Scheme, target.User = "http", nil
	host, port := u.Hostname(), u.Port()
	switch {
	case host == sourceHost:
		target.Scheme, target.Host = p.origin.Scheme, p.origin.Host
		if target.RawQuery == "" && target.EscapedPath() == p.origin.EscapedPath() {
			target.RawQuery = p.origin.RawQuery
		}
	case strings.HasSuffix(host, tlsSuffix):
		target.Scheme, target.Host = "https", strings.TrimSuffix(host, tlsSuffix)
		if port != "" {
			target.Host = net.JoinHostPort(target.Host, port)
		}
	}
	return &target
}

func (p *Proxy) isOrigin(u *url.URL) bool {
	return u.Scheme == p.origin.Scheme && canonical(u.Host) == canonical(p.origin.Host)
}

// modify notes the status, and makes redirects and playlists lead back to the proxy.
func (p *Proxy) modify(res *http.Response) error {
	p.note(nil)
	if res.StatusCode >= http.StatusBadRequest {
		p.note(StatusError(res.StatusCode))
	}
	for _, location := range res.Header["Location"] {
		res.Header.Set("Location", string(plain([]byte(location))))
	}
	res.Body = &noted{ReadCloser: res.Body, proxy: p, ctx: res.Request.Context()}
	if res.StatusCode != http.StatusOK || res.Request.Method != http.MethodGet {
		return nil
	}
	const mark = "#EXTM3U"
	body := bufio.NewReader(res.Body)
	if start, _ := body.Peek(len(mark) + 3); !bytes.HasPrefix(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf")), []byte(mark)) {
		res.Body = struct {
			io.Reader
			io.Closer
		}{body, res.Body}
		return nil
	}
	playlist, err := io.ReadAll(io.LimitReader(body, maxPlaylist+1))
	if err == nil && len(playlist) > maxPlaylist {
		err = fmt.Errorf("playlist of more than %d bytes", maxPlaylist)
	}
	_ = res.Body.Close() // it was read
	if err != nil {
		return err
	}
	playlist = plain(playlist)
	res.Body = io.NopCloser(bytes.NewReader(playlist))
	res.ContentLength = int64(len(playlist))
	res.Header.Set("Content-Length", fmt.Sprint(len(playlist)))
	return nil
}

func (p *Proxy) failed(w http.ResponseWriter, _ *http.Request, err error) {
	if !errors.Is(err, context.Canceled) { // the program closed its connection
		p.note(err)
	}
	w.WriteHeader(http.StatusBadGateway)
}

// tlsURL matches an https URL of a playlist up to the end of its authority: user, host, port.
var tlsURL = regexp.MustCompile(`(?im)(^|")https://([^/?#\s"'@]*@)?([a-z0-9._-]+)(:[0-9]+)?`)

// plain writes all https URLs as the proxy gets them. One with an IPv6 address stays, which the program
// cannot open.
func plain(text []byte) []byte {
	return tlsURL.ReplaceAll(text, []byte("${1}http://${3}"+tlsSuffix+"${4}"))
}

// noted notes that the body of a response ended with an error.
type noted struct {
	io.ReadCloser
	proxy *Proxy
	ctx   context.Context
}

func (n *noted) Read(b []byte) (int, error) {
	count, err := n.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && n.ctx.Err() == nil {
		n.proxy.note(err)
	}
	return count, err
}
