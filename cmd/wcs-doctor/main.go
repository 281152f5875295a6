// Command wcs-doctor reports whether an app that runs on a WCS server works on the gateway
// (docs/migrate-from-wcs.md#will-my-app-work). It reads transcripts of sessions, the properties of the WCS
// server and access logs, and connects to nothing. What it reports of the gateway is read from the documents.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/build"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version string

// Exit codes.
const (
	exitOK        = 0
	exitAttention = 1 // something is not served, or responses differ
	exitUsage     = 2 // also of inputs that cannot be read
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

var errNoInput = errors.New("no input: name a file with --transcripts, --properties or --log")

// run returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	code := exitOK
	c := command(&code)
	c.SetArgs(args)
	c.SetOut(stdout)
	c.SetErr(stderr)
	if err := c.Execute(); err != nil {
		fmt.Fprintf(stderr, "wcs-doctor: %s\n", printable(err.Error()))
		return exitUsage
	}
	return code
}

func command(code *int) *cobra.Command {
	var in inputs
	var asJSON, onlyConfig bool
	c := &cobra.Command{
		Use: "wcs-doctor", Short: "Report whether an app of a WCS server works on the gateway", Args: cobra.NoArgs,
		Long: "wcs-doctor reads what an app uses of its WCS server, and prints how the gateway serves each command, field, event,\n" +
			"REST call, hook and property, what to configure, where the WCS server's responses differ from the gateway's, and a\n" +
			"first configuration file. It connects to nothing.\n" +
			"Exit code: 0 if all that the app uses is served, at least in part, and responses are the same; 1 if not; 2 after a\n" +
			"usage error or an input that cannot be read.",
		Example: "  wcs-gateway upstream transcripts >transcripts.jsonl\n" +
			"  wcs-doctor --transcripts transcripts.jsonl --properties flashphoner.properties --log access.log\n" +
			"  wcs-doctor --transcripts transcripts.jsonl --print-config >gateway.yaml",
		Version: build.Version(version), SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if in.empty() {
				return errNoInput
			}
			r, err := examine(in)
			if err != nil {
				return err
			}
			if r.attention() {
				*code = exitAttention
			}
			switch {
			case onlyConfig:
				_, err = io.WriteString(c.OutOrStdout(), r.Config)
			case asJSON:
				err = r.writeJSON(c.OutOrStdout())
			default:
				err = r.write(c.OutOrStdout())
			}
			return err
		},
	}
	c.SetVersionTemplate("{{.Version}}\n")
	c.Flags().StringArrayVar(&in.transcripts, "transcripts", nil, "`file` with transcripts, as `wcs-gateway upstream transcripts` prints them; can be repeated")
	c.Flags().StringVar(&in.properties, "properties", "", "`file` flashphoner.properties of the WCS server")
	c.Flags().StringArrayVar(&in.logs, "log", nil, "access log of the WCS server's REST API, of a proxy or of a backend: any `file` with requests such as \"POST /path HTTP/1.1\"; can be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&onlyConfig, "print-config", false, "print the configuration file only")
	c.MarkFlagsMutuallyExclusive("json", "print-config")
	return c
}
