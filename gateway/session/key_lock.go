package session

import (
	"context"
	"sync"
)

// keyLock has one at a time deal with what a key names.
type keyLock struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is free
}

// lock waits for its turn, or until ctx is done: then there is nothing to be unlocked, and what comes under ctx fails by itself.
func (l *keyLock) lock(ctx context.Context, key string) (unlock func()) {
	for {
		free, mine := l.try(key)
		if mine {
			return func() { l.unlock(key) }
		}
		select {
		case <-free:
		case <-ctx.Done():
			return func() {}
		}
	}
}

func (l *keyLock) try(key string) (free <-chan struct{}, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ch, held := l.held[key]; held {
		return ch, false
	}
	if l.held == nil {
		l.held = make(map[string]chan struct{})
	}
	l.held[key] = make(chan struct{})
	return nil, true
}

func (l *keyLock) unlock(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[key])
	delete(l.held, key)
}
