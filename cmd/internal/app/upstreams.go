package app

import (
	"fmt"
	"reflect"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway/upstream"
)

// upstreams holds the other WCS servers by name. A server whose settings are unchanged stays over a reload,
// with its count of links; a replaced one keeps its links.
type upstreams map[string]namedUpstream

type namedUpstream struct {
	cfg config.Upstream // without its REST API
	*upstream.Server
}

// load returns the servers of a configuration.
func (u *upstreams) load(all map[string]config.Upstream) (map[string]*upstream.Server, error) {
	servers, known := make(map[string]*upstream.Server), make(upstreams)
	for name, cfg := range all {
		one, ok := (*u)[name]
		cfg.REST = config.UpstreamREST{} // not the server's
		if !ok || !reflect.DeepEqual(one.cfg, cfg) {
			server, err := OpenUpstream(name, cfg)
			if err != nil {
				return nil, fmt.Errorf("upstreams.%s: %w", name, err)
			}
			one = namedUpstream{cfg, server}
		}
		known[name], servers[name] = one, one.Server
	}
	*u = known
	return servers, nil
}

// OpenUpstream returns a server, to which it opens no connection.
func OpenUpstream(name string, cfg config.Upstream) (*upstream.Server, error) {
	tls, err := cfg.TLS.Config()
	if err != nil {
		return nil, err
	}
	return upstream.NewServer(upstream.ServerConfig{
		Name: name, URL: cfg.URL, TLS: tls, ConnectTimeout: cfg.ConnectTimeout, MaxLinks: cfg.MaxLinks, BufferBytes: cfg.BufferBytes,
	})
}

// route returns an application's route. Names without a server are this gateway.
func route(cfg config.Route, servers map[string]*upstream.Server) (upstream.Route, error) {
	r := upstream.Route{Share: cfg.Share, Salt: cfg.Salt, Default: servers[cfg.Default], Transcripts: cfg.Transcripts}
	for i, rule := range cfg.Rules {
		parsed, err := rule.Parse(servers[rule.To])
		if err != nil {
			return r, fmt.Errorf("rules[%d]: %w", i, err)
		}
		r.Rules = append(r.Rules, parsed)
	}
	return r, nil
}

// mediaSockets returns the server of the second sockets of media providers, nil if none.
func mediaSockets(cfg config.Config, servers map[string]*upstream.Server) *upstream.Server {
	for name, u := range cfg.Upstreams {
		if u.MediaSockets {
			return servers[name]
		}
	}
	return nil
}
