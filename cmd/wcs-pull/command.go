package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/build"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
	"wcsgateway/cmd/wcs-pull/app"
	"wcsgateway/state"
)

// fault is an error of a command that is no wrong usage.
type fault struct{ error }

// run runs a command until it ends or ctx is done, and returns the exit code.
func run(ctx context.Context, args []string, p program) int {
	root := p.command()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(p.stderr, err)
	if _, ok := err.(fault); ok { //nolint:errorlint // only the commands' own, which are not wrapped
		return exitFault
	}
	fmt.Fprintln(p.stderr, "`wcs-pull help` lists the commands and their flags.")
	return exitUsage
}

// command returns the command line of the program.
func (p program) command() *cobra.Command {
	var file, address string // flags
	load := func() (config.Worker, error) {
		cfg, err := config.LoadWorker(cmp.Or(file, p.variable(config.WorkerEnvFile)), p.environ)
		if err != nil {
			return cfg, fault{err}
		}
		return cfg, nil
	}
	root := &cobra.Command{
		Use:   "wcs-pull",
		Short: "A worker that reads the sources which clients of WCS gateways play by URL",
		Long: "wcs-pull reads cameras, files and other sources that clients of WCS gateways play by URL, and publishes\n" +
			"them into LiveKit rooms. Each setting can also be a variable: livekit.apiKey is WCS_PULL_LIVEKIT_APIKEY.",
		Version: build.Version(version), SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			return p.serve(c.Context(), cfg)
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVar(&file, "config", "", "YAML `file` with the configuration (default: the variable "+config.WorkerEnvFile+")")
	health := &cobra.Command{
		Use: "healthcheck", Short: "Ask the running worker whether it is alive", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if address == "" {
				cfg, err := load()
				if cfg.Listen == "" { // other faults do not matter here
					return err
				}
				address = cfg.Listen
			}
			if err := process.AskHealth(c.Context(), address, app.PathHealth); err != nil {
				return fault{err}
			}
			return nil
		},
	}
	health.Flags().StringVar(&address, "address", "", "`host:port` instead of listen")
	root.AddCommand(
		health,
		&cobra.Command{
			Use: "check-config", Short: "Report every fault of the configuration, and whether ffmpeg is there", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				cfg, err := load()
				if err != nil {
					return err
				}
				if err := app.Check(cfg); err != nil {
					return fault{err}
				}
				_, err = fmt.Fprintln(p.stdout, "ok")
				return err
			},
		},
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprintln(p.stdout, build.Version(version))
				return err
			},
		},
	)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// serve works until ctx is done.
func (p program) serve(ctx context.Context, cfg config.Worker) error {
	log := process.Logger(cfg.Log, p.stderr, process.Colours(p.stderr, p.environ))
	state.QuietClientLog(log)
	process.TakeStandardLog(log)
	log.Info().Str("build", build.Version(version)).Fields(cfg.Redacted()).Msg("starting")
	if err := app.Run(ctx, cfg, log); err != nil {
		log.Error().Err(err).Msg("ended by fault")
		return fault{err}
	}
	log.Info().Msg("ended")
	return nil
}

// variable returns the value of a variable of the process, "" without.
func (p program) variable(name string) string {
	for _, v := range p.environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}
