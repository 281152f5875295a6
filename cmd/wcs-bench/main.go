// Command wcs-bench loads a WCS server as its users do: with sockets that speak WCS and peers with real ICE,
// DTLS and RTP. It prints counts, failures and latencies for sizing a deployment. The load is bounded in
// number and time, and goes to this machine by default. Exit codes: 0 if nothing failed, 1 after failures, 2
// after a usage error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"wcsgateway/internal/wcsclient"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the program: the report goes to stdout, progress and faults to stderr. The load ends with ctx, and
// the measurements until then are reported.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	r, err := measure(ctx, o, stderr)
	if err == nil {
		err = r.write(stdout, o.json)
	}
	if err != nil {
		fmt.Fprintln(stderr, "wcs-bench:", err)
		return exitFailed
	}
	if len(r.Failures) > 0 {
		return exitFailed
	}
	return exitOK
}

// measure runs the scenario. It returns an error if nothing could be measured; failures under load are in the
// report.
func measure(ctx context.Context, o options, progress io.Writer) (report, error) {
	if err := probe(ctx, o); err != nil {
		return report{}, fmt.Errorf("no session at %s: %w", o.url, err)
	}
	m, err := wcsclient.NewMedia(wcsclient.MediaOptions{Audio: interval(o.audioRate), Video: interval(o.videoRate)})
	if err != nil {
		return report{}, fmt.Errorf("prepare media: %w", err)
	}
	b := newBench(o, m)
	if o.progress > 0 {
		stop := b.showProgress(progress)
		defer stop()
	}
	began := time.Now()
	b.run(ctx)
	r := b.records.report()
	r.Scenario, r.URL = o.scenario, o.url
	r.Began, r.Seconds = began, time.Since(began).Seconds()
	r.Interrupted = ctx.Err() != nil
	r.RTPSent, r.RTPReceived = m.Sent.Load(), m.Received.Load()
	return r, nil
}

// probe opens and closes one session. A wrong address, an unreachable server or a forbidden application
// becomes one clear error instead of one failure per session.
func probe(ctx context.Context, o options) error {
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	s, _, err := newServer(o).dial(ctx)
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

// showProgress writes a line periodically until stop is called.
func (b *bench) showProgress(w io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		began := time.Now()
		tick := time.NewTicker(b.o.progress)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				fmt.Fprintf(w, "%6s  sessions %d  publishing %d  playing %d  failures %d\n",
					time.Since(began).Round(time.Second), b.open.Load(), b.publishing.Load(), b.playing.Load(), b.records.failures())
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
