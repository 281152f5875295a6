package main

import (
	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
)

func (p program) healthCommand(file func() string) *cobra.Command {
	var (
		address string
		ready   bool
	)
	c := &cobra.Command{
		Use: "healthcheck", Short: "Ask the running gateway for its health", Args: cobra.NoArgs,
		Long: "healthcheck asks the gateway at listen.internal of the configuration whether it is alive, or with --ready\n" +
			"whether it accepts clients. Exit code: 0 for yes, 1 for no.",
		RunE: func(c *cobra.Command, _ []string) error {
			if address == "" {
				cfg, err := config.Load(file(), p.environ)
				if cfg.Listen.Internal == "" { // other faults do not matter here
					return p.fail(err)
				}
				address = cfg.Listen.Internal
			}
			path := "/livez"
			if ready {
				path = "/readyz"
			}
			if err := process.AskHealth(c.Context(), address, path); err != nil {
				return p.fail(err)
			}
			return p.print("ok\n", nil)
		},
	}
	c.Flags().StringVar(&address, "address", "", "`host:port` instead of listen.internal")
	c.Flags().BoolVar(&ready, "ready", false, "whether the gateway accepts clients")
	return c
}
