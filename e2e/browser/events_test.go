package browser

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"wcsgateway/translate/wcs"
)

// eventTests check what apps do besides publishing and playing.
var eventTests = map[string]func(s *scene, sdk string){
	"mute and data reach players":                  mutesAndData,
	"logs and bug reports reach the gateway's log": debugs,
	"a call is refused immediately":                callIsRefused,
	"the SDK connects to the pod that lbUrl names": connectsByLB,
	"players without WebRTC are refused":           playWithoutWebRTC,
	"mutes and data reach a native participant":    nativeReceivesMutes,
	"data without a backend is rejected":           dataWithoutBackend,
	"a late player receives earlier mutes":         mutedBefore,
}

type streamEvent struct {
	Type    string
	Payload any
}

func (st *stream) events(n int) []streamEvent {
	st.tab.t.Helper()
	return call[[]streamEvent](st.tab.tab, "streamEvents", st.index, n)
}

func (st *stream) mute(method string) {
	st.tab.t.Helper()
	st.tab.do("mute", st.index, method)
}

func mutesAndData(s *scene, sdk string) {
	name := s.name("said")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, nil)
	player := s.legacyTab(sdk).login(defaultApp).play(name, nil)
	other := s.legacyTab(newestSDK).login(defaultApp).play(name, nil)
	received := func(n int) { // what follows at once is sent together, mutes first
		player.events(n)
		other.events(n)
	}
	for i, method := range []string{"muteAudio", "muteVideo", "unmuteAudio"} {
		publisher.mute(method)
		received(i + 1)
	}
	publisher.tab.do("say", publisher.index, options{"score": 1.5, "text": "<é>"})
	received(4)
	publisher.mute("unmuteVideo")
	ofName := map[string]any{"streamName": name}
	want := []streamEvent{
		{"audioMuted", ofName}, {"videoMuted", ofName}, {"audioUnmuted", ofName},
		{"data", map[string]any{"score": 1.5, "text": "<é>"}}, {"videoUnmuted", ofName},
	}
	for _, p := range []*stream{player, other} {
		if got := p.events(len(want)); !reflect.DeepEqual(got, want) {
			s.t.Errorf("player received %v, want %v", got, want)
		}
	}
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
}

// mutedBefore checks that a late player receives a publisher's mutes in the status, not as an event.
func mutedBefore(s *scene, sdk string) {
	name := s.name("before")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, nil)
	first := s.legacyTab(sdk).login(defaultApp).play(name, nil)
	publisher.mute("muteVideo")
	first.events(1)
	late := s.legacyTab(sdk).login(defaultApp).play(name, nil)
	type muted struct{ Muted bool }
	got := call[struct{ AudioState, VideoState muted }](late.tab.tab, "lastStatus", late.index)
	if got.AudioState.Muted || !got.VideoState.Muted {
		s.t.Errorf("first status of a late player: %+v", got)
	}
	if n := len(late.events(0)); n != 0 {
		s.t.Errorf("it received %d events, too", n)
	}
	publisher.mute("unmuteVideo")
	if got := late.events(1); got[0].Type != "videoUnmuted" {
		s.t.Errorf("late player received %v", got)
	}
}

// nativeReceivesMutes checks that LiveKit's own SDK sees the same events as the WCS SDK's player.
func nativeReceivesMutes(s *scene, sdk string) {
	name := s.name("told")
	native := s.joinNative(name, "watcher")
	publisher := s.legacyTab(sdk).login(nativeApp).publish(name, nil)
	player := s.legacyTab(sdk).login(nativeApp).play(name, nil)
	publisher.mute("muteAudio")
	native.do("attributeIs", native.room, "wcs.audioMuted", "true")
	publisher.tab.do("say", publisher.index, options{"n": 1})
	type message struct{ Text, Topic, Sender string }
	if got, want := call[message](native.tab, "data", native.room), (message{`{"n":1}`, "wcs", ""}); got != want {
		s.t.Errorf("native client got %+v, want %+v", got, want)
	}
	publisher.mute("unmuteAudio")
	native.do("attributeIs", native.room, "wcs.audioMuted", "false")
	want := fmt.Sprint([]streamEvent{{"audioMuted", map[string]any{"streamName": name}}, {"data", map[string]any{"n": 1}}, {"audioUnmuted", map[string]any{"streamName": name}}})
	if got := fmt.Sprint(player.events(3)); got != want {
		s.t.Errorf("player received %s, want %s", got, want)
	}
	native.leave()
}

// debugs checks that log lines are not answered. The SDK pushes a log line for every message received, so an
// answer would cause an endless loop.
func debugs(s *scene, sdk string) {
	c := s.legacyTab(sdk).login(defaultApp)
	got := call[struct {
		Pushed int
		Came   []string
	}](c.tab.tab, "debug", c.index)
	if got.Pushed == 0 || slices.Contains(got.Came, "fail") {
		s.t.Errorf("%d lines pushed, and %v arrived", got.Pushed, got.Came)
	}
	if came := c.events(); slices.Contains(came, "WARN") {
		s.t.Errorf("session: %v", came)
	}
	if log := s.world.stage.Gateway.Output(); !strings.Contains(log, `"message":"client log"`) || !strings.Contains(log, `"message":"bug report"`) {
		s.t.Error("the lines are missing in the gateway's log")
	}
}

func callIsRefused(s *scene, sdk string) {
	c := s.legacyTab(sdk).login(defaultApp)
	if got := call[[]string](c.tab.tab, "callSomebody", c.index); got[len(got)-1] != "FAILED" {
		s.t.Errorf("call: %v", got)
	}
	c.available("nobody") // the session continues
}

func connectsByLB(s *scene, sdk string) {
	tb := s.legacyTab(sdk)
	lb := strings.Replace(tb.gateway, "ws://", "http://", 1) + "lb"
	c := &session{tab: tb, index: call[int](tb.tab, "connectByLB", "ws://127.0.0.1:1/nowhere", defaultApp, lb)}
	if events := c.events(); !slices.Equal(events, []string{"CONNECTED", "ESTABLISHED"}) {
		s.t.Fatalf("session: %v", events)
	}
	c.available("nobody")
}

func playWithoutWebRTC(s *scene, sdk string) {
	name := s.name("plain")
	c := s.legacyTab(sdk).login(defaultApp)
	publisher := c.publish(name, nil)
	for _, provider := range []string{"MSE", "WSPlayer"} {
		c.start("play", name, options{"mediaProvider": provider}).want(wcs.StatusFailed, wcs.InfoNoCommonCodecs)
	}
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
}

func dataWithoutBackend(s *scene, sdk string) {
	type outcome struct{ Kind, Info string }
	c := s.legacyTab(sdk).login(defaultApp)
	if got := call[outcome](c.tab.tab, "sendData", c.index, options{"n": 1}); got != (outcome{"rejected", "No application server takes data"}) {
		s.t.Errorf("sendData: %+v", got)
	}
}
