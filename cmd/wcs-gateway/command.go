package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/build"
	"wcsgateway/cmd/internal/config"
)

// exit is the error of a command that has reported its result itself.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run runs a command until it ends or ctx is done, and returns the exit code.
func run(ctx context.Context, args []string, p program) int {
	root := p.command()
	root.SetArgs(doubleDashes(args))
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	var code exit
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	default:
		fmt.Fprintf(p.stderr, "%v\n`wcs-gateway help` lists the commands and their flags.\n", err)
		return exitUsage
	}
}

// doubleDashes accepts the flags that were once written with one dash.
func doubleDashes(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		switch name, _, _ := strings.Cut(arg, "="); name {
		case "--":
			return args
		case "-config", "-check-config", "-version", "-help":
			args[i] = "-" + arg
		}
	}
	return args
}

// command returns the command line of the program.
func (p program) command() *cobra.Command {
	var file string // flag
	given := func() string { return fileOf(file, p.environ) }
	var onlyCheck bool
	root := &cobra.Command{
		Use:   "wcs-gateway",
		Short: "A WCS signalling server that runs on LiveKit",
		Long: "wcs-gateway is a signalling server: unmodified Flashphoner WCS applications run on LiveKit.\n" +
			"Without a command it serves. Each setting can also be a variable: livekit.apiKey is WCS_LIVEKIT_APIKEY.",
		Version: build.Version(version), SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if onlyCheck {
				return p.checkConfig(given())
			}
			return p.serve(c.Context(), given())
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVar(&file, "config", "", "YAML `file` with the configuration (default: the variable "+config.EnvFile+")")
	root.Flags().BoolVar(&onlyCheck, "check-config", false, "like the command check, with exit code 0 if there are only warnings")
	root.AddCommand(
		&cobra.Command{
			Use: "serve", Short: "Run the gateway until a signal", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return p.serve(c.Context(), given()) },
		},
		p.checkCommand(given),
		p.configCommand(given),
		p.healthCommand(given),
		p.upstreamCommand(given),
		&cobra.Command{
			Use: "hash-password", Short: "Read a password and print its hash for rest.users", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return p.hashPassword() },
		},
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprintln(p.stdout, build.Version(version))
				return err
			},
		},
	)
	root.SetHelpCommand(helpCommand(root))
	return root
}

// helpCommand returns the command help. Unlike that of the library it rejects unknown commands.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [command]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			switch {
			case err != nil:
				return err
			case len(rest) > 0:
				return fmt.Errorf("unknown command %q for %q", rest[0], c.CommandPath())
			}
			c.InitDefaultHelpFlag()
			c.InitDefaultVersionFlag()
			return c.Help()
		},
	}
}

// fileOf returns the configuration file that the flag or the variable names, "" for none.
func fileOf(flag string, environ []string) string {
	if flag != "" {
		return flag
	}
	for _, variable := range environ {
		if file, ok := strings.CutPrefix(variable, config.EnvFile+"="); ok {
			return file
		}
	}
	return ""
}

// fail reports an error and returns the exit code for it.
func (p program) fail(err error) error {
	fmt.Fprintln(p.stderr, err)
	return exit(exitFault)
}
