// Command wcs-dev runs everything in one process, for trying the gateway and for tests: the gateway, LiveKit,
// Redis, and a demo page with the stock SDK. It prints their addresses. It is
// not for production: see cmd/wcs-gateway.
package main

import (
	"context"
	"crypto/tls"
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
	"wcsgateway/gateway/admin"
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
		err = run(ctx, o, console{os.Stdin, os.Stdout}, newLogger(o, os.Stderr))
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

// console is the terminal of the user.
type console struct {
	in  io.Reader // a line requests the addresses again; nil: no line comes
	out io.Writer
}

// run starts everything, writes the addresses to the console once the gateway is ready, and ends with ctx:
// first the gateway, then LiveKit and Redis.
func run(ctx context.Context, o options, user console, log zerolog.Logger) (err error) {
	if err := o.ports.claim(bindHost(o.host)); err != nil {
		return err
	}
	ffmpeg, err := o.findFFmpeg()
	if err != nil {
		return err
	}
	log.Info().Msg("starting LiveKit, Redis and the gateway")
	redis, err := startRedis(local(o.ports.redis))
	if err != nil {
		return err
	}
	defer redis.Close()
	lk, err := startLiveKit(ctx, liveKitYAML(o.host, o.mediaHost(), o.ports))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lk.stop()) }()
	log.Info().Str("livekit", "ws://"+o.public(o.ports.liveKit)).Str("apiKey", liveKitKey).Str("redis", redis.Addr()).Msg("LiveKit and Redis run")

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runDown(ctx, redis) })
	group.Go(func() error { return runGateway(ctx, o, log) })
	group.Go(func() error { return runPage(ctx, o, log) })
	if o.pull {
		group.Go(func() error { return runCameras(ctx, o, ffmpeg) })
		group.Go(func() error { return runWorker(ctx, o, log) })
	}
	group.Go(func() error { return announce(ctx, o, user) })
	return group.Wait()
}

func runGateway(ctx context.Context, o options, log zerolog.Logger) error {
	cfg, err := o.config()
	if err != nil {
		return fmt.Errorf("configure the gateway: %w", err)
	}
	look := func(context.Context) []admin.Finding { return []admin.Finding{} } // LiveKit and Redis are in this process
	if err := app.Run(ctx, cfg, app.Options{Log: log, Version: "dev", Look: look}); err != nil {
		return fmt.Errorf("run the gateway: %w", err)
	}
	return nil
}

func runPage(ctx context.Context, o options, log zerolog.Logger) error {
	p, err := newPage(o)
	if err != nil {
		return err
	}
	if !p.hasSDK() {
		log.Warn().Str("missing", p.sdk).Str("hint", "make dev installs it").Msg("WebSDK not installed: the demo page does not work")
	}
	if !o.host.IsLoopback() && !o.https {
		log.Warn().Str("hint", "start with --https, or publish on this machine, at http://localhost:"+strconv.Itoa(o.ports.page)).Msg("browsers on other machines can play but not publish: they have no camera over http")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(bindHost(o.host), strconv.Itoa(o.ports.page)))
	if err != nil {
		return fmt.Errorf("serve the demo page: %w", err)
	}
	if !o.https {
		return serve(ctx, l, p.handler())
	}
	certificate, err := newCertificate(o.host)
	if err != nil {
		_ = l.Close() // nothing was served yet
		return err
	}
	l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	return serve(ctx, l, withGateway(p.handler(), o.ports.ws))
}

// announce writes the addresses as soon as the gateway is ready.
func announce(ctx context.Context, o options, user console) error {
	ready, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the gateway is not ready after %v", readyTimeout))
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it is for this process' own page
	}}
	for !answers(ready, client, "http://"+local(o.ports.internal)+"/readyz") || !answers(ready, client, o.pageURL()) {
		select {
		case <-ctx.Done(): // shutdown, or another component failed
			return nil
		case <-ready.Done():
			return context.Cause(ready)
		case <-poll.C:
		}
	}
	text := box(o.lines())
	_, err := io.WriteString(user.out, text+"Enter prints these addresses again, Ctrl-C ends.\n")
	if user.in != nil {
		go repeat(ctx, user.in, user.out, text) // ends with the process: a read of the terminal cannot be interrupted
	}
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
