package gateway

import (
	"context"
	"errors"
	"os"
	"sync"

	"wcsgateway/translate"
)

// fakeCamera is a snapshot.Camera that returns the frame set by the test, once the test lets it.
type fakeCamera struct {
	mu    sync.Mutex
	frame translate.KeyFrame
	err   error
	hold  chan struct{} // not nil: KeyFrame waits until it is closed
	asked chan translate.ProbeTarget
}

func newFakeCamera() *fakeCamera {
	bars, err := os.ReadFile("snapshot/testdata/bars.vp8")
	return &fakeCamera{frame: translate.KeyFrame{Mime: "video/VP8", Data: bars}, err: err, asked: make(chan translate.ProbeTarget, 1000)}
}

func (c *fakeCamera) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *fakeCamera) KeyFrame(ctx context.Context, t translate.ProbeTarget) (translate.KeyFrame, error) {
	c.mu.Lock()
	hold := c.hold
	c.mu.Unlock()
	c.asked <- t
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return translate.KeyFrame{}, &translate.Error{Kind: translate.ErrKindUnavailable, Op: "key frame", Err: errors.Join(ctx.Err())}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frame, c.err
}
