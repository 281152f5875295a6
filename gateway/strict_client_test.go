package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// Clients with typed decoders, as the mobile SDKs, decode every message of a session's life. The rig's client
// checks each message, here and in every other test.
func TestStrictClientDecodesEveryMessage(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		withRooms(c)
		c.Drain = DrainConfig{Window: time.Hour}
	})
	enter := func(pod, login string, hello map[string]any) (u *rig.RoomUser, session string) {
		c := w.dial(t, pod)
		maps.Copy(hello, map[string]any{"appKey": "roomApp", "mediaProviders": []string{"WebRTC"}, "custom": map[string]any{"login": login}})
		c.Send("connection", hello)
		var got struct{ AuthToken string }
		c.Await("getUserData").Arg(t, 0, &got)
		return &rig.RoomUser{Client: c}, sessionOf(t, got.AuthToken)
	}
	pub, _ := enter(podA, "ann", map[string]any{"clientVersion": "1.1.0.35"})
	android, session := enter(podB, "bob", map[string]any{"clientVersion": "1.1.0.35", "clientBrowserVersion": "Android"})
	web, _ := enter(podB, "web", map[string]any{"clientVersion": "2.0", "msePacketizationVersion": 2})
	pub.Join("r")
	android.Join("r", "ann")
	pub.WantEvents("JOINED bob")
	w.publishIn(t, pub, "pub", "s", "r")
	android.WantEvents("PUBLISHED ann s")
	room, id := w.sfu.only(t, translate.RolePublish)
	w.sfu.set(func() {
		tracks := slices.Clone(avTracks)
		tracks[1].Width, tracks[1].Height = 640, 360
		w.sfu.rooms[room][id].Tracks = tracks
	})
	for id, u := range map[string]*rig.RoomUser{"play": android, "web": web} {
		playAV(t, u.Client, id, "s")
		u.AwaitSDP(id)
		w.mediaIn(podB, room, translate.RolePlay)
		u.WantStatus(id, "PLAYING", "")
		u.Await("notifyVideoFormat")
		u.Send("availableStream", map[string]any{"mediaSessionId": "a", "name": "s"})
		u.Await("availableStream") // what follows the size has arrived
		u.Send("availableStream", map[string]any{"mediaSessionId": "a", "name": "none"})
		u.Await("availableStream")
	}
	resize := func(m rig.Message) bool {
		return m.Name == "notifyStreamEvent" && strings.Contains(m.Raw, `"type":"resize"`)
	}
	web.AwaitMatch("resize", resize)
	if strings.Contains(android.Names(), `"type":"resize"`) {
		t.Errorf("resize was sent to a client that does not know it: %s", android.Names())
	}

	for _, typ := range []string{"audioMuted", "audioUnmuted", "videoMuted", "videoUnmuted"} {
		pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": typ})
	}
	pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "data", "payload": 1})
	android.AwaitMatch("the publisher's data", func(m rig.Message) bool { return strings.Contains(m.Raw, `"type":"data"`) })
	askSnapshot(android.Client, "play", "s")
	android.AwaitMatch("the picture", func(m rig.Message) bool { return strings.Contains(m.Raw, `"type":"snapshotCompleted"`) })
	android.AwaitStatus("play")
	askSnapshot(android.Client, "none", "none")
	wantSnapshotFailed(t, android.Client, "none", "Stream not found")
	if err := w.pods[podA].admin.SendToSession(context.Background(), session, "", json.RawMessage(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	android.AwaitMatch("a backend's data", func(m rig.Message) bool { return m.Name == "OnDataEvent" && strings.Contains(m.Raw, `{"a":1}`) })
	if got := pub.Say("r", "bob", "hi"); got != "ACCEPTED" {
		t.Errorf("message: %s", got)
	}
	android.WantEvents("MESSAGE ann: hi")
	android.SendRaw(`{"message":"stopStream"}`)
	android.Await("fail")
	android.Send("sessionDebug", map[string]any{"command": "start"})
	android.Await("notifySessionDebugEvent")
	android.Send("call", map[string]any{"callId": "c"})
	android.Await("finish")
	android.Stop("play", "s")
	android.WantStatus("play", "STOPPED", "Stopped by user")
	playAV(t, android.Client, "none", "none")
	android.WantStatus("none", "FAILED", "Session does not exist")

	w.stop(podA) // its publisher finishes first
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	android.WantEvents("UNPUBLISHED ann s")
	web.WantStatus("web", "FAILED", "Stopped by publisher stop")
	_ = pub.AwaitClosed()
	android.WantEvents("LEFT ann")
	w.wantClean(t)
}
