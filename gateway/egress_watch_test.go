package gateway

import (
	"context"
	"testing"
	"time"

	"wcsgateway/gateway/egress"
	"wcsgateway/translate"
)

// A recording that is stopped before its id is known, while the session is resumed elsewhere, is stopped once
// it has started.
func TestRecordingIsStoppedAfterResumeElsewhere(t *testing.T) {
	for name, begins := range map[string]bool{"begins": true, "does not begin": false} {
		t.Run(name, func(t *testing.T) {
			withEgress(t, func(t *testing.T, w *world) {
				answer := make(chan struct{})
				w.files.set(func() { w.files.hold["start"] = answer })
				c, token := w.keptAlive(t, podA, "defaultApp", "")
				w.publishFor(t, c, "s", recorded)
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if err := w.pods[podB].admin.StopRecording(ctx, "s"); err != nil {
					t.Fatal(err)
				}
				c.Drop()
				back, _ := w.keptAlive(t, podB, "defaultApp", token)
				if st := back.WantStatus("s", "PUBLISHING", ""); st.Record {
					t.Errorf("resumed %+v", st)
				}
				if begins { // and no webhook comes
					close(answer)
				}
				pass(2 * egress.QueryInterval)
				if got := w.files.stops(); len(got) != len(w.files.requested()) {
					t.Errorf("stopped %v", got)
				}
				if n := back.Count("fail"); n != 0 {
					t.Errorf("unexpected fault: %s", back.Names())
				}
				wantEnd(t, back, "s", "")
			})
		})
	}
}

// After a start that timed out, an egress that is no longer wanted is found and stopped.
func TestUnwantedEgressIsStoppedAfterStartTimedOut(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		w.files.set(func() { w.files.hold["start"] = make(chan struct{}) })
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", recorded)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.pods[podA].admin.StopRecording(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		w.files.set(func() {
			w.files.begin(translate.EgressRequest{Kind: translate.EgressRecord, Room: "wcs.s", Publisher: w.publisherOf("wcs.s")})
		})
		pass(5*time.Second + 2*egress.QueryInterval) // longer than egress.Config.StartTimeout
		if got := w.files.stops(); len(got) != 1 {
			t.Errorf("stopped %v", got)
		}
		if n := c.Count("fail"); n != 0 {
			t.Errorf("unexpected fault: %s", c.Names())
		}
		wantEnd(t, c, "s", "")
	})
}

// LiveKit is asked nothing about recordings that have ended: the stream may last for days.
func TestEndedRecordingsAreNotPolled(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", nil)
		g := w.pods[podA]
		for range 5 {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			if _, err := g.admin.StartRecording(ctx, "s", ""); err != nil {
				t.Error(err)
			}
			if err := g.admin.StopRecording(ctx, "s"); err != nil {
				t.Error(err)
			}
			cancel()
			pass(2 * egress.QueryInterval)
		}
		before := w.files.polls()
		pass(10 * egress.QueryInterval)
		if n := w.files.polls(); n != before {
			t.Errorf("%d polls, %d when the recordings had ended", n, before)
		}
		c.Unpublish("s", "s")
		c.WantStatus("s", "UNPUBLISHED", "Stopped by publisher stop")
	})
}
