package gateway

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
)

// notifications returns the count and the sum of a pod's measurements of a stage.
func (w *world) notifications(t *testing.T, pod string, s string) (count int, sum time.Duration) {
	t.Helper()
	text, err := testutil.CollectAndFormat(w.pods[pod].metrics.Notifications, expfmt.TypeTextPlain, "wcs_notification_seconds")
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
		t.Fatalf("stage %s is missing:\n%s", s, text)
	}
	return count, sum
}

// Each stage of a notification is measured on its pod, without the time spent on other pods.
func TestNotificationStagesAreMeasured(t *testing.T) {
	const removal, busy = 30 * time.Millisecond, 80 * time.Millisecond // shorter than the interval at which LiveKit is polled
	inBubble(t, apps.RatesOff, func(c *Config) { c.Limits.ClientLogsPerSecond = 1 }, func(t *testing.T, w *world) {
		env := w.pods[podB].env
		env.Log = env.Log.Hook(zerolog.HookFunc(func(_ *zerolog.Event, _ zerolog.Level, message string) {
			if message == "client log" { // on the session's loop
				time.Sleep(busy)
			}
		}))
		pub, near, far := w.connect(t, podA), w.connect(t, podA), w.connect(t, podB)
		w.publishUp(t, pub, "pub", "s")
		w.playUp(t, near, "near", "s")
		w.playUp(t, far, "far", "s")
		synctest.Wait()

		hold := make(chan struct{})
		w.sfu.set(func() { w.sfu.hold["remove"] = hold })
		far.Send("pushLogs", map[string]any{"logs": "busy"})
		synctest.Wait()
		pub.Unpublish("pub", "s")
		near.WantStatus("near", "FAILED", "Stopped by publisher stop")
		time.Sleep(removal)
		w.sfu.set(func() { delete(w.sfu.hold, "remove") })
		close(hold)
		far.WantStatus("far", "FAILED", "Stopped by publisher stop")
		synctest.Wait()

		for _, want := range []struct {
			pod   string
			stage string
			count int
			sum   time.Duration
		}{
			{podA, "local", 1, 0},
			{podA, "announce", 1, removal},
			{podA, "deliver", 0, 0},
			{podB, "local", 0, 0},
			{podB, "announce", 0, 0},
			{podB, "deliver", 1, busy - removal},
		} {
			if n, sum := w.notifications(t, want.pod, want.stage); n != want.count || sum != want.sum {
				t.Errorf("%s on %s: %d in %v, want %d in %v", want.stage, want.pod, n, sum, want.count, want.sum)
			}
		}
		w.wantClean(t)
	})
}
