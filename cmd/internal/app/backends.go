package app

import (
	"fmt"
	"reflect"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway"
	"wcsgateway/gateway/hooks"
)

// backends holds the applications' backends by app key. A backend whose settings are unchanged stays over a
// reload, with its connections and its limit of calls; a replaced one keeps serving the sessions that began
// with it.
type backends struct {
	log     zerolog.Logger
	metrics *gateway.Metrics
	// maxMessage is session.maxMessageBytes.
	maxMessage int64
	known      map[string]backend
	upstreams  upstreams
}

type backend struct {
	cfg config.Hooks
	*hooks.Backend
}

// of returns nil for an application without a backend.
func (b *backends) of(key string, cfg config.Hooks) (*hooks.Backend, error) {
	if cfg.URL == "" {
		return nil, nil
	}
	if old, ok := b.known[key]; ok && reflect.DeepEqual(old.cfg, cfg) {
		return old.Backend, nil
	}
	made, err := b.open(key, cfg)
	if err != nil {
		return nil, fmt.Errorf("applications.%s.hooks: %w", key, err)
	}
	if b.known == nil {
		b.known = make(map[string]backend)
	}
	b.known[key] = backend{cfg, made}
	return made, nil
}

func (b *backends) open(key string, h config.Hooks) (*hooks.Backend, error) {
	methods, err := h.CalledMethods()
	if err != nil {
		return nil, err
	}
	tls, err := h.TLS.Config()
	if err != nil {
		return nil, err
	}
	return hooks.New(hooks.Config{
		URL: h.URL, Methods: methods, Timeout: h.Timeout, Retries: h.Retries, MaxInFlight: h.MaxInFlight, MaxWaiting: h.MaxWaiting,
		MaxResponseBytes: h.ResponseBytes(b.maxMessage), Username: h.Username, Password: h.Password.Reveal(), HMACSecret: h.HMACSecret.Reveal(), TLS: tls,
	}, hooks.Deps{Observe: b.metrics.HookCall, Log: b.log.With().Str("app", key).Logger()})
}

// close closes the connections, after the last call.
func (b *backends) close() {
	for _, known := range b.known {
		known.Close()
	}
}
