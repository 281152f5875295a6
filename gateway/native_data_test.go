package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/probe"
	"wcsgateway/translate"
)

func withNativeData(c *Config) {
	for key, app := range c.Apps {
		app.NativeData = true
		c.Apps[key] = app
	}
	c.Limits.PayloadBytes = 100
}

func wantData(t *testing.T, c *rig.Client, id, payload string) {
	t.Helper()
	m := c.AwaitMatch("data for "+id, func(m rig.Message) bool {
		return m.Name == "notifyStreamEvent" && strings.Contains(m.Raw, `"type":"data"`)
	})
	var got struct {
		MediaSessionID string
		Payload        json.RawMessage
	}
	m.Arg(t, 0, &got)
	if got.MediaSessionID != id || string(got.Payload) != payload {
		t.Errorf("data %s for %s, want %s for %s", got.Payload, got.MediaSessionID, payload, id)
	}
}

// Data of a native participant reaches the stream's players on all pods, each message once and in order.
// Other data does not.
func TestNativeDataReachesPlayersOfAllPodsInOrder(t *testing.T) {
	inBubble(t, apps.RatesOff, withNativeData, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		here := w.connect(t, podA)
		playAV(t, here, "here", "s")
		here.AwaitSDP("here")
		w.mediaIn(podA, "wcs.s", translate.RolePlay)
		here.WantStatus("here", "PLAYING", "")
		rig.Eventually(t, time.Minute, "a probe runs", func() bool { running, _ := w.probe.probes(); return running == 1 })
		target := w.probe.target(0)
		if !target.Idle() {
			t.Error("media is measured without a request")
		}
		for len(w.podEvents) > 0 {
			<-w.podEvents
		}
		receive := func(sender translate.Identity, payload string) {
			target.OnData(translate.Data{Sender: sender, Topic: "chat", Payload: []byte(payload)})
		}
		receive("", `{"own":"by the API"}`)
		receive("wcs:test:pub:0123456789abcdef", `{"own":"by a participant"}`)
		receive("alice", "\xff\xfe")
		receive("alice", `"`+strings.Repeat("x", 200)+`"`)
		for _, payload := range []string{`{"a":[1, 2]}`, `plain text`, `3`} {
			receive("alice", payload)
		}
		for c, id := range map[*rig.Client]string{play: "play", here: "here"} {
			wantData(t, c, id, `{"a":[1, 2]}`)
			wantData(t, c, id, `"plain text"`)
			wantData(t, c, id, `3`)
			if n := c.Count("notifyStreamEvent"); n > 0 {
				t.Errorf("%s: %d more events", id, n)
			}
		}
		if n := len(w.podEvents); n == 0 || n > 3 { // messages that arrive during a query of Redis are sent together
			t.Errorf("%d messages between pods for 3 data messages", n)
		}
		if n := pub.Count("notifyStreamEvent"); n > 0 {
			t.Errorf("the publisher received %d events", n)
		}
		for range 2 * probe.DataBurst {
			receive("alice", "0")
		}
		passed, dropped := w.dataCount(probe.DataPassed), w.dataCount(probe.DataTooMany)
		const refused = 2 // which count, too
		if passed != probe.DataBurst-refused || passed+dropped != 3+2*probe.DataBurst || w.dataCount(probe.DataOwn) != 2 || w.dataCount(probe.DataBinary) != 1 {
			t.Errorf("%v passed, %v were too many, %v own, %v binary", passed, dropped, w.dataCount(probe.DataOwn), w.dataCount(probe.DataBinary))
		}
		pub.Unpublish("pub", "s")
		pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
		rig.Eventually(t, time.Minute, "the probe has ended", func() bool { running, _ := w.probe.probes(); return running == 0 })
	})
}

func (w *world) dataCount(result string) float64 {
	return testutil.ToFloat64(w.pods[podA].metrics.probe.Data.WithLabelValues(result))
}

// One hidden participant measures and receives data.
func TestProbeForwardsNativeData(t *testing.T) {
	inBubble(t, apps.RatesProbe, withNativeData, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		wantRates(t, pub, inbound, 3)
		if running, started := w.probe.probes(); running != 1 || started != 1 {
			t.Errorf("%d hidden participants run, %d were started", running, started)
		}
		target := w.probe.target(0)
		if target.Idle() {
			t.Error("the probe is idle")
		}
		target.OnData(translate.Data{Sender: "alice", Payload: []byte("1")})
		wantData(t, play, "play", "1")
	})
}

// Without the setting no hidden participant joins for data, and one that measures does not forward data.
func TestNativeDataNeedsSetting(t *testing.T) {
	inBubble(t, apps.RatesProbe, nil, func(t *testing.T, w *world) {
		pub, play := w.up(t, podA, podB)
		wantRates(t, pub, inbound, 2)
		w.probe.target(0).OnData(translate.Data{Sender: "alice", Payload: []byte("1")})
		wantRates(t, play, outbound, 2)
		if inbox := play.Names(); strings.Contains(inbox, `"type":"data"`) {
			t.Errorf("the player received %s", inbox)
		}
	})
}

// A native publisher has no pod: the pod of its players subscribes.
func TestPlayersReceiveDataOfNativePublisher(t *testing.T) {
	inBubble(t, apps.RatesOff, withNativeData, func(t *testing.T, w *world) {
		w.sfu.set(func() {
			w.sfu.join("native.cam", translate.Participant{Identity: "alice", Active: true, Tracks: avTracks})
		})
		play := w.connectAs(t, podB, "native")
		playAV(t, play, "play", "cam")
		play.AwaitSDP("play")
		w.mediaIn(podB, "native.cam", translate.RolePlay)
		play.WantStatus("play", "PLAYING", "")
		rig.Eventually(t, time.Minute, "a probe runs", func() bool { running, _ := w.probe.probes(); return running == 1 })
		w.probe.target(0).OnData(translate.Data{Sender: "alice", Payload: []byte("1")})
		wantData(t, play, "play", "1")
		play.Stop("play", "cam")
		play.WantStatus("play", "STOPPED", "Stopped by user")
		rig.Eventually(t, time.Minute, "the probe has ended", func() bool { running, _ := w.probe.probes(); return running == 0 })
	})
}
