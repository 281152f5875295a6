// Command wcs-dev runs everything in one process, for trying the gateway and for tests: the gateway, LiveKit,
// Redis, and a demo page with the stock SDK. It prints the address of the page and the one for SDKs. It is
// not for production: see cmd/wcs-gateway.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"wcsgateway/cmd/internal/app"
)

// readyTimeout bounds the start of the gateway.
const readyTimeout = 20 * time.Second

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err = logLiveKit(); err == nil {
		err = run(ctx, o, os.Stdout, newLogger(o, os.Stderr))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wcs-dev:", err)
		os.Exit(1)
	}
}

// newLogger returns a logger for terminals, in colour if w is one.
func newLogger(o options, w *os.File) zerolog.Logger {
	level := zerolog.InfoLevel
	if o.debug {
		level = zerolog.DebugLevel
	}
	info, err := w.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return zerolog.New(zerolog.ConsoleWriter{Out: w, NoColor: !terminal, TimeFormat: time.TimeOnly}).Level(level).With().Timestamp().Logger()
}

// run starts everything, writes the three addresses to out once the gateway is ready, and ends with ctx:
// first the gateway, then LiveKit and Redis.
func run(ctx context.Context, o options, out io.Writer, log zerolog.Logger) (err error) {
	if err := o.ports.claim(bindHost(o.host)); err != nil {
		return err
	}
	redis, err := startRedis(local(o.ports.redis))
	if err != nil {
		return err
	}
	defer redis.Close()
	lk, err := startLiveKit(ctx, liveKitYAML(o.host, o.ports))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lk.stop()) }()
	log.Info().Str("livekit", "ws://"+o.public(o.ports.liveKit)).Str("apiKey", liveKitKey).Str("redis", redis.Addr()).Msg("LiveKit and Redis run")

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runDown(ctx, redis) })
	group.Go(func() error { return runGateway(ctx, o, log) })
	group.Go(func() error { return runPage(ctx, o, log) })
	group.Go(func() error { return announce(ctx, o, out) })
	return group.Wait()
}

func runGateway(ctx context.Context, o options, log zerolog.Logger) error {
	cfg, err := o.config()
	if err != nil {
		return fmt.Errorf("configure the gateway: %w", err)
	}
	if err := app.Run(ctx, cfg, app.Options{Log: log, Version: "dev"}); err != nil {
		return fmt.Errorf("run the gateway: %w", err)
	}
	return nil
}

func runPage(ctx context.Context, o options, log zerolog.Logger) error {
	p, err := newPage("ws://"+o.public(o.ports.ws), o.sdk)
	if err != nil {
		return err
	}
	if !p.hasSDK() {
		log.Warn().Str("missing", p.sdk).Str("hint", "make dev installs it").Msg("WebSDK not installed: the demo page does not work")
	}
	if !o.host.IsLoopback() {
		log.Warn().Str("hint", "publish on this machine, at http://localhost:"+strconv.Itoa(o.ports.page)).Msg("browsers on other machines can play but not publish: they have no camera over http")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(bindHost(o.host), strconv.Itoa(o.ports.page)))
	if err != nil {
		return fmt.Errorf("serve the demo page: %w", err)
	}
	return serve(ctx, l, p.handler())
}

// announce writes the addresses as soon as the gateway is ready.
func announce(ctx context.Context, o options, out io.Writer) error {
	ready, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the gateway is not ready after %v", readyTimeout))
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for !answers(ready, client, "http://"+local(o.ports.internal)+"/readyz") || !answers(ready, client, "http://"+o.public(o.ports.page)) {
		select {
		case <-ctx.Done(): // shutdown, or another component failed
			return nil
		case <-ready.Done():
			return context.Cause(ready)
		case <-poll.C:
		}
	}
	_, err := fmt.Fprintf(out, "http://%s/\nws://%s\nhttp://%s/console/\n", o.public(o.ports.page), o.public(o.ports.ws), local(o.ports.rest))
	return err
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // only the status matters
	return res.StatusCode == http.StatusOK
}
