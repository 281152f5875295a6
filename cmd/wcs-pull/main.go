// Command wcs-pull is a worker: it reads the cameras, files and other sources that clients of WCS gateways
// play by URL, and publishes them into LiveKit rooms (docs/pull.md#workers). Without a subcommand it reads
// its configuration and works. Exit codes: 0 after a signal, 1 after a fault or a second signal, 2 after a
// usage error.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"wcsgateway/cmd/internal/process"
	"wcsgateway/cmd/wcs-pull/source"
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
	if err := source.Protect(); err != nil {
		_, _ = io.WriteString(os.Stderr, "wcs-pull: "+err.Error()+"\n")
		os.Exit(exitFault)
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go process.HandleSignals(signals, cancel, func() { os.Exit(exitFault) })
	os.Exit(run(ctx, os.Args[1:], program{environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr}))
}

// program holds the parts of the process that its commands use.
type program struct {
	environ        []string
	stdout, stderr io.Writer
}
