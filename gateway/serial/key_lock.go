package serial

import (
	"context"
	"sync"
)

// KeyLock is a lock per key: one caller at a time holds the lock of a key. The zero value is ready for use.
type KeyLock struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the lock is free
}

// Lock waits until it holds the lock of key, or until ctx is done. Then it returns without the lock, and
// unlock does nothing: calls under ctx fail anyway.
func (l *KeyLock) Lock(ctx context.Context, key string) (unlock func()) {
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

func (l *KeyLock) try(key string) (free <-chan struct{}, mine bool) {
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

func (l *KeyLock) unlock(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[key])
	delete(l.held, key)
}
