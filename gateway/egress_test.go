package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/rtmp"
	"wcsgateway/gateway/session"
	"wcsgateway/translate"
)

const rtmpURL = "rtmp://live.example.com/app"

// recording allows the applications to record and send to one RTMP server.
func recording(c *Config) {
	targets, err := rtmp.Parse([]string{"live.example.com"})
	if err != nil {
		panic(err) // a constant
	}
	c.Egress = egress.Config{Prefix: "/out/", Template: "{mediaSessionId}", StartTimeout: 4 * time.Second}
	c.KeepAliveGrace, c.Limits.Detached = time.Minute, 10
	app := c.Apps["defaultApp"]
	app.Record, app.RTMPHosts = true, targets
	c.Apps["defaultApp"] = app
}

func withEgress(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	inBubble(t, apps.RatesOff, recording, test)
}

// publishFor publishes with further members on pod A until the stream is up and its egress requests are
// answered.
func (w *world) publishFor(t *testing.T, c *rig.Client, id string, extra map[string]any) rig.Status {
	t.Helper()
	c.Send("publishStream", rig.StreamRequest(id, id, offerOf(t, "publish"), true, extra))
	c.AwaitSDP(id)
	w.allUp()
	st := c.WantStatus(id, "PUBLISHING", "")
	synctest.Wait()
	return st
}

var (
	recorded    = map[string]any{"record": true}
	republished = map[string]any{"rtmpUrl": rtmpURL}
)

func wantEnd(t *testing.T, c *rig.Client, id, file string) {
	t.Helper()
	c.Unpublish(id, id)
	if st := c.WantStatus(id, "UNPUBLISHED", "Stopped by publisher stop"); st.RecordName != file || st.Record != (file != "") {
		t.Errorf("UNPUBLISHED %+v, want %q", st, file)
	}
}

func wantErrorEvent(t *testing.T, c *rig.Client, info string) {
	t.Helper()
	c.AwaitMatch("ErrorEvent", func(m rig.Message) bool { return m.Name == "fail" && strings.Contains(m.Raw, `"info":"`+info+`"`) })
}

// Webhooks come twice, late and out of order, and to the wrong pod.
func TestRecordingFollowsDisorderedWebhooks(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		if st := w.publishFor(t, c, "s", recorded); !st.Record || st.RecordName != "" {
			t.Errorf("PUBLISHING %+v", st)
		}
		if got := w.files.requested(); len(got) != 1 || got[0].File != "/out/s.mp4" || got[0].Room != "wcs.s" {
			t.Fatalf("egress request %+v", got)
		}
		started, active := w.files.become(t, "EG_0", translate.EgressStarting), w.files.become(t, "EG_0", translate.EgressActive)
		other := active
		other.Egress.ID, other.Egress.State = "EG_9", translate.EgressFailed
		for _, e := range []translate.Event{active, started, other, active} {
			if result := w.event(podB, e); result != "forwarded" {
				t.Errorf("webhook at the other pod: %s", result)
			}
			synctest.Wait()
		}
		wantEnd(t, c, "s", "s.mp4")
		if got := w.files.stops(); !slices.Equal(got, []string{"EG_0"}) {
			t.Errorf("stopped %v", got)
		}
		if result := w.event(podB, active); result != "stale" {
			t.Errorf("webhook of a stream that is over: %s", result)
		}
	})
}

// Without webhooks, LiveKit is queried.
func TestRecordingIsQueriedWithoutWebhooks(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", recorded)
		w.files.set(func() { w.files.fail["stop"] = egressError("stop", translate.ErrKindUnavailable) }) // which would also report it
		w.files.become(t, "EG_0", translate.EgressActive)
		time.Sleep(egress.QueryInterval + time.Second) // of the bubble's clock
		wantEnd(t, c, "s", "s.mp4")

		w.publishFor(t, c, "t", republished)
		w.files.become(t, "EG_1", translate.EgressFailed)
		c.WantStatus("t", "FAILED", "Failed by RTMP writer error")
	})
}

// The key of an RTMP address is a secret that LiveKit and the egress service may quote.
func TestLogHasNoRTMPKey(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		book := &logBook{}
		w.pods[podA].env.Log = zerolog.New(book)
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", republished)
		failed := w.files.become(t, "EG_0", translate.EgressFailed)
		failed.Egress.Error = "cannot connect to " + rtmpURL + "/s"
		w.event(podA, failed)
		c.WantStatus("s", "FAILED", "Failed by RTMP writer error")
		w.files.set(func() {
			w.files.fail["start"] = &translate.Error{Kind: translate.ErrKindRefused, Op: "start", Err: errors.New("bad url " + rtmpURL + "/t")}
		})
		c.Send("publishStream", rig.StreamRequest("t", "t", offerOf(t, "publish"), true, republished))
		c.AwaitSDP("t")
		w.allUp()
		c.AwaitMatch("FAILED", func(m rig.Message) bool { return strings.Contains(m.Raw, "Failed by RTMP writer error") })
		synctest.Wait()
		for message, cause := range map[string]string{
			"egress failed":      "see the log of",
			"egress not started": "refused: see the log of",
		} {
			if lines := book.lines(message); len(lines) != 1 || !strings.HasPrefix(fmt.Sprint(lines[0]["cause"]), cause) {
				t.Errorf("%s: %v", message, lines)
			}
		}
		if log := book.buf.String(); strings.Contains(log, rtmpURL) {
			t.Errorf("the log has the address: %s", log)
		}
	})
}

// The reply to the stop can be the first report that there is a file.
func TestStopReplyReportsRecording(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		w.publishFor(t, c, "active", recorded)
		w.files.become(t, "EG_0", translate.EgressActive)
		wantEnd(t, c, "active", "active.mp4")
		w.publishFor(t, c, "never", recorded)
		wantEnd(t, c, "never", "")
	})
}

// An egress service that hangs delays the client only briefly. An egress that is stopped before its start is
// answered is stopped later.
func TestSlowEgressServiceDelaysClientBriefly(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", recorded)
		w.event(podA, w.files.become(t, "EG_0", translate.EgressActive))
		w.files.set(func() { w.files.hold["stop"] = make(chan struct{}) })
		since := time.Now()
		wantEnd(t, c, "s", "s.mp4")
		if took := time.Since(since); took > session.UndoWait {
			t.Errorf("UNPUBLISHED after %v", took)
		}
		w.files.set(func() { close(w.files.hold["stop"]); delete(w.files.hold, "stop") })

		answer := make(chan struct{})
		w.files.set(func() { w.files.hold["start"] = answer })
		w.publishFor(t, c, "late", recorded)
		since = time.Now()
		wantEnd(t, c, "late", "")
		if took := time.Since(since); took > 100*time.Millisecond {
			t.Errorf("UNPUBLISHED after %v", took)
		}
		close(answer)
		synctest.Wait()
		if got := w.files.stops(); !slices.Contains(got, "EG_1") {
			t.Errorf("stopped %v", got)
		}
	})
}

// Without an answer the stream continues. If the egress service has started nevertheless, the recording
// counts.
func TestStreamGoesOnWithoutEgressService(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		w.files.set(func() { w.files.hold["start"] = make(chan struct{}) })
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", recorded)
		wantErrorEvent(t, c, "Recording of s has failed")
		w.files.set(func() {
			w.files.begin(translate.EgressRequest{Room: "wcs.s", Kind: translate.EgressRecord, File: "/out/s.mp4", Publisher: w.publisherOf("wcs.s")})
		})
		w.event(podA, w.files.become(t, "EG_0", translate.EgressActive))
		wantEnd(t, c, "s", "s.mp4")

		w.publishFor(t, c, "t", republished)
		c.WantStatus("t", "FAILED", "Failed by RTMP writer error")
		if n := testutil.ToFloat64(w.pods[podA].metrics.Egresses.WithLabelValues("record", "failed")); n != 1 {
			t.Errorf("%v failures counted", n)
		}
	})
}

// publisherOf returns the publisher in a room.
func (w *world) publisherOf(room translate.RoomName) translate.Identity {
	return w.sfu.inRoom(room, translate.RolePublish)[0]
}

// An egress ends without a stop by the gateway: at a limit, or stopped at LiveKit.
func TestEarlyEndOfEgressIsReported(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", recorded)
		w.event(podA, w.files.become(t, "EG_0", translate.EgressComplete))
		wantErrorEvent(t, c, "Recording of s has ended")
		wantEnd(t, c, "s", "s.mp4")
		w.publishFor(t, c, "t", republished)
		if got := w.files.requested()[1].URL; got != rtmpURL+"/rtmp_t" {
			t.Errorf("sent to %s", got)
		}
		w.event(podA, w.files.become(t, "EG_1", translate.EgressComplete))
		c.WantStatus("t", "FAILED", "Failed by RTMP writer error")
		if got := w.files.stops(); len(got) != 0 {
			t.Errorf("stopped %v", got)
		}
	})
}

// A pod makes a bounded number of start requests at a time; others are queued, within the same deadline.
func TestEgressStartsAreBounded(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		w.files.set(func() { w.files.hold["start"] = make(chan struct{}) })
		for client := range 2 {
			c := w.connect(t, podA)
			for i := range egress.MaxStarting/2 + 2 {
				id := fmt.Sprintf("s-%d-%d", client, i)
				c.Send("publishStream", rig.StreamRequest(id, id, offerOf(t, "publish"), true, recorded))
				c.AwaitSDP(id)
				w.allUp()
				c.WantStatus(id, "PUBLISHING", "")
			}
		}
		synctest.Wait()
		w.files.set(func() {
			if w.files.starting != egress.MaxStarting {
				t.Errorf("%d starts are under way", w.files.starting)
			}
		})
		time.Sleep(5 * time.Second)
		if n := testutil.ToFloat64(w.pods[podA].metrics.Egresses.WithLabelValues("record", "failed")); n != egress.MaxStarting+4 {
			t.Errorf("%v failures counted", n)
		}
	})
}

// The session is resumed on another pod before the start is answered: that pod finds the egress, or that
// there is none.
func TestResumeFindsEgressWhoseStartIsPending(t *testing.T) {
	for name, begins := range map[string]bool{"begins": true, "does not begin": false} {
		t.Run(name, func(t *testing.T) {
			withEgress(t, func(t *testing.T, w *world) {
				answer := make(chan struct{})
				w.files.set(func() { w.files.hold["start"] = answer })
				c, token := w.keptAlive(t, podA, "defaultApp", "")
				w.publishFor(t, c, "s", recorded)
				c.Drop()
				back, _ := w.keptAlive(t, podB, "defaultApp", token)
				if st := back.WantStatus("s", "PUBLISHING", ""); !st.Record || st.RecordName != "" {
					t.Errorf("resumed %+v", st)
				}
				file := ""
				if begins {
					file = "s.mp4"
					close(answer)
					synctest.Wait()
					w.event(podA, w.files.become(t, "EG_0", translate.EgressActive))
					synctest.Wait()
				} else {
					wantErrorEvent(t, back, "Recording of s has failed")
				}
				wantEnd(t, back, "s", file)
				if got := w.files.stops(); len(got) != len(w.files.requested()) {
					t.Errorf("stopped %v", got)
				}
			})
		})
	}
}

// A client that resumes gets the name of its recording, even if the stream ended while it was away.
func TestResumedClientReceivesRecordNameOfEndedStream(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c, token := w.keptAlive(t, podA, "defaultApp", "")
		w.publishFor(t, c, "s", recorded)
		w.event(podA, w.files.become(t, "EG_0", translate.EgressActive))
		c.Drop()
		synctest.Wait()
		w.event(podA, translate.Event{Kind: translate.EventLeft, Room: "wcs.s", Identity: w.publisherOf("wcs.s"), Reason: translate.EndTimeout})
		synctest.Wait()
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		if st := back.WantStatus("s", "FAILED", "Failed by ICE keep alive"); st.RecordName != "s.mp4" {
			t.Errorf("status %+v", st)
		}
	})
}

// StartRecording and StopRecording work on any pod.
func TestRecordingIsStartedAndStoppedOnAnyPod(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c, other := w.connect(t, podA), w.connectAs(t, podA, "native")
		w.publishFor(t, c, "s", nil)
		other.Send("publishStream", rig.StreamRequest("x", "x", offerOf(t, "publish"), true, nil))
		other.AwaitSDP("x")
		w.allUp()
		other.WantStatus("x", "PUBLISHING", "")
		for i, pod := range []string{podA, podB} {
			g := w.pods[pod]
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			start := func(name string, template translate.FileTemplate, file string, want error) {
				t.Helper()
				if got, err := g.admin.StartRecording(ctx, name, template); got != file || !errors.Is(err, want) {
					t.Errorf("start %s on %s: %q, %v, want %q, %v", name, pod, got, err, file, want)
				}
			}
			stop := func(name string, want error) {
				t.Helper()
				if err := g.admin.StopRecording(ctx, name); !errors.Is(err, want) {
					t.Errorf("stop %s on %s: %v, want %v", name, pod, err, want)
				}
				synctest.Wait()
			}
			start("nobody", "", "", admin.ErrNoSuchStream)
			start("x", "", "", admin.ErrRecordingForbidden)
			start("s", "../{streamName}", "", translate.ErrFileTemplate)
			stop("nobody", admin.ErrNoSuchStream)
			stop("s", admin.ErrNotRecorded)
			before := len(w.files.requested())
			start("s", "{streamName}", "s.mp4", nil)
			start("s", "again/{streamName}", "again/s.mp4", nil) // which ends the first
			synctest.Wait()
			if got := w.files.stops(); len(got) != i*2+1 {
				t.Errorf("stopped %v", got)
			}
			w.event(podB, w.files.become(t, "EG_"+string(rune('0'+before+1)), translate.EgressActive))
			synctest.Wait()
			stop("s", nil)
			stop("s", admin.ErrNotRecorded)
			w.files.set(func() { w.files.fail["start"] = egressError("start", translate.ErrKindUnavailable) })
			start("s", "", "", admin.ErrRecordingFailed)
			w.files.set(func() { delete(w.files.fail, "start") })
		}
		if n := c.Count("notifyStreamStatusEvent"); n != 0 {
			t.Errorf("messages to the client: %s", c.Names())
		}
		w.dropEventsTo(podA)
		if _, err := w.pods[podB].admin.StartRecording(context.Background(), "s", ""); !errors.Is(err, admin.ErrPodUnreachable) {
			t.Errorf("silent pod: %v", err)
		}
	})
}

// Backends receive recordings in the stream's events, and their failures as ErrorEvent.
func TestBackendReceivesRecordingsAndFailures(t *testing.T) {
	t.Parallel()
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Record = true })
	for _, g := range w.pods {
		cfg := egress.Config{Template: "{streamName}", StartTimeout: 4 * time.Second} // set before the first client
		g.env.Config.Egress = cfg
		g.env.Egress = egress.New(egress.Deps{
			Config: cfg, Client: w.files, Cleanup: g.env.Cleanup, Egresses: g.metrics.Egresses, Context: g.env.Context,
		})
	}
	c := w.connect(t, podA)
	publish := func(id string) {
		c.Send("publishStream", rig.StreamRequest(id, id, offerOf(t, "publish"), true, recorded))
		c.AwaitSDP(id)
		w.allUp()
		c.WantStatus(id, "PUBLISHING", "")
		if h := w.backend.AwaitStatus("StreamStatusEvent", "PUBLISHING"); string(h.Body["record"]) != "true" || h.Text("recordName") != "" {
			t.Errorf("%s", h.Raw)
		}
	}
	publish("s")
	rig.Eventually(t, 20*time.Second, "egress", func() bool { return len(w.files.requested()) == 1 })
	w.event(podA, w.files.become(t, "EG_0", translate.EgressActive))
	wantUnpublished := func(id, file string) {
		c.Unpublish(id, id)
		if h := w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED"); h.Text("recordName") != file {
			t.Errorf("%s", h.Raw)
		}
	}
	wantUnpublished("s", "s.mp4")
	w.files.set(func() { w.files.fail["start"] = egressError("start", translate.ErrKindUnavailable) })
	publish("t")
	if h := w.backend.Await("ErrorEvent"); h.Text("info") != "Recording of t has failed" {
		t.Errorf("%s", h.Raw)
	}
	wantUnpublished("t", "")
}

// A recording that was stopped stays stopped after a resume, and its end is not reported.
func TestStoppedRecordingStaysStoppedAfterResume(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c, token := w.keptAlive(t, podA, "defaultApp", "")
		w.publishFor(t, c, "s", recorded)
		active := w.files.become(t, "EG_0", translate.EgressActive)
		w.event(podA, active)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.pods[podB].admin.StopRecording(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		c.Drop()
		synctest.Wait()
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		if st := back.WantStatus("s", "PUBLISHING", ""); st.Record || st.RecordName != "s.mp4" {
			t.Errorf("resumed %+v", st)
		}
		w.event(podA, w.files.become(t, "EG_0", translate.EgressComplete))
		synctest.Wait()
		if n := back.Count("fail"); n != 0 {
			t.Errorf("unexpected fault: %s", back.Names())
		}
		wantEnd(t, back, "s", "s.mp4")
	})
}

// LiveKit still reports the recording that was replaced, before the start of the new one is answered.
func TestReportsOfReplacedRecordingAreIgnored(t *testing.T) {
	for name, ended := range map[string]translate.EgressState{"still active": translate.EgressActive, "ended": translate.EgressComplete} {
		t.Run(name, func(t *testing.T) {
			withEgress(t, func(t *testing.T, w *world) {
				c := w.connect(t, podA)
				w.publishFor(t, c, "s", recorded)
				w.event(podA, w.files.become(t, "EG_0", translate.EgressActive))
				synctest.Wait()
				answer := make(chan struct{})
				w.files.set(func() { w.files.hold["start"] = answer })
				restarted := make(chan error)
				go func() {
					_, err := w.pods[podA].admin.StartRecording(t.Context(), "s", "again-{streamName}")
					restarted <- err
				}()
				synctest.Wait()
				w.event(podA, w.files.become(t, "EG_0", ended))
				synctest.Wait()
				w.files.set(func() { delete(w.files.hold, "start") })
				close(answer)
				if err := <-restarted; err != nil {
					t.Fatal(err)
				}
				w.event(podA, w.files.become(t, "EG_1", translate.EgressActive))
				synctest.Wait()
				if n := c.Count("fail"); n != 0 {
					t.Errorf("%d unexpected faults: %s", n, c.Names())
				}
				c.Unpublish("s", "s")
				if st := c.WantStatus("s", "UNPUBLISHED", "Stopped by publisher stop"); st.RecordName != "again-s.mp4" {
					t.Errorf("recordName %q", st.RecordName)
				}
				synctest.Wait()
				if stops := w.files.stops(); !slices.Contains(stops, "EG_0") || !slices.Contains(stops, "EG_1") {
					t.Errorf("stopped: %v", stops)
				}
			})
		})
	}
}
