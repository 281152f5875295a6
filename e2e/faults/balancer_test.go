package faults

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Three pods behind haproxy: one is drained, then another is killed.
func TestClientsMoveFromDrainedAndKilledPods(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 3, redis: redis.Addr, webhook: 2, env: map[string]string{
		"WCS_DRAIN_NOTICE": "3s", "WCS_DRAIN_WINDOW": "0s", "WCS_DRAIN_PACE": "1s",
	}})
	h := newClientGroup(t, rig.StartHAProxy(t, pods...), pods)
	for i := range pods {
		if n := len(h.on(i)); n < 15 {
			t.Errorf("pod %d has %d of %d sessions", i, n, groupSize)
		}
	}
	h.openStreams(t)
	dials := keepDialling(t, h.lb.URL)

	pods[0].Terminate()
	since := time.Now()
	moved := h.on(0)
	for _, v := range moved {
		if err := v.c.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
			t.Errorf("client of the drained pod saw %v", err)
		}
	}
	t.Logf("drained: %d clients sent away within %v", len(moved), ms(time.Since(since)))
	h.reconnect(t, 0, moved)
	if err := pods[0].Wait(); err != nil {
		t.Errorf("drained pod ended with %v", err)
	}
	dials.wantNoFailure(t, "while one pod drained")

	lost := h.on(1)
	pods[1].Kill()
	since = time.Now()
	for _, v := range lost {
		_ = v.c.AwaitClosed()
	}
	for _, v := range h.on(2) {
		awaitRoundTrip(t, v.c) // others work on
	}
	h.reconnect(t, 1, lost)
	t.Logf("killed: all streams of %d clients published again after %v", len(lost), ms(time.Since(since)))
	dials.stop()
	dials.wantNoFailure(t, "while another was killed")
	if n := len(h.on(2)); n != groupSize {
		t.Errorf("%d of %d sessions on the last pod", n, groupSize)
	}
	h.closeStreams(t)
	rig.WantClean(t, lk, redis)
	for _, v := range h.clients {
		wantNoMoreStatus(t, v.c)
	}
}

// dialler opens sockets through the load balancer all the time.
type dialler struct {
	stop func()

	mu       sync.Mutex
	dialled  int
	failures []string
}

func keepDialling(t *testing.T, url string) *dialler {
	t.Helper()
	d := &dialler{}
	end, done := make(chan struct{}), make(chan struct{})
	d.stop = sync.OnceFunc(func() {
		close(end)
		<-done
	})
	t.Cleanup(d.stop)
	go func() {
		defer close(done)
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-end:
				return
			case <-again.C:
				d.dial(url)
			}
		}
	}()
	return d
}

func (d *dialler) dial(url string) {
	dialer := websocket.Dialer{HandshakeTimeout: 20 * time.Second}
	ws, res, err := dialer.Dial(url, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialled++
	switch {
	case err == nil:
		_ = res.Body.Close()
		_ = ws.Close() // it was only to see
	case res != nil:
		d.failures = append(d.failures, fmt.Sprintf("%v: %s", err, http.StatusText(res.StatusCode)))
	default:
		d.failures = append(d.failures, err.Error())
	}
}

func (d *dialler) wantNoFailure(t *testing.T, when string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Logf("%d dials %s", d.dialled, when)
	if len(d.failures) > 0 || d.dialled == 0 {
		t.Errorf("%s, %d of %d dials failed: %v", when, len(d.failures), d.dialled, d.failures)
	}
	d.dialled, d.failures = 0, nil
}
