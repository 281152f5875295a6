package main

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// redisTick is the interval at which TTLs are advanced.
const redisTick = time.Second

// startRedis starts a Redis in this process. Its TTLs do not expire unless runDown is called.
func startRedis(address string) (*miniredis.Miniredis, error) {
	r := miniredis.NewMiniRedis()
	if err := r.StartAddr(address); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	return r, nil
}

// runDown advances the TTLs of r with the clock until ctx is done. miniredis does not do so itself, and a
// dead gateway's lease would never expire. Keys expire up to one redisTick early or late.
func runDown(ctx context.Context, r *miniredis.Miniredis) error {
	tick := time.NewTicker(redisTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := time.Now()
			r.FastForward(now.Sub(last))
			last = now
		}
	}
}
