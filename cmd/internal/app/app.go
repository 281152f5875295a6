// Package app builds a gateway from its configuration and runs it. cmd/wcs-gateway and cmd/wcs-dev share it.
package app

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
)

// Run serves until ctx is done, then shuts down in order: clients first, then what is owed to LiveKit and Redis, then the
// listeners. It returns an error if it cannot start or a listener fails, nil after a regular end. version is that of the build.
func Run(ctx context.Context, cfg config.Config, log zerolog.Logger, version string) error {
	a, err := build(cfg, log, version)
	if err != nil {
		return err
	}
	servers, err := a.listen(cfg.Listen)
	if err != nil {
		return err
	}
	return a.run(ctx, servers)
}

// application is a built gateway.
type application struct {
	log      zerolog.Logger
	gateway  *gateway.Gateway
	store    *state.Redis
	sfu      *livekit.SFU
	registry *prometheus.Registry
}

func build(cfg config.Config, log zerolog.Logger, version string) (*application, error) {
	registry := prometheus.NewRegistry() // not the default one: LiveKit's packages use that (feasibility.md §1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := gateway.NewMetrics(registry)
	pod := translate.NewPodTag()
	log = log.With().Str("pod", pod).Logger()

	store, err := openStore(cfg, pod, state.Deps{Log: log, Observe: metrics.StoreCall})
	if err != nil {
		return nil, err
	}
	// The SDK's RoomService client takes this one. net/http's own keeps two idle connections to a host, so that under load
	// every fourth call would dial.
	transport := livekit.NewTransport(cfg.LiveKit.MaxConns)
	http.DefaultTransport = transport
	sfu, err := livekit.New(livekit.Config{
		URL: cfg.LiveKit.URL, Key: cfg.LiveKit.APIKey, Secret: cfg.LiveKit.APISecret.Reveal(), WebhookKeys: reveal(cfg.LiveKit.WebhookKeys),
		EmptyTimeout: cfg.LiveKit.RoomEmptyTimeout, DepartureTimeout: cfg.LiveKit.RoomDepartureTimeout, MaxConns: cfg.LiveKit.MaxConns,
	}, livekit.Deps{HTTP: livekit.NewClient(transport), Observe: metrics.SFUCall, Log: log})
	if err != nil {
		return nil, err
	}
	apps, err := applications(cfg)
	if err != nil {
		return nil, err
	}
	g := gateway.New(gatewayConfig(cfg, pod, version, apps), gateway.Deps{
		SFU: sfu, Prober: sfu, Webhooks: sfu, Store: store, Sessions: store, Events: store, StoreReady: store.Ready, Metrics: metrics, Log: log,
	})
	return &application{log: log, gateway: g, store: store, sfu: sfu, registry: registry}, nil
}

func openStore(cfg config.Config, pod string, deps state.Deps) (*state.Redis, error) {
	tls, err := cfg.Redis.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("redis.tls: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown" // it is for people only
	}
	r := cfg.Redis
	return state.Open(state.Config{
		Addrs: r.Addrs, MasterName: r.MasterName, Cluster: r.Cluster, Username: r.Username, Password: r.Password.Reveal(),
		SentinelUsername: r.SentinelUsername, SentinelPassword: r.SentinelPassword.Reveal(), DB: r.DB, TLS: tls,
		Lease: r.Lease, RecordTTL: r.RecordTTL, CallTimeout: r.CallTimeout,
	}, state.Pod{Deployment: cfg.Deployment, ID: pod, Host: host}, deps)
}

func reveal(secrets map[string]config.Secret) map[string]string {
	plain := make(map[string]string, len(secrets))
	for k, s := range secrets {
		plain[k] = s.Reveal()
	}
	return plain
}

func applications(cfg config.Config) (map[string]gateway.App, error) {
	apps := make(map[string]gateway.App, len(cfg.Applications))
	for key, app := range cfg.Applications {
		codecs, err := translate.ParseCodecs(app.Codecs)
		if err != nil {
			return nil, fmt.Errorf("applications.%s: %w", key, err)
		}
		apps[key] = gateway.App{
			Key: key, Room: translate.RoomTemplate(app.Room), Native: gateway.Native(app.Native), Codecs: codecs,
			Rates: gateway.RateSource(cfg.RateSource(app)),
		}
	}
	return apps, nil
}

func gatewayConfig(cfg config.Config, pod, version string, apps map[string]gateway.App) gateway.Config {
	s, m := cfg.Session, cfg.Media
	return gateway.Config{
		Deployment: cfg.Deployment, Pod: pod, Version: cfg.ServerVersion(version), Apps: apps, MaxStreams: s.MaxStreams,
		Conn: gateway.ConnConfig{
			HelloTimeout: s.HelloTimeout, WriteTimeout: s.WriteTimeout, MaxMessageBytes: s.MaxMessageBytes,
			MaxQueueBytes: s.MaxQueueBytes, MaxQueueMessages: s.MaxQueueMessages, PingInterval: s.PingInterval, PingProbes: s.PingProbes,
		},
		Media: gateway.MediaConfig{
			ICETimeout: m.ICETimeout, MediaTimeout: m.MediaTimeout, SecondTrackWait: m.SecondTrackWait, PlayWait: m.PlayWait,
			SFUTimeout: cfg.LiveKit.CallTimeout, StoreTimeout: cfg.Redis.CallTimeout, SilenceTimeout: m.SilenceTimeout,
		},
		Rates: gateway.RatesConfig{MaxProbes: cfg.Rates.MaxProbes},
		Drain: gateway.DrainConfig{Notice: cfg.Drain.Notice, Window: cfg.Drain.Window, Pace: cfg.Drain.Pace},
		LoadBalancer: gateway.LoadBalancer{
			LBPath: cfg.Listen.LBPath, LBServer: cfg.Listen.LB.Server,
			LBWS: strconv.Itoa(cfg.Listen.LB.WS), LBWSS: strconv.Itoa(cfg.Listen.LB.WSS),
		},
	}
}

// server is one listener with what it serves.
type server struct {
	name     string // the setting it comes from
	listener net.Listener
	http     *http.Server
	tls      bool
}

// http1 is all that a WebSocket upgrade works with.
func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// listen binds all addresses, or none.
func (a *application) listen(cfg config.Listen) (servers []server, err error) {
	defer func() {
		if err != nil {
			for _, s := range servers {
				_ = s.listener.Close() // nothing was served yet
			}
		}
	}()
	add := func(setting, addr string, h http.Handler) error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
		servers = append(servers, server{name: setting, listener: l, http: &http.Server{
			Handler: h, ErrorLog: stdlog.New(a.log.With().Str("listener", setting).Logger(), "", 0), Protocols: http1(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		}})
		return nil
	}
	tlsConfig, err := cfg.TLSConfig()
	if err != nil {
		return servers, fmt.Errorf("listen.tls: %w", err)
	}
	if cfg.Public != "" {
		if err := add("listen.public", cfg.Public, a.gateway.Public()); err != nil {
			return servers, err
		}
	}
	if tlsConfig != nil {
		if err := add("listen.secure", cfg.Secure, a.gateway.Public()); err != nil {
			return servers, err
		}
		last := &servers[len(servers)-1]
		last.tls, last.http.TLSConfig = true, tlsConfig
	}
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry})
	return servers, add("listen.internal", cfg.Internal, a.gateway.Internal(metrics))
}

// run serves until ctx is done or something fails. The order of the end: the gateway lets go of its clients and of
// what they hold, which needs the store and LiveKit; then the store gives its lease back; then the listeners close.
func (a *application) run(ctx context.Context, servers []server) error {
	group, ctx := errgroup.WithContext(ctx)
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	serveCtx, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	for _, s := range servers {
		a.log.Info().Str("addr", s.listener.Addr().String()).Bool("tls", s.tls).Msg("listening: " + s.name)
		group.Go(func() error { return s.serve() })
		group.Go(func() error {
			<-serveCtx.Done()
			return s.http.Close() // sockets of clients were taken over and are closed by the gateway
		})
	}
	storeDone := make(chan struct{})
	group.Go(func() error {
		defer close(storeDone)
		return a.store.Run(storeCtx, a.gateway.StoreHandlers())
	})
	group.Go(func() error {
		a.gateway.Run(ctx)
		stopStore()
		<-storeDone
		stopServing()
		a.sfu.Close()
		return nil
	})
	return group.Wait()
}

func (s server) serve() error {
	var err error
	if s.tls {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", s.name, err)
}
