// Package app builds a gateway from its configuration, with its store, its SFU client and its listeners, and
// runs it. cmd/wcs-gateway and cmd/wcs-dev use it; it owns the order of start and shutdown.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/gateway"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/console"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/embed"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/rest"
	"wcsgateway/gateway/rtmp"
	"wcsgateway/gateway/sampled"
	"wcsgateway/gateway/session"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/pull"
)

// Options are the inputs of Run besides the configuration.
type Options struct {
	Log     zerolog.Logger
	Version string // of the build
	Source  Source // of changed configurations; without Changed there is no reload
	// Look returns what is out of order in what the configuration names, and changes nothing. nil: there are no
	// looks.
	Look func(context.Context) []admin.Finding
}

// Run serves until ctx is done, then shuts down in order: clients, pending clean-up at LiveKit and Redis,
// listeners. It returns an error if it cannot start or a listener fails, nil after a regular end.
func Run(ctx context.Context, cfg config.Config, o Options) error {
	a, err := build(cfg, o.Log, o.Version)
	if err != nil {
		return err
	}
	a.source, a.cfg, a.health.look = o.Source, cfg, o.Look
	a.inUse.Store(&cfg)
	servers, err := a.listen(cfg)
	if err != nil {
		return err
	}
	return a.run(ctx, servers)
}

// Check reports whether Run could build a gateway from a configuration. It opens no connection and no
// listener.
func Check(cfg config.Config) error {
	_, err := build(cfg, zerolog.Nop(), "")
	return err
}

// application is a built gateway.
type application struct {
	cfg         config.Config
	source      Source
	log         zerolog.Logger
	sampled     zerolog.Logger // for events that clients can cause: limited lines per second
	gateway     *gateway.Gateway
	store       *state.Redis
	sfu         *livekit.SFU
	backends    *backends
	certificate *certificate // nil without TLS for clients
	rest        *certificate // of the REST API; nil without TLS
	api         *rest.API    // nil: none
	agent       net.Listener // of HAProxy's agent-check; nil: none
	metrics     *gateway.Metrics
	registry    *prometheus.Registry
	recorder    *console.Recorder // for the console
	tracing     *tracing          // nil: none
	health      *health
	inUse       atomic.Pointer[config.Config] // the settings in use
	version     string                        // of the build
}

func build(cfg config.Config, log zerolog.Logger, version string) (*application, error) {
	registry := prometheus.NewRegistry() // not the default registry: LiveKit's packages use it
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := gateway.NewMetrics(registry)
	metrics.Build(version)
	tracing, err := openTracing(cfg, version, log)
	if err != nil {
		return nil, err
	}
	pod := translate.NewPodTag()
	log = log.With().Str("pod", pod).Logger()

	store, err := openStore(cfg, pod, state.Deps{Log: log, Observe: metrics.StoreCall, Trace: tracing.call("redis", redisCall)})
	if err != nil {
		return nil, err
	}
	control, plays := tracing.clients(cfg.LiveKit.MaxConns)
	sfu, err := livekit.New(sfuConfig(cfg), livekit.Deps{
		Observe: metrics.SFUCall, Log: log, HTTP: control, PlayHTTP: plays, Trace: tracing.call("livekit", liveKitCall),
	})
	if err != nil {
		return nil, err
	}
	backends := &backends{log: log, metrics: metrics, maxMessage: cfg.Session.MaxMessageBytes}
	gatewayCfg, err := gatewayConfig(cfg, pod, version, backends)
	if err != nil {
		return nil, err
	}
	gatewayCfg.Recent, gatewayCfg.Host = cfg.REST.Console, hostName()
	health := &health{log: log}
	var g *gateway.Gateway
	recorder := console.NewRecorder(registry, func() admin.Statistics { return g.Admin().PodStatistics() }, log)
	g = gateway.New(gatewayCfg, gateway.Deps{
		SFU: sfu, Prober: sfu, Camera: sfu, Notifier: sfu, Egress: sfu, Webhooks: sfu, Store: store, Pulls: store, Sessions: store, Events: store, Rooms: store, Directory: store, Tokens: store, Issued: store, Usage: store, StoreReady: store.Ready, Peers: store.Peers, Metrics: metrics, Tracer: tracing.tracer(), Log: log,
		History: func() any { return recorder.Samples() }, Health: health.findings,
	})
	return &application{log: log, sampled: sampled.Logger(log), gateway: g, store: store, sfu: sfu, backends: backends, metrics: metrics, registry: registry, recorder: recorder, tracing: tracing, health: health, version: version}, nil
}

// settings returns the settings in use as YAML, without secrets.
func (a *application) settings() string {
	text, err := a.inUse.Load().YAML()
	if err != nil {
		return "# " + err.Error()
	}
	return text
}

func sfuConfig(cfg config.Config) livekit.Config {
	return livekit.Config{
		URL: cfg.LiveKit.URL, Key: cfg.LiveKit.APIKey, Secret: cfg.LiveKit.APISecret.Reveal(), WebhookKeys: reveal(cfg.LiveKit.WebhookKeys),
		EmptyTimeout: cfg.LiveKit.RoomEmptyTimeout, DepartureTimeout: cfg.LiveKit.RoomDepartureTimeout, MaxConns: cfg.LiveKit.MaxConns,
		Play: cfg.LiveKit.Play,
	}
}

// Store returns the store of a gateway without the gateway, for commands. It is no pod's. Close it.
func Store(cfg config.Config) (*state.Redis, error) {
	return openStore(cfg, translate.NewPodTag(), state.Deps{Log: zerolog.Nop()})
}

// Clients returns the store and the SFU of a gateway without the gateway, for cmd/internal/check. pod is the
// tag of its identities. Close both.
func Clients(cfg config.Config, pod string) (*state.Redis, *livekit.SFU, error) {
	store, err := openStore(cfg, pod, state.Deps{Log: zerolog.Nop()})
	if err != nil {
		return nil, nil, err
	}
	sfu, err := livekit.New(sfuConfig(cfg), livekit.Deps{Log: zerolog.Nop()})
	return store, sfu, err
}

func openStore(cfg config.Config, pod string, deps state.Deps) (*state.Redis, error) {
	tls, err := cfg.Redis.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("redis.tls: %w", err)
	}
	r, s := cfg.Redis, cfg.Session
	sockets := socket.Config{PingInterval: s.PingInterval, PingProbes: s.PingProbes}
	return state.Open(state.Config{
		Addrs: r.Addrs, MasterName: r.MasterName, Cluster: r.Cluster, Username: r.Username, Password: r.Password.Reveal(),
		SentinelUsername: r.SentinelUsername, SentinelPassword: r.SentinelPassword.Reveal(), DB: r.DB, TLS: tls,
		Lease: r.Lease, RecordTTL: r.RecordTTL, CallTimeout: r.CallTimeout,
		DepartureTTL: s.KeepAliveGrace + sockets.DetectionTime() + r.Lease,
	}, state.Pod{Deployment: cfg.Deployment, ID: pod, Host: hostName()}, deps), nil
}

// hostName returns the name of this machine or container, for information.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

func reveal(secrets map[string]config.Secret) map[string]string {
	plain := make(map[string]string, len(secrets))
	for k, s := range secrets {
		plain[k] = s.Reveal()
	}
	return plain
}

func applications(cfg config.Config, b *backends, servers map[string]*upstream.Server) (map[string]apps.App, error) {
	all := make(map[string]apps.App, len(cfg.Applications)+1)
	all[TrialKey(cfg)] = trial()
	for key, app := range cfg.Applications {
		codecs, err := translate.ParseCodecs(app.Codecs)
		if err != nil {
			return nil, fmt.Errorf("applications.%s: %w", key, err)
		}
		pages, err := origins.Parse(app.Origins)
		if err != nil {
			return nil, fmt.Errorf("applications.%s.origins: %w", key, err)
		}
		targets, err := rtmp.Parse(app.RTMPHosts)
		if err != nil {
			return nil, fmt.Errorf("applications.%s.rtmpHosts: %w", key, err)
		}
		sources, err := pull.ParseAllow(app.Pull.Allow)
		if err != nil {
			return nil, fmt.Errorf("applications.%s.pull.allow: %w", key, err)
		}
		backend, err := b.of(key, app.Hooks)
		if err != nil {
			return nil, err
		}
		sides, err := route(app.Route, servers)
		if err != nil {
			return nil, fmt.Errorf("applications.%s.route.%w", key, err)
		}
		publishes, err := route(app.Hybrid.Publishes(), servers)
		if err != nil {
			return nil, fmt.Errorf("applications.%s.hybrid.%w", key, err)
		}
		all[key] = apps.App{
			Key: key, Room: translate.RoomTemplate(app.Room), Native: app.Native, Codecs: codecs,
			Pull:  pulls.App{Allow: sources, Transcode: app.Pull.Transcode, UDP: app.Pull.RTSPTransport == config.TransportUDP},
			Rates: cfg.RateSource(app), NativeData: app.NativeData, MissingStream: app.MissingStream, Origins: pages, MaxSessions: app.MaxSessions, PlayFrom: app.PlayFrom, Rooms: app.HasRooms(key),
			Hooks:  apps.Hooks{Backend: backend, FailClosed: app.Hooks.FailClosed, KeepAlive: app.Hooks.KeepAliveInterval},
			Record: app.Record == config.RecordAllowed, RTMPHosts: targets, RTMPFullURL: app.RTMPFullURL,
			Route:  sides,
			Hybrid: hybrid.App{Upstream: servers[app.Hybrid.Upstream], Publishes: publishes, SendData: app.Hybrid.SendData != config.RouteHere, Fallback: app.Hybrid.Fallback},
		}
	}
	return all, nil
}

func gatewayConfig(cfg config.Config, pod, version string, b *backends) (gateway.Config, error) {
	live, err := liveOf(cfg, b)
	if err != nil {
		return gateway.Config{}, err
	}
	proxies, err := trustedProxies(cfg.Listen.TrustedProxies)
	if err != nil {
		return gateway.Config{}, err
	}
	s, m := cfg.Session, cfg.Media
	sources, err := pullConfig(cfg)
	if err != nil {
		return gateway.Config{}, err
	}
	var player http.Handler
	if e := cfg.Listen.Embed; e.Enabled {
		player = embed.New(embed.Config{AppKey: e.AppKey, Frames: e.Frames, Servers: e.Servers})
	}
	return gateway.Config{
		Config: session.Config{
			Deployment: cfg.Deployment, Pod: pod, Version: cfg.ServerVersion(version), NodeID: cfg.Node(), Reloadable: live,
			MaxStreams: s.MaxStreams, KeepAliveGrace: s.KeepAliveGrace, Handover: cfg.Drain.Handover,
			Conn: socket.Config{
				HelloTimeout: s.HelloTimeout, WriteTimeout: s.WriteTimeout, MaxMessageBytes: s.MaxMessageBytes,
				MaxQueueBytes: s.MaxQueueBytes, MaxQueueMessages: s.MaxQueueMessages, PingInterval: s.PingInterval, PingProbes: s.PingProbes,
			},
			Media: session.MediaConfig{
				ICETimeout: m.ICETimeout, MediaTimeout: m.MediaTimeout, SecondTrackWait: m.SecondTrackWait, PlayWait: m.PlayWait,
				SFUTimeout: cfg.LiveKit.CallTimeout, StoreTimeout: cfg.Redis.CallTimeout, SilenceTimeout: m.SilenceTimeout, RemoteMute: cfg.SFU.RemoteMute,
			},
			Rooms: session.RoomsConfig{MaxMembers: cfg.RoomAPI.MaxMembers, PerSession: cfg.RoomAPI.PerSession},
			Egress: egress.Config{
				Prefix: cfg.Recording.Prefix, Template: translate.FileTemplate(cfg.Recording.Template), StartTimeout: cfg.Recording.StartTimeout,
			},
			Pulls:     sources,
			MaxProbes: cfg.Rates.MaxProbes,
			Snapshot: session.SnapshotConfig{
				Config: snapshot.Config{
					Timeout: cfg.Snapshot.Timeout, MaxAtOnce: cfg.Snapshot.MaxAtOnce,
					Decoder: snapshot.Decoder{FFmpeg: cfg.Snapshot.FFmpeg, MaxPixels: cfg.Snapshot.MaxPixels, MaxBytes: cfg.Snapshot.MaxBytes},
				},
				PerMinute: cfg.Snapshot.PerMinute,
			},
		},
		Proxies: proxies, ProxyProtocol: cfg.Listen.ProxyProtocol,
		Drain: gateway.DrainConfig{Notice: cfg.Drain.Notice, Window: cfg.Drain.Window, Pace: cfg.Drain.Pace},
		Embed: player,
		LoadBalancer: gateway.LoadBalancer{
			LBPath: cfg.Listen.LBPath, LBServer: cfg.Listen.LB.Server, LBPodHost: cfg.Listen.LB.PodHost,
			LBWS: strconv.Itoa(cfg.Listen.LB.WS), LBWSS: strconv.Itoa(cfg.Listen.LB.WSS),
		},
	}, nil
}

func pullConfig(cfg config.Config) (pulls.Config, error) {
	p := cfg.Pull
	c := pulls.Config{Linger: p.Linger, Retry: p.Retry, Max: p.Max, PerApp: p.MaxPerApplication, PerSession: p.MaxPerSession}
	if p.Secret == "" {
		return c, nil
	}
	var err error
	if c.Keys, err = pull.NewKeys(p.Secret.Reveal(), cfg.Deployment); err != nil {
		return c, fmt.Errorf("pull.secret: %w", err)
	}
	return c, nil
}

// server is one listener and its HTTP server.
type server struct {
	name     string // the setting of the address
	listener net.Listener
	http     *http.Server
	tls      bool
}

// listen binds all addresses, or none.
func (a *application) listen(all config.Config) (servers []server, err error) {
	cfg := all.Listen
	defer func() {
		if err != nil {
			for _, s := range servers {
				_ = s.listener.Close() // nothing was served yet
			}
		}
	}()
	if a.certificate, err = a.loadCertificate("listen.tls", cfg.TLS); err != nil {
		return servers, err
	}
	if cfg.Public != "" {
		tcp, err := listenPublic(cfg.Public, cfg)
		if err != nil {
			return servers, fmt.Errorf("listen.public: %w", err)
		}
		l := a.gateway.Listener(tcp, requestTimeout)
		s := server{name: "listen.public", listener: l, http: a.publicServer("listen.public")}
		s.http.ConnState = l.ConnState
		servers = append(servers, s)
	}
	if a.certificate != nil {
		l, err := listenPublic(cfg.Secure, cfg)
		if err != nil {
			return servers, fmt.Errorf("listen.secure: %w", err)
		}
		s := server{name: "listen.secure", listener: l, http: a.publicServer("listen.secure"), tls: true}
		s.http.TLSConfig = a.certificate.config()
		servers = append(servers, s)
	}
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry})
	l, err := net.Listen("tcp", cfg.Internal)
	if err != nil {
		return servers, fmt.Errorf("listen.internal: %w", err)
	}
	servers = append(servers, server{
		name: "listen.internal", listener: l, http: a.server("listen.internal", a.gateway.Internal(metrics), internalTimeout),
	})
	if all.REST.Serves() {
		s, err := a.restServer(all)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	if all.REST.Agent != "" {
		if a.agent, err = net.Listen("tcp", all.REST.Agent); err != nil {
			return servers, fmt.Errorf("rest.agent: %w", err)
		}
	}
	return servers, nil
}

// run serves until ctx is done or a component fails. At the end the gateway first releases its clients and
// their resources, which needs the store and LiveKit; then the store releases its lease; then the listeners
// close.
func (a *application) run(ctx context.Context, servers []server) error {
	group, ctx := errgroup.WithContext(ctx)
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	serveCtx, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	for _, s := range servers {
		a.log.Info().Str("addr", s.listener.Addr().String()).Bool("tls", s.tls).Msg("listening: " + s.name)
		group.Go(func() error { return s.serve() })
		group.Go(func() error {
			<-serveCtx.Done()
			return s.http.Close() // client sockets are hijacked and closed by the gateway
		})
	}
	untilDone := func(run func(context.Context)) {
		group.Go(func() error {
			run(ctx)
			return nil
		})
	}
	untilDone((&reloader{application: a, now: a.cfg}).run)
	if a.agent != nil {
		a.log.Info().Str("addr", a.agent.Addr().String()).Msg("listening: rest.agent")
		group.Go(func() error { return serveAgent(a.agent, a.gateway) })
		group.Go(func() error {
			<-serveCtx.Done()
			return a.agent.Close()
		})
	}
	if a.cfg.REST.Console {
		untilDone(a.recorder.Run)
	}
	if a.health.look != nil {
		untilDone(a.health.run)
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
		a.backends.close()
		a.tracing.close()
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
