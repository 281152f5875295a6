package app

import (
	"fmt"
	stdlog "log"
	"math"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
)

// requestTimeout bounds a client's request until the upgrade: the TLS handshake, a PROXY header, the header
// lines, an unexpected body.
const requestTimeout = 10 * time.Second

// internalTimeout bounds a request of LiveKit or an operator.
const internalTimeout = 30 * time.Second

// spareFiles are the open files that the process needs besides its clients' sockets.
const spareFiles = 256

// openFiles returns how many client sockets the process can have; 0 if it has no limit.
func openFiles() int {
	var limit syscall.Rlimit // Go raised it to the hard limit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return 0
	}
	return max(int(limit.Cur)-spareFiles, 1)
}

// trustedProxies parses the networks of a validated configuration.
func trustedProxies(networks []string) ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	for _, text := range networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("listen.trustedProxies: %w", err)
		}
		proxies = append(proxies, p.Masked())
	}
	return proxies, nil
}

// listenPublic binds an address for clients. A PROXY header is read from trusted proxies, which must send
// one: otherwise a client that reaches a proxy which adds none could forge it. Other senders of a header
// receive 400.
func listenPublic(addr string, cfg config.Listen) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil || !cfg.ProxyProtocol {
		return l, err
	}
	policy, err := proxyproto.PolicyFromRanges(cfg.TrustedProxies, proxyproto.REQUIRE, proxyproto.SKIP)
	if err != nil {
		_ = l.Close() // nothing was accepted
		return nil, fmt.Errorf("listen.trustedProxies: %w", err)
	}
	return &proxyproto.Listener{Listener: l, ConnPolicy: policy, ReadHeaderTimeout: requestTimeout}, nil
}

// publicServer has a deadline for everything before the upgrade, which lifts the deadlines.
func (a *application) publicServer(setting string) *http.Server {
	s := a.server(setting, a.gateway.Public(), requestTimeout)
	s.IdleTimeout = requestTimeout
	s.ConnState = a.gateway.ConnState
	return s
}

func (a *application) server(setting string, h http.Handler, limit time.Duration) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: stdlog.New(process.PlainLines{Log: a.sampled.With().Str("listener", setting).Logger()}, "", 0), Protocols: http1(),
		ReadHeaderTimeout: requestTimeout, ReadTimeout: limit, WriteTimeout: limit, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
}

// http1 is the only protocol that supports a WebSocket upgrade.
func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
