package main

import (
	"context"
	"os"
	"slices"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
)

// watched returns the files whose changes trigger a reload.
func watched(file string, cfg config.Config) []string {
	files := []string{file, cfg.Listen.TLS.Cert, cfg.Listen.TLS.Key, cfg.REST.TLS.Cert, cfg.REST.TLS.Key}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// changes returns a channel that receives a value on SIGHUP and when one of the files changed.
func changes(ctx context.Context, files []string, hangups <-chan os.Signal, log zerolog.Logger) <-chan struct{} {
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // a reload is pending already
		}
	}
	if err := config.Watch(ctx, files, tell); err != nil {
		log.Warn().Err(err).Str("hint", "send SIGHUP to reload").Msg("file changes are not detected")
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
