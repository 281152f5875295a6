// Package app builds a worker from its configuration, with its store, its SFU client and its listener, and
// runs it. cmd/wcs-pull and cmd/wcs-dev use it.
package app

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/cmd/wcs-pull/source"
	"wcsgateway/cmd/wcs-pull/worker"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/pull"
)

// Paths of the listener.
const (
	PathHealth  = "/healthz"
	PathReady   = "/readyz"
	PathMetrics = "/metrics"
)

const requestTimeout = 10 * time.Second

// application is a built worker.
type application struct {
	log      zerolog.Logger
	registry *prometheus.Registry
	store    *state.Redis
	sfu      *livekit.SFU
	worker   *worker.Worker
}

// Check reports whether Run could build a worker from a configuration. It opens no connection and no
// listener.
func Check(cfg config.Worker) error {
	_, err := build(cfg, zerolog.Nop())
	return err
}

// build builds a worker. It opens no connection.
func build(cfg config.Worker, log zerolog.Logger) (*application, error) {
	registry := prometheus.NewRegistry() // not the default registry: LiveKit's packages use it
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := worker.NewMetrics(registry)
	keys, err := pull.NewKeys(cfg.Secret.Reveal(), cfg.Deployment)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	networks, err := cfg.PrivateNetworks()
	if err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	tls, err := cfg.Redis.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("redis.tls: %w", err)
	}
	host, id := hostName(), translate.NewPodTag()
	log = log.With().Str("worker", id).Logger()
	sfu, err := livekit.New(livekit.Config{
		URL: cfg.LiveKit.URL, Key: cfg.LiveKit.APIKey, Secret: cfg.LiveKit.APISecret.Reveal(), MaxConns: 2 * cfg.Max,
	}, livekit.Deps{Observe: metrics.SFUCall, Log: log})
	if err != nil {
		return nil, err
	}
	sandboxed, err := sandboxed(cfg, log)
	if err != nil {
		return nil, err
	}
	metrics.Sandboxed(sandboxed)
	runner, err := source.New(source.Config{
		LiveKit: sfu, Private: networks, Folder: cfg.Folder, FFmpeg: cfg.FFmpeg, FFprobe: cfg.FFprobe, Sandbox: sandboxed, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("ffmpeg, ffprobe: %w", err)
	}
	r := cfg.Redis
	store := state.Open(state.Config{
		Addrs: r.Addrs, MasterName: r.MasterName, Cluster: r.Cluster, Username: r.Username, Password: r.Password.Reveal(),
		SentinelUsername: r.SentinelUsername, SentinelPassword: r.SentinelPassword.Reveal(), DB: r.DB, TLS: tls,
		Lease: r.Lease, RecordTTL: r.RecordTTL, CallTimeout: r.CallTimeout,
	}, state.Pod{Deployment: cfg.Deployment, ID: id, Host: host}, state.Deps{Log: log, Observe: metrics.StoreCall})
	return &application{log: log, registry: registry, store: store, sfu: sfu, worker: worker.New(
		worker.Config{Max: cfg.Max, Lease: r.Lease, Host: host, Deployment: cfg.Deployment},
		worker.Deps{
			Store: store, Keys: keys, Metrics: metrics, Log: log,
			Run: func(ctx context.Context, j worker.Job, report func(pull.State, error)) error {
				return runner.Run(ctx, source.Job(j), report)
			},
			Remove: func(ctx context.Context, room, identity string) error {
				return sfu.Remove(ctx, translate.RoomName(room), translate.Identity(identity))
			},
		},
	)}, nil
}

// sandboxed reports whether ffmpeg runs in a sandbox.
func sandboxed(cfg config.Worker, log zerolog.Logger) (bool, error) {
	if cfg.Sandbox != config.SandboxAuto && cfg.Sandbox != config.SandboxRequired {
		return false, nil
	}
	err := sandbox.Available()
	switch {
	case err == nil:
		return true, nil
	case cfg.Sandbox == config.SandboxRequired:
		return false, fmt.Errorf("sandbox: %w", err)
	}
	log.Warn().Err(err).Msg("no sandbox, ffmpeg shares the worker's network")
	return false, nil
}

// Run works until ctx is done. It returns an error if it cannot start or the listener fails, nil after a
// regular end.
func Run(ctx context.Context, cfg config.Worker, log zerolog.Logger) error {
	a, err := build(cfg, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return a.run(ctx, listener)
}

// run works until ctx is done or the listener fails. It closes everything.
func (a *application) run(ctx context.Context, listener net.Listener) error {
	a.log.Info().Str("addr", listener.Addr().String()).Msg("listening")
	server := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: time.Minute, ErrorLog: stdlog.New(process.PlainLines{Log: a.log}, "", 0),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("listen: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		a.worker.Work(ctx)
		a.sfu.Close()
		_ = server.Close() // answers may be cut
		return a.store.Close()
	})
	return group.Wait()
}

func (a *application) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+PathMetrics, promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry}))
	mux.HandleFunc("GET "+PathHealth, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+PathReady, func(w http.ResponseWriter, _ *http.Request) {
		if !a.worker.Ready() {
			http.Error(w, "not ready: Redis does not answer, or the worker leaves", http.StatusServiceUnavailable)
		}
	})
	return mux
}

// hostName returns the name of this machine or container, for information.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}
