package main

import (
	"context"
	"os"
	"slices"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
)

// watched are the files whose change a running gateway takes.
func watched(file string, cfg config.Config) []string {
	files := []string{file, cfg.Listen.TLS.Cert, cfg.Listen.TLS.Key, cfg.REST.TLS.Cert, cfg.REST.TLS.Key}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// changes says when the configuration is to be looked at again: on SIGHUP, and when one of the files has changed.
func changes(ctx context.Context, files []string, hangups <-chan os.Signal, log zerolog.Logger) <-chan struct{} {
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // will be looked at anyway
		}
	}
	if err := config.Watch(ctx, files, tell); err != nil {
		log.Warn().Err(err).Msg("changed files are not noticed: send SIGHUP")
	}
	go func() {
		for {
			select {
			case <-hangups:
				tell()
			case <-ctx.Done():
				return
			}
		}
	}()
	return changed
}
