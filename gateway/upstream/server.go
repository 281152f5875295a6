package upstream

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 requires it
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wcsgateway/gateway/socket"
)

// ServerConfig configures a Server.
type ServerConfig struct {
	Name           string
	URL            string      // ws(s)://host[:port]
	TLS            *tls.Config // for wss
	ConnectTimeout time.Duration
	MaxLinks       int // at a time on this pod; 0: no limit
	BufferBytes    int // of a link and direction that wait for the receiver
}

// Server is another WCS server. Its methods may be called from any goroutine.
type Server struct {
	// set once
	cfg     ServerConfig
	address string // host:port
	print   string // Fingerprint
	host    string // of the URL
	secure  bool
	buffers sync.Pool // of *[]byte

	links atomic.Int64 // that are open or being opened
}

// ErrURL is the fault of an address of a server.
var ErrURL = errors.New("must be ws://host[:port] or wss://host[:port], with a port up to 65535 and without a path")

// NewServer returns a Server. It opens no connection.
func NewServer(cfg ServerConfig) (*Server, error) {
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, host: u.Host, address: u.Host, secure: u.Scheme == "wss"}
	if u.Port() == "" {
		s.address = net.JoinHostPort(u.Hostname(), map[bool]string{false: "80", true: "443"}[s.secure])
	}
	sum := sha256.Sum256(fmt.Append(nil, s.secure, " ", s.address))
	s.print = hex.EncodeToString(sum[:8])
	s.buffers.New = func() any { b := make([]byte, max(cfg.BufferBytes, smallBuffer)); return &b }
	return s, nil
}

// CheckURL checks the address of a server.
func CheckURL(text string) error {
	_, err := parseURL(text)
	return err
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || !IsPort(u.Port()) {
		return nil, ErrURL // the text is not shown: it can contain a password by mistake
	}
	return u, nil
}

// IsPort reports whether the port of an address is one of TCP. Without a port, the scheme has one.
func IsPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// ConnectTimeout returns the time that the server has to accept a client.
func (s *Server) ConnectTimeout() time.Duration { return s.cfg.ConnectTimeout }

// Name returns the server's name in the configuration.
func (s *Server) Name() string { return s.cfg.Name }

// Fingerprint identifies the server's address. A secret of a client for a server is for no other address.
func (s *Server) Fingerprint() string { return s.print }

// Handshake is what a server gets of a client's upgrade request.
type Handshake struct {
	Target    string // path and query
	Origin    string
	UserAgent string
	Client    netip.Addr
	Via       []string // the gateways that the request came through
}

// ViaHeader lists the deployments of the gateways that a request came through. A gateway that finds itself in
// it refuses the request, which would be sent around without end.
const ViaHeader = "X-Wcs-Gateway"

// NewHandshake returns the handshake of a request that came to the given deployment.
func NewHandshake(r *http.Request, client netip.Addr, deployment string) Handshake {
	return Handshake{
		Target: r.URL.RequestURI(), Origin: r.Header.Get("Origin"), UserAgent: r.UserAgent(), Client: client,
		Via: append(via(r), deployment),
	}
}

// header returns the headers that the server gets.
func (h Handshake) header() http.Header {
	header := http.Header{"User-Agent": {h.UserAgent}, ViaHeader: {strings.Join(h.Via, ", ")}}
	if h.Client.IsValid() {
		header.Set("X-Forwarded-For", h.Client.String())
	}
	if h.Origin != "" {
		header.Set("Origin", h.Origin)
	}
	return header
}

// Loops reports whether a request has already come through the given deployment.
func Loops(r *http.Request, deployment string) bool {
	for _, name := range via(r) {
		if name == deployment {
			return true
		}
	}
	return false
}

func via(r *http.Request) (names []string) {
	for _, line := range r.Header.Values(ViaHeader) {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// Errors of a link that could not be opened.
var (
	ErrTooManyLinks = errors.New("upstream has as many links as upstreams.<name>.maxLinks allows")
	ErrUnavailable  = errors.New("upstream is not available")

	ErrNotWebSocket = errors.New("its response is not one of a WebSocket server") // of ErrUnavailable
)

// StatusError is the status of the server's response to the upgrade request, other than 101.
type StatusError int

func (s StatusError) Error() string { return fmt.Sprintf("its response is %d", int(s)) }

// take counts a link and reports whether it is within the limit. release undoes it.
func (s *Server) take() bool {
	if n := s.links.Add(1); s.cfg.MaxLinks > 0 && n > int64(s.cfg.MaxLinks) {
		s.release()
		return false
	}
	return true
}

func (s *Server) release() { s.links.Add(-1) }

// maxResponse bounds the server's response to the upgrade request, in bytes.
const maxResponse = 16 << 10

// dial opens a WebSocket to the server. rest is what the server has sent after its response. The error wraps
// ErrUnavailable.
func (s *Server) dial(ctx context.Context, h Handshake) (c net.Conn, rest []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	if c, err = s.connect(ctx); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // ends a handshake that takes too long
	rest, err = s.upgrade(ctx, c, h)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close() // not used
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c, rest, nil
}

// Try opens a WebSocket to the server and closes it. It sends no message, so that the server has no session.
// The error wraps ErrUnavailable.
func (s *Server) Try(ctx context.Context, deployment string) error {
	c, _, err := s.dial(ctx, Handshake{Target: "/", UserAgent: "wcs-gateway check", Via: []string{deployment}})
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(lingerTime))       // fails only on a dead socket, as the write does
	_, _ = c.Write([]byte{0x80 | opClose, 0x80, 0, 0, 0, 0}) // the server may be gone
	return c.Close()
}

// socket opens a WebSocket to the server, of which messages are read, up to maxMessage bytes. The error wraps
// ErrUnavailable.
func (s *Server) socket(ctx context.Context, h Handshake, maxMessage int) (*socket.Outbound, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	c, err := s.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	out, err := socket.NewOutbound(ctx, c, "ws://"+s.host+h.Target, h.header(), maxMessage)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return out, nil
}

func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	if s.secure {
		return (&tls.Dialer{Config: s.cfg.TLS}).DialContext(ctx, "tcp", s.address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", s.address)
}

// upgrade sends the request. No extension is offered, as clients are offered none: frames are copied, so both
// sides must use the same.
func (s *Server) upgrade(ctx context.Context, c net.Conn, h Handshake) (rest []byte, err error) {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	nonce := base64.StdEncoding.EncodeToString(key)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+h.Target, nil)
	if err != nil {
		return nil, errors.New("the client's path is not valid")
	}
	r.Header = h.header()
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", nonce)
	if err := r.Write(c); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(c, maxResponse))
	response, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()                                               // the connection goes on, or is closed by the caller
	sum := sha1.Sum([]byte(nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 requires it
	switch {
	case response.StatusCode != http.StatusSwitchingProtocols:
		return nil, StatusError(response.StatusCode)
	case response.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return nil, ErrNotWebSocket
	case response.Header.Get("Sec-WebSocket-Extensions") != "":
		return nil, errors.New("it uses an extension that was not offered")
	}
	rest = make([]byte, in.Buffered())
	_, err = io.ReadFull(in, rest)
	return rest, err
}
