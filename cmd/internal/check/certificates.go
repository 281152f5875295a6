package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"wcsgateway/cmd/internal/config"
)

// soon is the time before the end of a certificate from which it is a warning.
const soon = 14 * 24 * time.Hour

// backendTimeout bounds the request to a backend or to the REST API of another server.
const backendTimeout = 10 * time.Second

// certificates examines the names and dates of the certificates in files. That each has its key is a part of
// validation.
func (c *connection) certificates(context.Context) (all []Result) {
	if pair := c.cfg.Listen.TLS; pair != (config.KeyPair{}) {
		all = append(all, certificate("listen.tls", pair, c.cfg.Listen.LB.Server, c.cfg.Listen.LB.PodHost))
	}
	if pair := c.cfg.REST.TLS; pair != (config.KeyPair{}) {
		all = append(all, certificate("rest.tls", pair))
	}
	if pair := (config.KeyPair{Cert: c.cfg.Redis.TLS.Cert, Key: c.cfg.Redis.TLS.Key}); pair != (config.KeyPair{}) {
		all = append(all, certificate("redis.tls", pair))
	}
	return all
}

// certificate examines one certificate, which must be valid for the names that are not empty.
func certificate(check string, files config.KeyPair, names ...string) Result {
	pair, err := files.Load()
	if err != nil {
		return fault(check, err, "")
	}
	leaf := pair.Leaf
	now := time.Now()
	switch {
	case now.Before(leaf.NotBefore):
		return Result{Level: Fault, Check: check, Text: "is not valid before " + day(leaf.NotBefore), Hint: "check the clock, or wait"}
	case now.After(leaf.NotAfter):
		return Result{Level: Fault, Check: check, Text: "ended on " + day(leaf.NotAfter), Hint: "renew " + files.Cert}
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		if err := leaf.VerifyHostname(name); err != nil {
			return Result{Level: Fault, Check: check, Text: fmt.Sprintf("is not for %s, which listen.lb names, but for %s", name, namesOf(leaf)), Hint: "clients reject it: use a certificate with that name"}
		}
	}
	text := fmt.Sprintf("%s, until %s", namesOf(leaf), day(leaf.NotAfter))
	if leaf.NotAfter.Sub(now) < soon {
		return warning(check, text, "renew "+files.Cert+" soon")
	}
	return ok(check, "%s", text)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// namesOf returns the names that a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name"
	}
	return strings.Join(names, ", ")
}

// backends examines whether the applications' backends answer. It calls no hook.
func (c *connection) backends(ctx context.Context) (all []Result) {
	for _, key := range slices.Sorted(maps.Keys(c.cfg.Applications)) {
		if h := c.cfg.Applications[key].Hooks; h.URL != "" {
			all = append(all, backend(ctx, "applications["+key+"].hooks.url", h))
		}
	}
	return all
}

func backend(ctx context.Context, check string, h config.Hooks) Result {
	const hint = "the backend must run and be reachable from here"
	settings, err := h.TLS.Config()
	if err != nil {
		return fault(check, err, "")
	}
	status, err := head(ctx, h.URL, settings)
	switch {
	case err != nil:
		return fault(check, err, hint)
	case status >= http.StatusInternalServerError:
		return warning(check, fmt.Sprintf("answers with status %d", status), "look at the log of the backend, or of the proxy before it")
	}
	return ok(check, "the backend answers")
}

// head returns the status of a HEAD request. A backend has no such method, so any answer will do.
func head(ctx context.Context, url string, settings *tls.Config) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, backendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{
		Transport:     &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
