package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Scenarios. Every stream has its own session.
const (
	scenarioIdle    = "idle"
	scenarioPublish = "publish"
	scenarioPlay    = "play"
	scenarioFanout  = "fanout"
	scenarioChurn   = "churn"
	scenarioStorm   = "storm"
)

func scenarios() []string {
	return []string{scenarioIdle, scenarioPublish, scenarioPlay, scenarioFanout, scenarioChurn, scenarioStorm}
}

// Limits of one process.
const (
	maxSessions = 100_000
	maxRate     = 10_000 // per second
	maxDuration = 24 * time.Hour
)

const usage = `usage: wcs-bench --scenario NAME [flags]

Loads a WCS server with real sockets and real media, and prints counts, failures and latencies.

scenarios:
  idle     --sessions sessions without streams, opened at --rate a second
  publish  --sessions publishers, started at --rate a second
  play     --sessions publishers with one player each, started at --rate a second
  fanout   one publisher with --players players, started at --rate a second
  churn    --rate times a second: two sessions come, one publishes, the other plays, both go; at most --sessions at a time
  storm    --sessions sessions lose their sockets at the same moment, every --every, and come back at once;
           --publishers of them publish, and publish again

flags:
`

// options are the values of the flags.
type options struct {
	url, app, scenario            string
	sessions, players, publishers int
	rate                          float64 // starts per second
	duration, every, timeout      time.Duration
	audioRate, videoRate          float64 // packets and frames per second
	progress                      time.Duration
	json                          string // path of a file; "": none
	allowRemote                   bool
}

// parse reads the flags. It writes errors to stderr, one fault per line.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("wcs-bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	o.register(flags)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	err := o.validate()
	if flags.NArg() > 0 {
		err = errors.Join(fmt.Errorf("unexpected argument %q", flags.Arg(0)), err)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	return o, err
}

func (o *options) register(flags *flag.FlagSet) {
	flags.StringVar(&o.scenario, "scenario", "", "`name` of the scenario")
	flags.StringVar(&o.url, "url", "ws://127.0.0.1:8080", "`address` of the server, ws:// or wss://")
	flags.StringVar(&o.app, "app", "defaultApp", "application `key`")
	flags.IntVar(&o.sessions, "sessions", 10, "sessions, or streams, or churn cycles at a time")
	flags.IntVar(&o.players, "players", 10, "players of fanout")
	flags.IntVar(&o.publishers, "publishers", 0, "sessions of storm that publish")
	flags.Float64Var(&o.rate, "rate", 10, "starts a second")
	flags.DurationVar(&o.duration, "duration", 30*time.Second, "how long the load lasts, with the time that starting takes; what has begun by then is brought to its end")
	flags.DurationVar(&o.every, "every", 10*time.Second, "time between two storms")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "longest that one step may take")
	flags.Float64Var(&o.audioRate, "audio-rate", 10, "audio packets a second of each publisher, 0 for no audio")
	flags.Float64Var(&o.videoRate, "video-rate", 5, "video frames a second of each publisher, 0 for no video")
	flags.DurationVar(&o.progress, "progress", time.Second, "time between two lines of progress, 0 for none")
	flags.StringVar(&o.json, "json", "", "`file` for the report as JSON")
	flags.BoolVar(&o.allowRemote, "allow-remote", false, "load a server on another machine; only do so with one that is yours")
}

// validate returns all faults.
func (o options) validate() error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(slices.Contains(scenarios(), o.scenario), "--scenario: must be one of %s", strings.Join(scenarios(), ", "))
	if err := o.validateURL(); err != nil {
		faults = append(faults, fmt.Errorf("--url: %w", err))
	}
	fault(o.sessions >= 1 && o.sessions <= maxSessions, "--sessions: must be 1 to %d", maxSessions)
	fault(o.players >= 1 && o.players <= maxSessions, "--players: must be 1 to %d", maxSessions)
	fault(o.publishers >= 0 && o.publishers <= o.sessions, "--publishers: must be 0 to --sessions")
	fault(o.rate > 0 && o.rate <= maxRate, "--rate: must be above 0 and at most %d", maxRate)
	fault(o.duration > 0 && o.duration <= maxDuration, "--duration: must be above 0 and at most %v", maxDuration)
	fault(o.every > 0, "--every: must be above 0")
	fault(o.timeout > 0, "--timeout: must be above 0")
	fault(o.progress >= 0, "--progress: must not be negative")
	fault(o.audioRate >= 0 && o.audioRate <= 50, "--audio-rate: must be 0 to 50")
	fault(o.videoRate >= 0 && o.videoRate <= 60, "--video-rate: must be 0 to 60")
	fault(o.audioRate > 0 || o.videoRate > 0, "--audio-rate, --video-rate: one must be above 0")
	if len(faults) == 0 {
		needed := o.ramp()
		if o.scenario == scenarioStorm {
			needed += o.every
		}
		fault(needed < o.duration, "--duration: %s needs more than %v: lengthen it or raise --rate", o.scenario, needed)
	}
	return errors.Join(faults...)
}

func (o options) validateURL() error {
	u, err := url.Parse(o.url)
	switch {
	case err != nil:
		return err
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
		return errors.New("must be ws://host or wss://host")
	case !o.allowRemote && !isLoopback(u.Hostname()):
		return fmt.Errorf("%s is not this machine; --allow-remote permits it", u.Hostname())
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// ramp returns the time from the first start to the last one. Churn has none: it starts continuously.
func (o options) ramp() time.Duration {
	switch o.scenario {
	case scenarioChurn:
		return 0
	case scenarioFanout:
		return o.interval(o.players - 1)
	default:
		return o.interval(o.sessions - 1)
	}
}

// interval returns the time from a start to the nth one after it.
func (o options) interval(n int) time.Duration {
	return time.Duration(float64(n) / o.rate * float64(time.Second))
}

// interval returns the time between two events at a rate per second, 0 without events.
func interval(rate float64) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}
