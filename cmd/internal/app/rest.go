package app

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"golang.org/x/net/netutil"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway/console"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/rest"
)

// restConns limits the simultaneous connections to the REST API; further ones wait. Clients without a
// password must not be able to exhaust the files that client sockets need.
const restConns = spareFiles / 2

func (a *application) restServer(cfg config.Config) (server, error) {
	handler, err := a.restAPI(cfg)
	if err != nil {
		return server{}, err
	}
	a.api = handler
	s := server{name: "rest.listen", http: a.server("rest.listen", handler, internalTimeout)}
	if a.rest, err = a.loadCertificate("rest.tls", cfg.REST.TLS); err != nil {
		return server{}, err
	}
	if s.tls = a.rest != nil; s.tls {
		s.http.TLSConfig = a.rest.config()
	}
	l, err := net.Listen("tcp", cfg.REST.Listen)
	if err != nil {
		return server{}, fmt.Errorf("rest.listen: %w", err)
	}
	s.listener = netutil.LimitListener(l, restConns)
	return s, nil
}

func (a *application) restAPI(cfg config.Config) (*rest.API, error) {
	r := cfg.REST
	c := rest.Config{
		TerminateAll: r.TerminateAll, OpenStatistics: r.OpenStatistics, NodeID: cfg.Node(), Users: reveal(r.Users),
	}
	if len(r.Origins) > 0 {
		pages, err := origins.Parse(r.Origins)
		if err != nil {
			return nil, fmt.Errorf("rest.origins: %w", err)
		}
		c.Origins = &pages
	}
	var err error
	if c.Others, err = otherREST(cfg); err != nil {
		return nil, err
	}
	if c.Proxies, err = trustedProxies(cfg.Listen.TrustedProxies); err != nil {
		return nil, err
	}
	deployment := a.gateway.Admin()
	deps := rest.Deps{Deployment: deployment, Snapshots: a.gateway, Recorder: deployment, Pusher: deployment, Messenger: deployment, Observe: a.metrics.RESTRequest, Log: a.log}
	if cfg.Pull.Secret != "" {
		deps.Puller = a.gateway.Pulls
	}
	if r.Console {
		deps.Console = console.New(console.Config{
			Pod: deployment.Pod(), Host: hostName(), Ready: deployment.Ready, Settings: a.settings, Version: cfg.ServerVersion(a.version), Viewers: console.DefaultViewers, Refresh: console.DefaultRefresh,
		}, deployment, a.log)
	}
	return rest.New(c, deps)
}

// otherREST returns the REST APIs of the upstreams that have one, by name. While the REST API has no users
// there are none, also after a reload: all clients would have the rights at the other servers.
func otherREST(cfg config.Config) (all []rest.Other, err error) {
	if cfg.REST.Auth == config.AuthNone {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		if cfg.Upstreams[name].REST.URL == "" {
			continue
		}
		one, err := UpstreamREST(cfg, name)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// UpstreamREST returns the REST API of an upstream.
func UpstreamREST(cfg config.Config, name string) (rest.Other, error) {
	u := cfg.Upstreams[name].REST
	tls, err := u.TLS.Config()
	if err != nil {
		return rest.Other{}, fmt.Errorf("upstreams.%s.rest.tls: %w", name, err)
	}
	return rest.Other{Name: name, URL: u.URL, TLS: tls, Username: u.Username, Password: u.Password.Reveal(), Users: u.Users, Deployment: cfg.Deployment}, nil
}
