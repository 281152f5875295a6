package livekit

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"wcsgateway/translate"
)

// heldLimit bounds how long the connection of a player is kept that does not come up. LiveKit ends such a
// participant after 15 s.
const heldLimit = 30 * time.Second

// heldPlayers owns the signalling connections of players that are starting, a limited number. LiveKit ends a
// participant whose connection ends before its media path is up.
type heldPlayers struct {
	places *semaphore.Weighted
	done   sync.WaitGroup

	mu     sync.Mutex
	open   map[translate.Identity]*signalConn // answered players that are not up yet
	closed bool
}

func newHeldPlayers(places int) *heldPlayers {
	return &heldPlayers{places: semaphore.NewWeighted(int64(places)), open: make(map[translate.Identity]*signalConn)}
}

// reserve takes the place of a connection, and returns the function that frees it, nil if there is no place.
func (h *heldPlayers) reserve() (release func()) {
	if !h.places.TryAcquire(1) {
		return nil
	}
	return func() { h.places.Release(1) }
}

// await waits for the place of a connection.
func (h *heldPlayers) await(ctx context.Context) (release func(), err error) {
	if err := h.places.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { h.places.Release(1) }, nil
}

// keep keeps the connection of an answered player until finish, the end of the participant, or heldLimit.
func (h *heldPlayers) keep(id translate.Identity, c *signalConn, release func()) {
	h.mu.Lock()
	h.open[id] = c
	h.done.Add(1)
	closed := h.closed
	h.mu.Unlock()
	limit := time.AfterFunc(heldLimit, c.finish)
	if closed {
		c.finish()
	}
	go func() {
		defer h.done.Done()
		defer release()
		c.drain()
		limit.Stop()
		h.mu.Lock()
		delete(h.open, id)
		h.mu.Unlock()
	}()
}

// discard ends the connection of a player that did not start.
func (h *heldPlayers) discard(c *signalConn, release func()) {
	h.mu.Lock()
	h.done.Add(1)
	h.mu.Unlock()
	go func() {
		defer h.done.Done()
		defer release()
		c.leave()
		c.drain()
	}()
}

// finish closes the connection of a player, if it has one.
func (h *heldPlayers) finish(id translate.Identity) {
	h.mu.Lock()
	c := h.open[id]
	h.mu.Unlock()
	if c != nil {
		c.finish()
	}
}

// close closes all connections.
func (h *heldPlayers) close() {
	h.mu.Lock()
	h.closed = true
	for _, c := range h.open {
		c.finish()
	}
	h.mu.Unlock()
	h.done.Wait() // at most signalClose
}
