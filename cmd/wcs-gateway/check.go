package main

import (
	"errors"
	"fmt"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/check"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
	"wcsgateway/state"
)

func (p program) checkCommand(file func() string) *cobra.Command {
	var asJSON, connect, media bool
	var gateway string
	c := &cobra.Command{
		Use: "check", Short: "Examine the configuration, and with --connect what it names", Args: cobra.NoArgs,
		Long: "check examines the configuration without connecting to anything, and prints a line for each result.\n" +
			"With --connect it also tries LiveKit, Redis, certificates, backends, upstreams, and a running gateway. With\n" +
			"--media it also publishes and plays a stream through a gateway. It calls no hook, and removes what it makes\n" +
			"in LiveKit and Redis.\n" +
			"Exit code: 0 if all is well, 1 after a warning, 2 after a fault.",
		RunE: func(c *cobra.Command, _ []string) error {
			var further func(config.Config) []check.Result
			if connect || media || gateway != "" {
				state.QuietClientLog(zerolog.Nop())
				further = func(cfg config.Config) []check.Result {
					if media && gateway == "" {
						gateway = check.Local(cfg)
					}
					return check.Connect(c.Context(), cfg, gateway)
				}
			}
			worst, err := p.examine(file(), asJSON, further)
			if err != nil {
				fmt.Fprintln(p.stderr, err)
				worst = check.Fault
			}
			if worst == check.OK {
				return nil
			}
			return exit(worst)
		},
	}
	c.Flags().BoolVar(&connect, "connect", false, "connect to what the configuration names")
	c.Flags().BoolVar(&media, "media", false, "like --connect, and publish and play a stream through a gateway on this machine")
	c.Flags().StringVar(&gateway, "gateway", "", "like --media, through the gateway at this `address`, such as wss://wcs.example.com:8443")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// checkConfig is the flag --check-config, for service managers: a warning is no reason not to start.
func (p program) checkConfig(file string) error {
	worst, err := p.examine(file, false, nil)
	switch {
	case err != nil:
		return p.fail(err)
	case worst == check.Fault:
		return exit(exitFault)
	default:
		return nil
	}
}

// examine examines the configuration and, if it has no fault, runs a further examination. It prints the
// report and returns its worst result.
func (p program) examine(file string, asJSON bool, further func(config.Config) []check.Result) (check.Level, error) {
	var report check.Report
	cfg, err := p.load(file)
	switch unset := errors.Is(err, errUnconfigured); {
	case unset && asJSON:
		report.Add(check.Result{Level: check.Fault, Check: "configuration", Text: unconfigured, Hint: "wcs-gateway config init prints a file to begin with"})
	case unset:
		return check.Fault, err
	default:
		report = check.Configuration(cfg, err)
	}
	if further != nil && report.Worst() != check.Fault {
		report.Add(further(cfg)...)
	}
	if asJSON {
		return report.Worst(), report.WriteJSON(p.stdout)
	}
	return report.Worst(), report.Write(p.stdout, process.Colours(p.stdout, p.environ))
}
