package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/check"
)

func (p program) checkCommand(file func() string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Examine the configuration", Args: cobra.NoArgs,
		Long: "check examines the configuration without connecting to anything. It prints a line for each result.\n" +
			"Exit code: 0 if all is well, 1 after a warning, 2 after a fault.",
		RunE: func(*cobra.Command, []string) error {
			worst, err := p.examine(file(), asJSON)
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
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// checkConfig is the flag --check-config, for service managers: a warning is no reason not to start.
func (p program) checkConfig(file string) error {
	worst, err := p.examine(file, false)
	switch {
	case err != nil:
		return p.fail(err)
	case worst == check.Fault:
		return exit(exitFault)
	default:
		return nil
	}
}

// examine examines the configuration, prints the report, and returns its worst result.
func (p program) examine(file string, asJSON bool) (check.Level, error) {
	cfg, err := p.load(file)
	if errors.Is(err, errUnconfigured) {
		return check.Fault, err
	}
	report := check.Configuration(cfg, err)
	if asJSON {
		return report.Worst(), report.WriteJSON(p.stdout)
	}
	return report.Worst(), report.Write(p.stdout, p.colours(p.stdout))
}
