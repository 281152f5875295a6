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

// streamEvent is a notifyStreamEvent.
type streamEvent struct {
	MediaSessionID string          `json:"mediaSessionId"`
	Type           string          `json:"type"`
	Payload        json.RawMessage `json:"payload"`
}

func nextStreamEvent(t *testing.T, c *rig.Client) (s streamEvent) {
	t.Helper()
	c.Await("notifyStreamEvent").Arg(t, 0, &s)
	return s
}

func wantStreamEvent(t *testing.T, c *rig.Client, id, typ, payload string) {
	t.Helper()
	if got := nextStreamEvent(t, c); got.MediaSessionID != id || got.Type != typ || string(got.Payload) != payload {
		t.Errorf("received %s %s %s, want %s %s %s", got.MediaSessionID, got.Type, got.Payload, id, typ, payload)
	}
}

func sendEvent(c *rig.Client, id, typ string) {
	c.Send("sendStreamEvent", map[string]any{"mediaSessionId": id, "type": typ})
}

// wantNoEvent checks that the client received neither a status nor a stream event.
func wantNoEvent(t *testing.T, c *rig.Client) {
	t.Helper()
	wantNoStatus(t, c)
	if n := c.Count("notifyStreamEvent"); n != 0 {
		t.Errorf("received a stream event: %s", c.Names())
	}
}

// forNatives lets native participants subscribe to the streams of the default application.
func forNatives(c *Config) {
	app := c.Apps["defaultApp"]
	app.Native = apps.NativePublish
	c.Apps["defaultApp"] = app
}

// Data that no native participant can receive are not sent to LiveKit.
func TestDataStayInTheGatewayWithoutNatives(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "data", "payload": 1})
	wantStreamEvent(t, play, "play", "data", "1")
	pub.Unpublish("pub", "s")
	w.wantClean(t)
	w.sfu.set(func() {
		if len(w.sfu.data) != 0 {
			t.Errorf("sent to LiveKit: %v", w.sfu.data)
		}
	})
}

const ofS = `{"streamName":"s"}`

// A publisher's mutes and data reach its players on both pods once, in order, with one message for the
// other pod each.
func TestEventsReachPlayersOfBothPodsOnceInOrder(t *testing.T) {
	w := newWorld(t, forNatives)
	pub, far := w.up(t, podA, podB)
	near := w.connect(t, podA)
	w.playUp(t, near, "near", "s")
	for len(w.podEvents) > 0 {
		<-w.podEvents
	}
	for _, step := range []struct{ frame, typ, payload string }{
		{`{"mediaSessionId":"pub","type":"audioMuted"}`, "audioMuted", ofS},
		{`{"mediaSessionId":"pub","type":"data","payload":{ "a": 1.50, "b":"<é\u0041>" }}`, "data", `{ "a": 1.50, "b":"<é\u0041>" }`},
		{`{"mediaSessionId":"pub","type":"videoMuted"}`, "videoMuted", ofS},
		{`{"mediaSessionId":"pub","type":"audioUnmuted"}`, "audioUnmuted", ofS},
		{`{"mediaSessionId":"pub","type":"data"}`, "data", `null`},
	} {
		pub.SendRaw(`{"message":"sendStreamEvent","data":[` + step.frame + `]}`)
		wantStreamEvent(t, far, "play", step.typ, step.payload)
		wantStreamEvent(t, near, "near", step.typ, step.payload)
		if n := len(w.podEvents); n != 1 {
			t.Errorf("%s: %d messages between pods", step.typ, n)
		}
		data := 0 // mutes are in the record
		if step.typ == "data" {
			data = 1
		}
		if e := <-w.podEvents; e.Kind != state.EventChanged || len(e.Data) != data {
			t.Errorf("%s: sent %+v", step.typ, e)
		}
	}
	// No change, not a publisher, unknown: no client is notified.
	sendEvent(pub, "pub", "videoMuted")
	sendEvent(pub, "pub", "somethingElse")
	sendEvent(far, "play", "audioMuted")
	sendEvent(far, "pub", "audioMuted")
	wantNoEvent(t, pub)
	wantNoEvent(t, far)
	wantNoEvent(t, near)
	room, id := w.sfu.only(t, translate.RolePublish)
	rig.Eventually(t, 20*time.Second, "LiveKit knows", func() bool {
		w.sfu.mu.Lock()
		defer w.sfu.mu.Unlock()
		return w.sfu.rooms[room][id].Mutes == translate.Mutes{Video: true, Changes: 3} &&
			fmt.Sprint(w.sfu.data) == fmt.Sprint([]string{`{ "a": 1.50, "b":"<é\u0041>" }`, "null"})
	})
	// A late player has it in its status, and is sent no event.
	late := w.connect(t, podB)
	w.playUpMuted(t, late, "late", "s", `"audioState":{"muted":false},"videoState":{"muted":true}`)
	wantNoEvent(t, late)
	pub.Unpublish("pub", "s")
	w.wantClean(t)
}

// playUpMuted is playUp for a first status with these mutes.
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
	wantStreamEvent(t, first, "play", "videoMuted", ofS)
	wantNoEvent(t, play) // its loop has had it, too
	close(hold)
	play.AwaitSDP("late")
	w.allUp()
	play.AwaitMatch("PLAYING with videoState", func(m rig.Message) bool {
		return strings.Contains(m.Raw, `"PLAYING"`) && strings.Contains(m.Raw, `"videoState":{"muted":true}`)
	})
	wantNoEvent(t, play)

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

// A pod that loses an event finds the state when it polls LiveKit. A request to LiveKit is repeated after an
// outage.
func TestMutesArriveThoughEventsAreLost(t *testing.T) {
	w := newWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	w.dropEventsTo(podB)
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
	wantStreamEvent(t, play, "play", "audioMuted", ofS)
	w.dropEventsTo("")
	sendEvent(pub, "pub", "audioUnmuted")
	wantStreamEvent(t, play, "play", "audioUnmuted", ofS)
	wantNoEvent(t, play)
}

// Mutes remain when the publisher's session is resumed on another pod, and later changes apply.
func TestMutesSurviveResume(t *testing.T) {
	w := newWorld(t, keepFor(time.Minute))
	kept, token, other := w.keptUp(t)
	sendEvent(kept, "kept-pub", "audioMuted")
	wantStreamEvent(t, other, "other-play", "audioMuted", ofS)
	kept.Drop()
	back, _ := w.keptAlive(t, podB, "defaultApp", token)
	back.AwaitMatch("PUBLISHING, muted", func(m rig.Message) bool {
		return strings.Contains(m.Raw, `"PUBLISHING"`) && strings.Contains(m.Raw, `"audioState":{"muted":true}`)
	})
	back.WantStatus("kept-play", "PLAYING", "")
	wantNoEvent(t, other)
	sendEvent(back, "kept-pub", "audioUnmuted")
	wantStreamEvent(t, other, "other-play", "audioUnmuted", ofS)
}

// With remoteMute LiveKit mutes the track. Its refusal to unmute is logged and counted, and the stream
// continues.
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
	wantStreamEvent(t, play, "play", "videoMuted", ofS)
	wantStreamEvent(t, play, "play", "videoUnmuted", ofS)
	rig.Eventually(t, 20*time.Second, "LiveKit knows that it is unmuted, by the attributes", func() bool {
		w.sfu.mu.Lock()
		defer w.sfu.mu.Unlock()
		return w.sfu.rooms[room][id].Mutes == translate.Mutes{Changes: 2}
	})
	if fmt.Sprint(muted()) != "[TR_V]" {
		t.Errorf("muted at LiveKit: %v", muted())
	}
	wantAlive(t, pub)
	wantNoEvent(t, play)
}

// A publisher whose data exceeds a limit, or would close its players' sockets, receives an error.
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
	wantStreamEvent(t, play, "play", "data", "0")
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
		wantStreamEvent(t, other, "other-play", "data", `["`+pod+`"]`)
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
	wantNoEvent(t, kept)
	wantNoEvent(t, other)
	kept.Drop()
	for pod, g := range w.pods { // the session is detached
		rig.Eventually(t, 20*time.Second, pod+" has no member", func() bool {
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
	w.dropEventsTo(podB)
	if err := w.pods[podA].admin.SendToSession(context.Background(), sessionOf(t, token), "", json.RawMessage(`1`)); !errors.Is(err, admin.ErrPodUnreachable) {
		t.Errorf("silent pod: %v", err)
	}
}
