package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/session"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// said is a notifyStreamEvent.
type said struct {
	MediaSessionID string          `json:"mediaSessionId"`
	Type           string          `json:"type"`
	Payload        json.RawMessage `json:"payload"`
}

func nextSaid(t *testing.T, c *rig.Client) (s said) {
	t.Helper()
	c.Await("notifyStreamEvent").Arg(t, 0, &s)
	return s
}

func wantSaid(t *testing.T, c *rig.Client, id, typ, payload string) {
	t.Helper()
	if got := nextSaid(t, c); got.MediaSessionID != id || got.Type != typ || string(got.Payload) != payload {
		t.Errorf("told %s %s %s, want %s %s %s", got.MediaSessionID, got.Type, got.Payload, id, typ, payload)
	}
}

func sendEvent(c *rig.Client, id, typ string) {
	c.Send("sendStreamEvent", map[string]any{"mediaSessionId": id, "type": typ})
}

// wantSilence is wantQuiet for stream events, too.
func wantSilence(t *testing.T, c *rig.Client) {
	t.Helper()
	wantQuiet(t, c)
	if n := c.Count("notifyStreamEvent"); n != 0 {
		t.Errorf("told a stream event: %s", c.Names())
	}
}

// forNatives lets native participants subscribe to the streams of the default application.
func forNatives(c *Config) {
	app := c.Apps["defaultApp"]
	app.Native = apps.NativePublish
	c.Apps["defaultApp"] = app
}

// LiveKit has no work with data that no native participant can receive.
func TestDataStayInTheGatewayWithoutNatives(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "data", "payload": 1})
	wantSaid(t, play, "play", "data", "1")
	pub.Unpublish("pub", "s")
	w.wantClean(t)
	w.sfu.set(func() {
		if len(w.sfu.data) != 0 {
			t.Errorf("sent to LiveKit: %v", w.sfu.data)
		}
	})
}

const ofS = `{"streamName":"s"}`

// What a publisher mutes and says reaches its players on both pods once, in order, with one message for the
// other pod each.
func TestEventsReachPlayersOfBothPodsOnceInOrder(t *testing.T) {
	w := newWorld(t, forNatives)
	pub, far := w.up(t, podA, podB)
	near := w.connect(t, podA)
	w.playUp(t, near, "near", "s")
	for len(w.told) > 0 {
		<-w.told
	}
	for _, step := range []struct{ frame, typ, payload string }{
		{`{"mediaSessionId":"pub","type":"audioMuted"}`, "audioMuted", ofS},
		{`{"mediaSessionId":"pub","type":"data","payload":{ "a": 1.50, "b":"<é\u0041>" }}`, "data", `{ "a": 1.50, "b":"<é\u0041>" }`},
		{`{"mediaSessionId":"pub","type":"videoMuted"}`, "videoMuted", ofS},
		{`{"mediaSessionId":"pub","type":"audioUnmuted"}`, "audioUnmuted", ofS},
		{`{"mediaSessionId":"pub","type":"data"}`, "data", `null`},
	} {
		pub.SendRaw(`{"message":"sendStreamEvent","data":[` + step.frame + `]}`)
		wantSaid(t, far, "play", step.typ, step.payload)
		wantSaid(t, near, "near", step.typ, step.payload)
		if n := len(w.told); n != 1 {
			t.Errorf("%s: %d messages between pods", step.typ, n)
		}
		data := 0 // mutes are in the record
		if step.typ == "data" {
			data = 1
		}
		if e := <-w.told; e.Kind != state.EventChanged || len(e.Data) != data {
			t.Errorf("%s: told %+v", step.typ, e)
		}
	}
	// No change, not a publisher, unknown: no client is notified.
	sendEvent(pub, "pub", "videoMuted")
	sendEvent(pub, "pub", "somethingElse")
	sendEvent(far, "play", "audioMuted")
	sendEvent(far, "pub", "audioMuted")
	wantSilence(t, pub)
	wantSilence(t, far)
	wantSilence(t, near)
	room, id := w.sfu.only(t, translate.RolePublish)
	rig.Eventually(t, 20*time.Second, "LiveKit knows", func() bool {
		w.sfu.mu.Lock()
		defer w.sfu.mu.Unlock()
		return w.sfu.rooms[room][id].Mutes == translate.Mutes{Video: true, Changes: 3} &&
			fmt.Sprint(w.sfu.data) == fmt.Sprint([]string{`{ "a": 1.50, "b":"<é\u0041>" }`, "null"})
	})
	// Who comes late has it in its status, and is not told again.
	late := w.connect(t, podB)
	w.playUpMuted(t, late, "late", "s", `"audioState":{"muted":false},"videoState":{"muted":true}`)
	wantSilence(t, late)
	pub.Unpublish("pub", "s")
	w.wantClean(t)
}

// playUpMuted is playUp, with what the first status says is muted.
func (w *world) playUpMuted(t *testing.T, c *rig.Client, id, name, muted string) {
	t.Helper()
	playAV(t, c, id, name)
	c.AwaitSDP(id)
	w.allUp()
	c.AwaitMatch("PLAYING with "+muted, func(m rig.Message) bool {
		return strings.Contains(m.Raw, `"PLAYING"`) && strings.Contains(m.Raw, muted)
	})
}

// What changes while a player starts is in its first status; what changed before PUBLISHING, too, also for
// LiveKit.
func TestFirstStatusOfPlayerHasLatestMutes(t *testing.T) {
	w := newWorld(t, nil)
	pub, first := w.up(t, podA, podB)
	hold := make(chan struct{})
	w.sfu.set(func() { w.sfu.hold["play"] = hold })
	play := w.connect(t, podB)
	for len(w.sfu.called) > 0 {
		<-w.sfu.called
	}
	playAV(t, play, "late", "s")
	for op := range w.sfu.called {
		if op == "play" {
			break
		}
	}
	sendEvent(pub, "pub", "videoMuted")
	wantSaid(t, first, "play", "videoMuted", ofS)
	wantSilence(t, play) // its loop has had it, too
	close(hold)
	play.AwaitSDP("late")
	w.allUp()
	play.AwaitMatch("PLAYING with videoState", func(m rig.Message) bool {
		return strings.Contains(m.Raw, `"PLAYING"`) && strings.Contains(m.Raw, `"videoState":{"muted":true}`)
	})
	wantSilence(t, play)

	publishAV(t, pub, "early", "e")
	sendEvent(pub, "early", "audioMuted")
	pub.AwaitSDP("early")
	w.allUp()
	pub.WantStatus("early", "PUBLISHING", "")
	rig.Eventually(t, 20*time.Second, "LiveKit knows what was muted before PUBLISHING", func() bool {
		w.sfu.mu.Lock()
		defer w.sfu.mu.Unlock()
		for _, p := range w.sfu.rooms["wcs.e"] {
			return p.Mutes == translate.Mutes{Audio: true, Changes: 1}
		}
		return false
	})
}

// A pod that loses an event finds the state out when it asks LiveKit; LiveKit that was away is told again.
func TestMutesArriveThoughEventsAreLost(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	w.deaf(podB)
	w.sfu.set(func() {
		w.sfu.fail["mutes"] = &translate.Error{Kind: translate.ErrKindUnavailable, Op: "set", Err: errors.New("away")}
	})
	sendEvent(pub, "pub", "audioMuted")
	for op := range w.sfu.called {
		if op == "mutes" {
			break
		}
	}
	w.sfu.set(func() { delete(w.sfu.fail, "mutes") })
	wantSaid(t, play, "play", "audioMuted", ofS)
	w.deaf("")
	sendEvent(pub, "pub", "audioUnmuted")
	wantSaid(t, play, "play", "audioUnmuted", ofS)
	wantSilence(t, play)
}

// What is muted stays so when the publisher's session goes on on another pod, and newer changes count.
func TestMutesSurviveResume(t *testing.T) {
	w := newWorld(t, keepFor(time.Minute))
	kept, token, other := w.keptUp(t)
	sendEvent(kept, "kept-pub", "audioMuted")
	wantSaid(t, other, "other-play", "audioMuted", ofS)
	kept.Drop()
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.AwaitMatch("PUBLISHING, muted", func(m rig.Message) bool {
		return strings.Contains(m.Raw, `"PUBLISHING"`) && strings.Contains(m.Raw, `"audioState":{"muted":true}`)
	})
	back.WantStatus("kept-play", "PLAYING", "")
	wantSilence(t, other)
	sendEvent(back, "kept-pub", "audioUnmuted")
	wantSaid(t, other, "other-play", "audioUnmuted", ofS)
}

// With remoteMute LiveKit mutes the track; that it refuses to unmute is logged and counted, and the stream
// goes on.
func TestRemoteMuteMutesTrackAtLiveKit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Media.RemoteMute = true })
	pub, play := w.up(t, podA, podB)
	room, id := w.sfu.only(t, translate.RolePublish)
	muted := func() (names []string) {
		w.sfu.mu.Lock()
		defer w.sfu.mu.Unlock()
		for _, t := range w.sfu.rooms[room][id].Tracks {
			if t.Muted {
				names = append(names, t.SID)
			}
		}
		return names
	}
	sendEvent(pub, "pub", "videoMuted")
	rig.Eventually(t, 20*time.Second, "muted at LiveKit", func() bool { return fmt.Sprint(muted()) == "[TR_V]" })
	w.sfu.set(func() {
		w.sfu.fail["mute track"] = &translate.Error{Kind: translate.ErrKindRefused, Op: "mute", Err: errors.New("no")}
	})
	sendEvent(pub, "pub", "videoUnmuted")
	wantSaid(t, play, "play", "videoMuted", ofS)
	wantSaid(t, play, "play", "videoUnmuted", ofS)
	rig.Eventually(t, 20*time.Second, "LiveKit knows that it is unmuted, by the attributes", func() bool {
		w.sfu.mu.Lock()
		defer w.sfu.mu.Unlock()
		return w.sfu.rooms[room][id].Mutes == translate.Mutes{Changes: 2}
	})
	if fmt.Sprint(muted()) != "[TR_V]" {
		t.Errorf("muted at LiveKit: %v", muted())
	}
	wantAlive(t, pub)
	wantSilence(t, play)
}

// A publisher that says more than can be sent, or what would break its players' sockets, is told so.
func TestEventsBeyondLimitAreRejected(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		forNatives(c)
		c.Limits.PayloadBytes = 1000
	})
	pub, play := w.up(t, podA, podB)
	pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "data", "payload": strings.Repeat("x", 2000)})
	pub.AwaitMatch("payload is too big", func(m rig.Message) bool { return m.Name == "fail" && strings.Contains(m.Raw, "payload is too big") })
	pub.SendRaw("{\"message\":\"sendStreamEvent\",\"data\":[{\"mediaSessionId\":\"pub\",\"type\":\"data\",\"payload\":\"\xff\"}]}")
	pub.AwaitMatch("not UTF-8", func(m rig.Message) bool { return m.Name == "fail" && strings.Contains(m.Raw, "UTF-8") })
	hold := make(chan struct{})
	w.sfu.set(func() { w.sfu.hold["data"] = hold })
	for i := range 2*session.MaxEvents + 2 {
		pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "data", "payload": i})
	}
	pub.AwaitMatch("too many", func(m rig.Message) bool { return m.Name == "fail" && strings.Contains(m.Raw, "Too many stream events") })
	if n := testutil.ToFloat64(w.pods[podA].metrics.Rejections.WithLabelValues("stream_events")); n == 0 {
		t.Error("not counted")
	}
	close(hold)
	wantSaid(t, play, "play", "data", "0")
}

// Backends reach clients of any pod through any pod.
func TestBackendDataReachesClientsOfAnyPod(t *testing.T) {
	w := newWorld(t, keepFor(time.Minute))
	kept, token, other := w.keptUp(t)
	for pod, g := range w.pods {
		ctx := context.Background()
		if err := g.admin.SendToSession(ctx, sessionOf(t, token), "op-"+pod, json.RawMessage(`{"n": 1.0}`)); err != nil {
			t.Fatal(err)
		}
		if got, want := kept.Await("OnDataEvent").Raw, `{"message":"OnDataEvent","data":[{"operationId":"op-`+pod+`","payload":{"n": 1.0}}]}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := g.admin.SendStreamEvent(ctx, "s", "data", json.RawMessage(`["`+pod+`"]`)); err != nil {
			t.Fatal(err)
		}
		wantSaid(t, other, "other-play", "data", `["`+pod+`"]`)
		for _, err := range []error{g.admin.SendToSession(ctx, "nobody", "", json.RawMessage(`1`)), g.admin.SendStreamEvent(ctx, "nothing", "data", json.RawMessage(`1`))} {
			if !errors.Is(err, state.ErrNotFound) {
				t.Errorf("unknown: %v", err)
			}
		}
		if err := g.admin.SendStreamEvent(ctx, "s", "audioMuted", json.RawMessage(`1`)); !errors.Is(err, admin.ErrBadData) {
			t.Errorf("mute: %v", err)
		}
		for _, bad := range []string{``, `{`, "\"\xff\""} {
			if err := g.admin.SendToSession(ctx, sessionOf(t, token), "", json.RawMessage(bad)); !errors.Is(err, admin.ErrBadData) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	wantSilence(t, kept)
	wantSilence(t, other)
	kept.Drop()
	for pod, g := range w.pods { // the session is detached
		rig.Eventually(t, 20*time.Second, pod+" says that nobody is there", func() bool {
			return errors.Is(g.admin.SendToSession(context.Background(), sessionOf(t, token), "", json.RawMessage(`1`)), state.ErrNotFound)
		})
	}
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	if err := w.pods[podA].admin.SendToSession(context.Background(), sessionOf(t, token), "", json.RawMessage(`"back"`)); err != nil {
		t.Fatal(err)
	}
	if got := back.Await("OnDataEvent").Raw; !regexp.MustCompile(`^{"message":"OnDataEvent","data":\[{"operationId":"[0-9a-f]{16}","payload":"back"}]}$`).MatchString(got) {
		t.Errorf("got %s", got)
	}
	w.deaf(podB)
	if err := w.pods[podA].admin.SendToSession(context.Background(), sessionOf(t, token), "", json.RawMessage(`1`)); !errors.Is(err, admin.ErrPodUnreachable) {
		t.Errorf("silent pod: %v", err)
	}
}
