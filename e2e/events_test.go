package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// native records what a native participant receives about others.
type native struct {
	changed chan map[string]string
	data    chan nativeData
}

type nativeData struct{ payload, topic, sender string }

// watchRoom joins a room with LiveKit's own SDK.
func watchRoom(t *testing.T, lk *rig.LiveKit, room string) native {
	t.Helper()
	n := native{make(chan map[string]string, 100), make(chan nativeData, 100)}
	r, err := lksdk.ConnectToRoom(lk.URL, lksdk.ConnectInfo{
		APIKey: lk.Key, APISecret: lk.Secret, RoomName: room, ParticipantIdentity: "watcher",
	}, &lksdk.RoomCallback{ParticipantCallback: lksdk.ParticipantCallback{
		OnAttributesChanged: func(changed map[string]string, _ lksdk.Participant) { n.changed <- changed },
		OnDataPacket: func(p lksdk.DataPacket, from lksdk.DataReceiveParams) {
			if user, ok := p.(*lksdk.UserDataPacket); ok {
				n.data <- nativeData{string(user.Payload), user.Topic, from.SenderIdentity}
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	return n
}

// awaitAttribute waits until an attribute has changed to a value.
func (n native) awaitAttribute(t *testing.T, key, value string) {
	t.Helper()
	limit := time.NewTimer(40 * time.Second)
	defer limit.Stop()
	for {
		select {
		case changed := <-n.changed:
			if changed[key] == value {
				return
			}
		case <-limit.C:
			t.Fatalf("native participant did not receive that %s is %s", key, value)
		}
	}
}

func (n native) wantData(t *testing.T, payload string) {
	t.Helper()
	select {
	case got := <-n.data:
		if want := (nativeData{payload, "wcs", ""}); got != want {
			t.Errorf("native participant got %+v, want %+v", got, want)
		}
	case <-time.After(40 * time.Second):
		t.Fatalf("native participant did not get %s", payload)
	}
}

// wantEvent takes the next stream event, other than sizes.
func wantEvent(t *testing.T, c *rig.Client, id, typ, payload string) {
	t.Helper()
	m := c.AwaitMatch("stream event "+typ, func(m rig.Message) bool {
		return m.Name == "notifyStreamEvent" && !strings.Contains(m.Raw, `"resize"`)
	})
	var got struct {
		MediaSessionID, Type string
		Payload              json.RawMessage
	}
	if m.Arg(t, 0, &got); got.MediaSessionID != id || got.Type != typ || string(got.Payload) != payload {
		t.Errorf("%s, want %s %s %s", m.Raw, id, typ, payload)
	}
}

// A publisher's mutes and data reach players on both pods and a native participant, each once and in
// order.
func TestStreamEventsReachPlayersOfBothPods(t *testing.T) {
	t.Parallel()
	g, s := podsWith(t, 2, map[string]string{"WCS_APPLICATIONS": `{defaultApp: {native: publish}}`})
	watcher := watchRoom(t, s.LiveKit, "wcs.said")
	pub, near, far := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")
	pub.Publish("said-pub", "said", rig.NewPublisher(t, rig.PeerOptions{}))
	far.Play("far", "said", rig.NewPlayer(t, rig.PeerOptions{}))
	near.Play("near", "said", rig.NewPlayer(t, rig.PeerOptions{}))
	send := func(typ, member string) {
		pub.SendRaw(`{"message":"sendStreamEvent","data":[{"mediaSessionId":"said-pub","type":"` + typ + `"` + member + `}]}`)
	}
	const name, data = `{"streamName":"said"}`, `{ "score": 1.50, "text":"<é>" }`
	players := map[string]*rig.Client{"near": near, "far": far}
	wantAll := func(typ, payload string) {
		for id, c := range players {
			wantEvent(t, c, id, typ, payload)
		}
	}
	send("audioMuted", "")
	watcher.awaitAttribute(t, "wcs.audioMuted", "true")
	wantAll("audioMuted", name) // a state: the next change could replace it
	send("videoMuted", "")
	watcher.awaitAttribute(t, "wcs.videoMuted", "true")
	wantAll("videoMuted", name)
	send("data", `,"payload":`+data)
	watcher.wantData(t, data)
	wantAll("data", data)
	send("audioUnmuted", "")
	watcher.awaitAttribute(t, "wcs.audioMuted", "false")
	wantAll("audioUnmuted", name)
	for i := range 20 {
		send("data", fmt.Sprintf(`,"payload":%d`, i))
	}
	for i := range 20 {
		watcher.wantData(t, strconv.Itoa(i))
	}
	for id, c := range players {
		for i := range 20 {
			wantEvent(t, c, id, "data", strconv.Itoa(i))
		}
		awaitRoundTrip(t, c)
		c.AwaitMatch("nothing but sizes", func(m rig.Message) bool { return m.Name == "notifyStreamEvent" && strings.Contains(m.Raw, `"resize"`) })
		if n := c.Count("notifyStreamEvent"); n != 0 {
			t.Errorf("%s received more: %s", id, c.Names())
		}
	}
	late := rig.Connect(t, g[1].URL, "defaultApp")
	late.Send("playStream", rig.StreamRequest("late", "said", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	late.AwaitSDP("late")
	if !strings.Contains(g[0].Metrics(t), `wcs_sfu_call_seconds_count{class="ok",op="send_data"} 21`) {
		t.Error("LiveKit was not sent each data message once")
	}
	pub.Unpublish("said-pub", "said")
	pub.WantStatus("said-pub", "UNPUBLISHED", "Stopped by publisher stop")
	late.Close()
	s.WantClean(t, "said")
}

// With sfu.remoteMute LiveKit stops forwarding. It refuses to unmute unless it is configured for it: then the
// stream continues, and the log and a metric report it.
func TestRemoteMuteStopsForwarding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		liveKit string
		unmutes bool
	}{
		"LiveKit allows to unmute": {"room: {enable_remote_unmute: true}", true},
		"LiveKit does not":         {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := rig.NewStage(t, map[string]string{"WCS_SFU_REMOTEMUTE": "true", "WCS_MEDIA_SILENCETIMEOUT": "2s"}, c.liveKit)
			pub, play := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
			pub.Publish("mute-pub", "mute", rig.NewPublisher(t, rig.PeerOptions{}))
			screen := rig.NewPlayer(t, rig.PeerOptions{})
			play.Play("mute-play", "mute", screen)
			wantMedia(t, screen, translate.Audio, translate.Video)
			said := func(typ string) {
				pub.Send("sendStreamEvent", map[string]any{"mediaSessionId": "mute-pub", "type": typ})
				wantEvent(t, play, "mute-play", typ, `{"streamName":"mute"}`)
			}
			muted := func() (n int) {
				for _, p := range s.LiveKit.Participants(t, "wcs.mute") {
					for _, track := range p.GetTracks() {
						if track.GetMuted() {
							n++
						}
					}
				}
				return n
			}
			said("videoMuted")
			said("audioMuted")
			rig.Eventually(t, 30*time.Second, "both tracks are muted in LiveKit", func() bool { return muted() == 2 })
			rig.Eventually(t, 30*time.Second, "no packets come any more", func() bool {
				before := screen.Packets(translate.Video) + screen.Packets(translate.Audio)
				rig.Eventually(t, 30*time.Second, "a while", after(time.Second))
				return screen.Packets(translate.Video)+screen.Packets(translate.Audio) == before
			})
			rig.Eventually(t, 30*time.Second, "longer than the silence that ends a stream", after(4*time.Second))
			said("videoUnmuted")
			said("audioUnmuted")
			if c.unmutes {
				rig.Eventually(t, 30*time.Second, "nothing is muted in LiveKit", func() bool { return muted() == 0 })
				before := screen.Packets(translate.Video)
				rig.Eventually(t, 30*time.Second, "video goes on", func() bool { return screen.Packets(translate.Video) > before })
			} else {
				rig.Eventually(t, 30*time.Second, "the log and a metric report it", func() bool {
					return strings.Contains(s.Gateway.Output(), "LiveKit rejects muting or unmuting a track") &&
						strings.Contains(s.Gateway.Metrics(t), `wcs_sfu_call_seconds_count{class="refused",op="mute_track"}`)
				})
				awaitRoundTrip(t, pub)
				if n := pub.Count("notifyStreamStatusEvent"); n != 0 {
					t.Errorf("the stream has not gone on: %s", pub.Names())
				}
			}
			pub.Close()
			s.WantClean(t)
		})
	}
}

// after returns a condition that is true once the time has passed.
func after(d time.Duration) func() bool {
	since := time.Now()
	return func() bool { return time.Since(since) >= d }
}

// lbUrl names the pod with fewer sessions, never one that is leaving, and is answered by the pods that are
// left while Redis is away.
func TestLoadBalancerNamesPodWithFewerSessions(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	var g []*rig.Gateway
	var ports []string
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{})
	for range 2 {
		p := rig.NewPorts(t)
		port := strconv.Itoa(p.Public)
		g = append(g, rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: lk, Redis: redis.Addr, Env: map[string]string{
			"WCS_LISTEN_LB_PODHOST": "127.0.0.1", "WCS_LISTEN_LB_WS": port, "WCS_REDIS_LEASE": "2s", "WCS_REDIS_CALLTIMEOUT": "400ms", "WCS_DRAIN_WINDOW": "5m",
		}}))
		ports = append(ports, port)
	}
	g[0].AwaitReady(t)
	g[1].AwaitReady(t)
	names := func(pod *rig.Gateway) string {
		status, header, body := get(t, strings.Replace(pod.URL, "ws://", "http://", 1)+"lb")
		var a struct{ Server, WS string }
		if err := json.Unmarshal(body, &a); err != nil || status != 200 || a.Server != "127.0.0.1" || header.Get("Access-Control-Allow-Origin") != "*" {
			t.Fatalf("%d %v %s", status, header, body)
		}
		return a.WS
	}
	both := func(what, port string) {
		t.Helper()
		rig.Eventually(t, 40*time.Second, what, func() bool { return names(g[0]) == port && names(g[1]) == port })
	}
	busy := rig.Connect(t, g[0].URL, "defaultApp")
	both("both name the second pod, which has no session", ports[1])
	more := rig.Connect(t, g[1].URL, "defaultApp")
	rig.Connect(t, g[1].URL, "defaultApp")
	both("both name the first pod, which has fewer", ports[0])
	more.Publish("stays", "stays", rig.NewPublisher(t, rig.PeerOptions{})) // so that the pod does not end at once
	busy.Close()
	g[0].Terminate()
	rig.Eventually(t, 40*time.Second, "the pod that stays names itself", func() bool { return names(g[1]) == ports[1] })
	redis.Pause()
	defer redis.Resume()
	since := time.Now()
	names(g[1])
	t.Logf("answered in %v while Redis hangs", time.Since(since))
	rig.Eventually(t, 40*time.Second, "it names itself without Redis", func() bool { return names(g[1]) == ports[1] })
}
