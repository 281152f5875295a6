package livekit

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"wcsgateway/translate"
)

// playSlots bounds the calls of Play that are under way for each publisher: LiveKit answers them only when
// the publisher's tracks are there, and plays of other publishers must not wait for that.
type playSlots struct {
	each int64

	mu sync.Mutex
	of map[playedPublisher]*publisherSlots // of publishers with calls
}

type playedPublisher struct {
	room     translate.RoomName
	identity translate.Identity
}

type publisherSlots struct {
	free  *semaphore.Weighted
	calls int // that have or await a slot
}

func newPlaySlots(each int) *playSlots {
	return &playSlots{each: int64(max(each, 1)), of: make(map[playedPublisher]*publisherSlots)}
}

// acquire waits for a slot as long as ctx allows. The caller calls release.
func (p *playSlots) acquire(ctx context.Context, of playedPublisher) (release func(), err error) {
	p.mu.Lock()
	slots := p.of[of]
	if slots == nil {
		slots = &publisherSlots{free: semaphore.NewWeighted(p.each)}
		p.of[of] = slots
	}
	slots.calls++
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if slots.calls--; slots.calls == 0 {
			delete(p.of, of)
		}
	}
	if err := slots.free.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() {
		slots.free.Release(1)
		leave()
	}, nil
}
