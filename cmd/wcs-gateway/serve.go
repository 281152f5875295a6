package main

import (
	"context"
	"errors"
	"strings"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/build"
	"wcsgateway/cmd/internal/check"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
	"wcsgateway/gateway/admin"
	"wcsgateway/state"
)

const unconfigured = "there is neither a file (--config FILE, or the variable " + config.EnvFile + ") nor a WCS_ variable"

// errUnconfigured is for a first start.
var errUnconfigured = errors.New("no configuration: " + unconfigured + `.

The least file, for wcs-gateway --config FILE:

` + indented(config.Least) + `
The same as variables:

` + indented(config.LeastVariables) + "\n`wcs-gateway config init` prints a file to begin with; `wcs-gateway check` examines a configuration")

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// load reads the configuration.
func (p program) load(file string) (config.Config, error) {
	if !config.IsSet(file, p.environ) {
		return config.Config{}, errUnconfigured
	}
	return config.Load(file, p.environ)
}

// serve runs the gateway until ctx is done.
func (p program) serve(ctx context.Context, file string) error {
	cfg, err := p.load(file)
	if err != nil {
		return p.fail(err)
	}
	log := process.Logger(cfg.Log, p.stderr, process.Colours(p.stderr, p.environ))
	state.QuietClientLog(log)
	process.TakeStandardLog(log)
	process.CollectLessOften(p.environ)
	log.Info().Str("build", build.Version(version)).Fields(cfg.Redacted()).Msg("starting")
	for _, w := range cfg.Warnings() {
		log.Warn().Msg(w)
	}
	source := app.Source{
		Load:    func() (config.Config, error) { return config.Load(file, p.environ) },
		Changed: changes(ctx, watched(file, cfg), p.hangups, log), SetLogLevel: process.SetLogLevel,
	}
	look := func(ctx context.Context) []admin.Finding {
		now, err := source.Load()
		if err != nil { // the reload has reported it
			now = cfg
		}
		return check.Findings(check.Look(ctx, now))
	}
	if err := app.Run(ctx, cfg, app.Options{Log: log, Version: build.Version(version), Source: source, Look: look}); err != nil {
		log.Error().Err(err).Msg("ended by fault")
		return exit(exitFault)
	}
	log.Info().Msg("ended")
	return nil
}
