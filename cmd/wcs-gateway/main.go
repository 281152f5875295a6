// Command wcs-gateway is the signalling server: unmodified Flashphoner WCS applications run on LiveKit. It
// reads its configuration and runs the gateway. Exit codes: 0 after a signal, 1 after a fault or a second
// signal, 2 after a usage error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/state"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version string

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go handleSignals(signals, cancel, os.Exit)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), program{hangups, os.Stdout, os.Stderr}))
}

// program holds the parts of the process that run uses.
type program struct {
	hangups        <-chan os.Signal // trigger a reload of the configuration
	stdout, stderr io.Writer
}

// handleSignals drains at the first signal and ends the process at the second.
func handleSignals(signals <-chan os.Signal, drain func(), exit func(code int)) {
	<-signals
	drain()
	<-signals
	exit(exitFault)
}

type options struct {
	file    string
	check   bool
	version bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("wcs-gateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.file, "config", "", "YAML `file` with the configuration (default: the variable "+config.EnvFile+")")
	flags.BoolVar(&o.check, "check-config", false, "print the faults of the configuration, one per line, and exit")
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

// run runs the program until ctx is done, and returns the exit code.
func run(ctx context.Context, args, environ []string, p program) int {
	o, err := parse(args, p.stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case o.version:
		fmt.Fprintln(p.stdout, buildVersion())
		return exitOK
	}
	if o.file == "" {
		o.file = fileFromEnviron(environ)
	}
	cfg, err := config.Load(o.file, environ)
	if err == nil && o.check {
		err = app.Check(cfg)
	}
	switch {
	case err != nil && o.check:
		fmt.Fprintln(p.stdout, err)
		return exitFault
	case err != nil:
		fmt.Fprintln(p.stderr, err)
		return exitFault
	case o.check:
		for _, w := range cfg.Warnings() {
			fmt.Fprintln(p.stdout, "warning: "+w)
		}
		fmt.Fprintln(p.stdout, "configuration is valid")
		return exitOK
	}
	log := newLogger(cfg.Log, p.stderr)
	state.QuietClientLog(log)
	app.TakeStandardLog(log)
	log.Info().Str("build", buildVersion()).Fields(cfg.Redacted()).Msg("starting")
	for _, w := range cfg.Warnings() {
		log.Warn().Msg(w)
	}
	source := app.Source{
		Load:    func() (config.Config, error) { return config.Load(o.file, environ) },
		Changed: changes(ctx, watched(o.file, cfg), p.hangups, log), SetLogLevel: setLogLevel,
	}
	if err := app.Run(ctx, cfg, app.Options{Log: log, Version: buildVersion(), Source: source}); err != nil {
		log.Error().Err(err).Msg("ended by fault")
		return exitFault
	}
	log.Info().Msg("ended")
	return exitOK
}

func fileFromEnviron(environ []string) string {
	for _, variable := range environ {
		if file, ok := strings.CutPrefix(variable, config.EnvFile+"="); ok {
			return file
		}
	}
	return ""
}

// buildVersion returns the version set by the linker, else the commit of the build, else "dev".
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "dev"
}
