package gateway

import (
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"wcsgateway/e2e/rig"
)

// notices gives how often and for how long a pod has measured a stage.
func (w *world) notices(t *testing.T, pod string, s stage) (count int, sum time.Duration) {
	t.Helper()
	text, err := testutil.CollectAndFormat(w.pods[pod].metrics.notices, expfmt.TypeTextPlain, "wcs_notification_seconds")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		var seconds float64
		if n, _ := fmt.Sscanf(line, "wcs_notification_seconds_sum{stage=\""+string(s)+"\"} %g", &seconds); n == 1 {
			sum, found = time.Duration(math.Round(seconds*1e3))*time.Millisecond, found+1
		}
		if n, _ := fmt.Sscanf(line, "wcs_notification_seconds_count{stage=\""+string(s)+"\"} %d", &count); n == 1 {
			found++
		}
	}
	if found != 2 {
		t.Fatalf("stage %s is not told of:\n%s", s, text)
	}
	return count, sum
}

// Each stage of a notification is measured where it passes, by the time that it takes there.
func TestNoticesAreMeasured(t *testing.T) {
	inBubble(t, RatesOff, nil, func(t *testing.T, w *world) {
		pub, near, far := w.connect(t, podA), w.connect(t, podA), w.connect(t, podB)
		w.publishUp(t, pub, "pub", "s")
		w.playUp(t, near, "near", "s")
		w.playUp(t, far, "far", "s")
		synctest.Wait()

		const removal, busy = 30 * time.Millisecond, 80 * time.Millisecond // LiveKit is asked later, which would tell, too
		hold := make(chan struct{})
		w.sfu.set(func() { w.sfu.hold["remove"] = hold })
		w.pods[podB].streams.playersOf("s")[0].sess.loop.Post(func() { time.Sleep(busy) })
		pub.Unpublish("pub", "s")
		near.WantStatus("near", "FAILED", "Stopped by publisher stop")
		time.Sleep(removal)
		w.sfu.set(func() { delete(w.sfu.hold, "remove") })
		close(hold)
		far.WantStatus("far", "FAILED", "Stopped by publisher stop")
		synctest.Wait()

		for _, want := range []struct {
			pod   string
			stage stage
			count int
			sum   time.Duration
		}{
			{podA, stageLocal, 1, 0},
			{podA, stageAnnounce, 1, removal},
			{podA, stageDeliver, 0, 0},
			{podB, stageLocal, 0, 0},
			{podB, stageAnnounce, 0, 0},
			{podB, stageDeliver, 1, busy - removal},
		} {
			if n, sum := w.notices(t, want.pod, want.stage); n != want.count || sum != want.sum {
				t.Errorf("%s on %s: %d in %v, want %d in %v", want.stage, want.pod, n, sum, want.count, want.sum)
			}
		}
		w.wantClean(t)
	})
}

// What is to be done when messages are written is done once they are, and not when they never are.
func TestConnWhenWritten(t *testing.T) {
	tc := newTestConn(t, connConfig())
	const n = 100
	var done atomic.Int32
	for i := range n {
		tc.server.send([]byte("x"))
		tc.server.whenWritten(func() {
			if int(done.Add(1)) != i+1 {
				t.Errorf("%d is out of turn", i)
			}
		})
	}
	for range n {
		if _, _, err := tc.client.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	rig.Eventually(t, 20*time.Second, "all are noted", func() bool { return done.Load() == n })

	cfg := connConfig()
	cfg.MaxQueueBytes = 1 << 16
	tc = newTestConn(t, cfg)
	done.Store(0)
	sent := int32(0)
	for ; !tc.server.ended(); sent++ { // nobody reads
		tc.server.send(make([]byte, 1<<14))
		tc.server.whenWritten(func() { done.Add(1) })
	}
	tc.wantClose(t, closedSlow)
	tc.server.whenWritten(func() { t.Error("written though the socket is closed") })
	tc.server.mu.Lock()
	defer tc.server.mu.Unlock()
	if n := done.Load(); len(tc.server.marks) != 0 || n >= sent {
		t.Errorf("%d of %d are said to be written, %d marks are left", n, sent, len(tc.server.marks))
	}
}
