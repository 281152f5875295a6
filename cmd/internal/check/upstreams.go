package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway/rest"
	"wcsgateway/gateway/upstream"
)

// upstreams examines whether the other WCS servers take WebSockets, and whether their REST APIs accept the
// gateway's password. No session is made, and nothing is changed.
func (c *connection) upstreams(ctx context.Context) (all []Result) {
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Upstreams)) {
		all = append(all, upstreamSocket(ctx, c.cfg, name))
		if c.cfg.Upstreams[name].REST.URL != "" {
			all = append(all, upstreamREST(ctx, c.cfg, name))
		}
	}
	return all
}

func upstreamSocket(ctx context.Context, cfg config.Config, name string) Result {
	at, u := "upstreams["+name+"]", cfg.Upstreams[name]
	server, err := app.OpenUpstream(name, u)
	if err != nil {
		return fault(at, err, "")
	}
	if err := server.Try(ctx, cfg.Deployment); err != nil {
		return fault(at, err, upstreamHint(err, at))
	}
	return ok(at, "opens WebSockets at %s", u.URL)
}

// upstreamHint says what to do about the error of a WebSocket.
func upstreamHint(err error, at string) string {
	var status upstream.StatusError
	switch {
	case errors.As(err, &status) && status == http.StatusLoopDetected:
		return "the address leads back to a gateway of this deployment: set " + at + ".url to the other server's own address"
	case errors.As(err, &status), errors.Is(err, upstream.ErrNotWebSocket):
		return "use the port for WebSockets of WCS (8080 for ws, 8443 for wss), and look at the log of the server or of the proxy before it"
	}
	if hint := linkHint(err, at+".tls"); hint != "" {
		return hint
	}
	return "the port may be one for TLS, which needs wss, or none of WCS"
}

func upstreamREST(ctx context.Context, cfg config.Config, name string) Result {
	at := "upstreams[" + name + "].rest"
	other, err := app.UpstreamREST(cfg, name)
	if err != nil {
		return fault(at, err, "")
	}
	ctx, cancel := context.WithTimeout(ctx, backendTimeout)
	defer cancel()
	switch err := other.Try(ctx); {
	case errors.Is(err, rest.ErrOtherPassword):
		return fault(at, err, "set "+at+".username and password to a user of the other server's REST API")
	case errors.Is(err, rest.ErrOtherNotWCS):
		return fault(at, err, "use the port for the REST API of WCS (8081 for http, 8444 for https)")
	case err != nil:
		hint := linkHint(err, at+".tls")
		if hint == "" {
			hint = "the port may be one for TLS, which needs https, or none of WCS"
		}
		return fault(at, err, hint)
	}
	return ok(at, "the REST API at %s accepts the password", other.URL)
}

// linkHint says what to do about a connection that failed; "" if it was made. settings is the key of the TLS
// settings.
func linkHint(err error, settings string) string {
	var certificate *tls.CertificateVerificationError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &name):
		return "set " + settings + ".serverName to a name in the server's certificate"
	case errors.As(err, &certificate):
		return "set " + settings + ".ca to the authority that signed the server's certificate, or renew it"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the port does not speak TLS: use another port, or an address without TLS"
	case errors.As(err, &dns):
		return "correct the host name, or the DNS of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the server must run and listen at this port"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "the server must answer in time: look for a firewall between, at its load, and for upstreams at connectTimeout"
	}
	return ""
}
