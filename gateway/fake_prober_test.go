package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"wcsgateway/translate"
)

// fakeProber is a probe.Prober whose probes report the figures set by the test, each second.
type fakeProber struct {
	mu      sync.Mutex
	figures translate.VideoFigures
	stalled bool // MediaBytes stay what they are
	mute    bool // probes run and cannot measure anything
	away    bool // the publisher is missing
	targets []translate.ProbeTarget
	running int
	most    int // that ran at a time
}

func newFakeProber() *fakeProber {
	return &fakeProber{figures: translate.VideoFigures{Rate: 500_000, FPS: 30, Lost: 3, Width: 640, Height: 360, MediaBytes: 1}}
}

func (p *fakeProber) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// probes returns the numbers of probes that run, and of those that were started.
func (p *fakeProber) probes() (running, started int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, len(p.targets)
}

func (p *fakeProber) target(i int) translate.ProbeTarget {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.targets[i]
}

var errNoPublisher = &translate.Error{Kind: translate.ErrKindNotFound, Op: "probe", Err: errors.New("no such participant")}

func (p *fakeProber) Probe(ctx context.Context, t translate.ProbeTarget, report func(translate.VideoFigures)) error {
	p.set(func() {
		p.targets = append(p.targets, t)
		p.running++
		p.most = max(p.most, p.running)
	})
	defer p.set(func() { p.running-- })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p.mu.Lock()
		away := p.away
		p.mu.Unlock()
		if away {
			return errNoPublisher
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if v, ok := p.next(); ok {
			report(v)
		}
	}
}

func (p *fakeProber) next() (v translate.VideoFigures, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stalled {
		p.figures.MediaBytes += 1000
	}
	return p.figures, !p.mute
}
