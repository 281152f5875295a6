// Command wcs-gateway is the signalling server: unmodified Flashphoner WCS applications run on LiveKit.
// Without a subcommand it reads its configuration and runs the gateway. Exit codes: 0 after a signal, 1 after
// a fault or a second signal, 2 after a usage error. Those of the subcommand check are in
// docs/configuration.md#commands.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"wcsgateway/cmd/internal/process"
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
	go process.HandleSignals(signals, cancel, func() { os.Exit(exitFault) })
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	os.Exit(run(ctx, os.Args[1:], program{hangups: hangups, environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// program holds the parts of the process that its commands use.
type program struct {
	hangups        <-chan os.Signal // trigger a reload of the configuration
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}
