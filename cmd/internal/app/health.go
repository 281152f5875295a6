package app

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
)

const (
	// firstLook is the maximum time from the start to the first look. Pods that start together look at random
	// times in it.
	firstLook = 30 * time.Second
	// lookInterval is the time between two looks.
	lookInterval = 5 * time.Minute
)

// health looks from time to time whether what the configuration names is in order.
type health struct {
	look  func(context.Context) []admin.Finding
	log   zerolog.Logger
	found atomic.Pointer[[]admin.Finding]
}

// findings returns the results of the last look, nil before the first.
func (h *health) findings() []admin.Finding {
	if found := h.found.Load(); found != nil {
		return *found
	}
	return nil
}

// run looks until ctx is done. It logs a finding once while it lasts.
func (h *health) run(ctx context.Context) {
	for wait := rand.N(firstLook); state.Sleep(ctx, wait); wait = lookInterval {
		found := h.look(ctx)
		if ctx.Err() != nil {
			return // its findings mean nothing
		}
		before := h.findings()
		for _, f := range found {
			if !slices.Contains(before, f) {
				h.log.Warn().Str("check", f.Check).Str("result", f.Level).Str("found", f.Text).Str("hint", f.Hint).Msg("check failed")
			}
		}
		h.found.Store(&found)
	}
}
