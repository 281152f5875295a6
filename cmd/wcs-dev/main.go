// Command wcs-dev is everything in one process, for a first look and for tests: the gateway, LiveKit, Redis, and
// a page with the stock SDK to try them. It prints the address of the page and the one that
// an SDK connects to. Nothing of it is meant for production: see cmd/wcs-gateway.
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

// readyTimeout bounds the gateway's start.
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

// newLogger logs for people, in colour if w is a terminal.
func newLogger(o options, w *os.File) zerolog.Logger {
	level := zerolog.InfoLevel
	if o.debug {
		level = zerolog.DebugLevel
	}
	info, err := w.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return zerolog.New(zerolog.ConsoleWriter{Out: w, NoColor: !terminal, TimeFormat: time.TimeOnly}).Level(level).With().Timestamp().Logger()
}

// run starts everything, writes the three addresses to out when clients are served, and ends when ctx does: the gateway
// first, then LiveKit and Redis.
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
		log.Warn().Str("missing", p.sdk).Msg("the WebSDK is not installed: `make dev` installs it, until then the demo page does nothing")
	}
	if !o.host.IsLoopback() {
		log.Warn().Msg("browsers on other machines can play, but get no camera over http: publish on this machine, at http://localhost:" + strconv.Itoa(o.ports.page))
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
		case <-ctx.Done(): // told to end, or something else has failed
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
	_ = res.Body.Close() // the status is all
	return res.StatusCode == http.StatusOK
}
