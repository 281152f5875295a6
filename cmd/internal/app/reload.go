package app

import (
	"context"
	"fmt"
	"slices"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/socket"
)

// Source provides the configurations of a running gateway.
type Source struct {
	// Load reads the configuration.
	Load func() (config.Config, error)
	// Changed receives a value when the configuration could have changed.
	Changed <-chan struct{}
	// SetLogLevel applies a new log.level.
	SetLogLevel func(level string)
}

// reloader applies the reloadable settings of a changed configuration. Running sessions are not affected. An
// invalid configuration changes nothing.
type reloader struct {
	*application
	now config.Config // application.inUse has a copy, for the console
}

// run ends with ctx.
func (r *reloader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.source.Changed:
			certificates := r.reloadCertificate("listen.tls", r.certificate)
			certificates = r.reloadCertificate("rest.tls", r.rest) && certificates
			r.metrics.ConfigTaken(r.reloadConfig() && certificates)
		}
	}
}

func (r *reloader) reloadCertificate(setting string, c *certificate) (ok bool) {
	if c == nil {
		return true
	}
	renewed, err := c.reload()
	switch {
	case err != nil:
		r.log.Error().Err(err).Msg(setting + ": new certificate rejected, old one kept")
		return false
	case renewed:
		r.log.Info().Time("not_after", c.notAfter()).Msg(setting + ": new certificate")
	}
	r.metrics.Certificate(setting, c.notAfter())
	return true
}

func (r *reloader) reloadConfig() (ok bool) {
	next, err := r.source.Load()
	if err != nil {
		for _, f := range config.Faults(err) {
			r.log.Error().Str("key", f.Key).Str("at", f.At).Str("fault", f.Text).Msg("new configuration rejected, old one kept")
		}
		return false
	}
	live, err := liveOf(next, r.backends)
	if err != nil {
		r.log.Error().Err(err).Msg("new configuration rejected, old one kept")
		return false
	}
	taken, changes := r.now.Take(next), r.now.Compare(next)
	others, err := otherREST(taken)
	if err != nil {
		r.log.Error().Err(err).Msg("new configuration rejected, old one kept")
		return false
	}
	if len(changes.Restart) > 0 {
		r.log.Warn().Strs("keys", changes.Restart).Msg("changed settings need a restart")
	}
	if len(changes.Live) == 0 {
		r.log.Info().Msg("configuration checked: nothing changed")
		return true
	}
	if r.api != nil && slices.Contains(changes.Live, "upstreams") {
		if err := r.api.SetOthers(others); err != nil {
			r.log.Error().Err(err).Msg("new configuration rejected, old one kept")
			return false
		}
	}
	r.now = taken
	inUse := r.now
	r.inUse.Store(&inUse)
	r.gateway.Reload(live)
	r.source.SetLogLevel(next.Log.Level)
	r.log.Info().Strs("keys", changes.Live).Int("applications", len(next.Applications)).Msg("configuration reloaded")
	return true
}

// liveOf returns the reloadable part of a configuration.
func liveOf(cfg config.Config, b *backends) (apps.Reloadable, error) {
	servers, err := b.upstreams.load(cfg.Upstreams)
	if err != nil {
		return apps.Reloadable{}, err
	}
	all, err := applications(cfg, b, servers)
	if err != nil {
		return apps.Reloadable{}, err
	}
	origin, err := origins.Parse(cfg.Listen.Origins)
	if err != nil {
		return apps.Reloadable{}, fmt.Errorf("listen.origins: %w", err)
	}
	return apps.Reloadable{Apps: all, Origins: origin, Limits: limits(cfg.Limits), Upstreams: servers, MediaSockets: mediaSockets(cfg, servers)}, nil
}

func limits(l config.Limits) apps.Limits {
	if l.Connections == 0 {
		l.Connections = openFiles()
	}
	return apps.Limits{
		Limits: socket.Limits{
			Connections: l.Connections, ConnectionsPerAddress: l.ConnectionsPerAddress, Pending: l.Pending,
			MessagesPerSecond: l.MessagesPerSecond, MessageBurst: l.MessageBurst,
			BytesPerSecond: l.BytesPerSecond, ByteBurst: l.ByteBurst,
		},
		Detached:  l.Detached,
		JSONDepth: l.JSONDepth, NameBytes: l.NameBytes, IDBytes: l.IDBytes, LoginBytes: l.LoginBytes,
		CustomBytes: l.CustomBytes, PayloadBytes: l.PayloadBytes, ClientLogsPerSecond: l.ClientLogsPerSecond,
		Quota: quota.Limits{
			Starts: quota.Rate{PerSecond: float64(l.StartsPerSecond), Burst: l.StartBurst}, Joins: quota.Rate{PerSecond: float64(l.JoinsPerSecond), Burst: l.JoinBurst},
			AddressFactor: l.AddressFactor, StartsUnderWay: l.StartsUnderWay,
		},
	}
}
