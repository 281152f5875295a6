package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/config"
)

func (p program) configCommand(file func() string) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "config", Short: "Print a file to begin with, the effective configuration, or the JSON schema",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	initialize := &cobra.Command{
		Use: "init", Short: "Print a configuration file to begin with", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if all {
				return p.print(config.Example())
			}
			return p.print(config.Starter, nil)
		},
	}
	initialize.Flags().BoolVar(&all, "all", false, "every setting with its default")
	show := &cobra.Command{
		Use: "show", Short: "Print the effective configuration, without secrets", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := p.load(file())
			if err != nil {
				return p.fail(err)
			}
			return p.print(cfg.YAML())
		},
	}
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of the file, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.print(string(config.Schema()), nil) },
	}
	c.AddCommand(initialize, show, schema)
	return c
}

// print prints text unless there was an error.
func (p program) print(text string, err error) error {
	if err == nil {
		_, err = fmt.Fprint(p.stdout, text)
	}
	if err != nil {
		return p.fail(err)
	}
	return nil
}
