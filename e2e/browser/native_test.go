package browser

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// nativeTests use LiveKit's own SDK and the WCS SDK in the same rooms.
var nativeTests = map[string]func(*scene){
	"a native client watches a WCS publisher":                    nativePlaysPublisher,
	"a WCS player plays a native publisher":                      nativePublishes,
	"the longest-publishing of several natives is played":        severalNatives,
	"an application that does not share its rooms hides natives": notShared,
	"a native client's data reach WCS players":                   nativeSendsData,
}

// nativeTab is a page with LiveKit's own SDK that has joined a room.
type nativeTab struct {
	*tab
	room int
}

func (s *scene) joinNative(room, identity string) *nativeTab {
	s.t.Helper()
	livekit := s.world.stage.LiveKit
	token, err := auth.NewAccessToken(livekit.Key, livekit.Secret).
		SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: room}).SetIdentity(identity).SetValidFor(time.Hour).ToJWT()
	if err != nil {
		s.t.Fatal(err)
	}
	tb := s.newTab(nativeScript, "page/native.js")
	url := strings.Replace(livekit.URL, "http://", "ws://", 1)
	return &nativeTab{tab: tb, room: call[int](tb, "join", url, token)}
}

// publish publishes camera and microphone, and waits until LiveKit has both tracks.
func (n *nativeTab) publish() {
	n.t.Helper()
	n.do("publish", n.room, 320, 240)
}

func (n *nativeTab) leave() {
	n.t.Helper()
	n.do("leave", n.room)
}

func nativePlaysPublisher(s *scene) {
	name := s.name("watch")
	native := s.joinNative(name, "viewer")
	publisher := s.legacyTab(newestSDK).login(nativeApp).publish(name, nil)
	got := call[struct {
		media
		Identity string
	}](native.tab, "watching", native.room)
	if !strings.HasPrefix(got.Identity, "wcs:default:pub:") || got.VideoCodec != "VP8" || got.Width != 320 || got.Height != 240 {
		s.t.Errorf("native client receives %+v", got)
	}
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	native.do("left", native.room, got.Identity)
	native.leave()
}

func nativePublishes(s *scene) {
	name := s.name("show")
	native := s.joinNative(name, "star")
	native.publish()
	c := s.legacyTab(newestSDK).login(nativeApp)
	if got := c.available(name); !got.There {
		s.t.Errorf("available: %+v", got)
	}
	player := c.play(name, nil)
	got := player.wantMedia(mediaWant{Audio: true, Video: true})
	if got.AudioCodec != "opus" || got.Width*3 != got.Height*4 {
		s.t.Errorf("player receives %+v", got)
	}
	c.start("publish", name, nil).want(wcs.StatusFailed, wcs.InfoStreamNameAlreadyInUse)
	native.leave()
	player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)

	// Now the name is free.
	publisher := c.publish(name, nil)
	c.play(name, nil).wantMedia(cameraMedia)
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
}

// severalNatives identifies the playing publisher by the effects of each native client's leaving.
func severalNatives(s *scene) {
	name := s.name("several")
	first := s.joinNative(name, "first")
	first.publish()
	second := s.joinNative(name, "second")
	second.publish()
	c := s.legacyTab(newestSDK).login(nativeApp)
	player := c.play(name, nil)
	player.wantMedia(mediaWant{Audio: true, Video: true})

	second.leave()
	first.do("left", first.room, "second")
	player.wantMedia(mediaWant{Audio: true, Video: true})
	third := s.joinNative(name, "third")
	third.publish()
	player.wantMedia(mediaWant{Audio: true, Video: true})
	first.leave()
	player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
	again := c.play(name, nil)
	again.wantMedia(mediaWant{Audio: true, Video: true})
	third.leave()
	again.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
}

// nativeSendsData checks that data of a native client reaches the players of a WCS publisher, and no other
// WCS client.
func nativeSendsData(s *scene) {
	name := s.name("talk")
	publisher := s.legacyTab(newestSDK).login(nativeApp).publish(name, nil)
	player := s.legacyTab(oldestSDK).login(nativeApp).play(name, nil)
	native := s.joinNative(name, "talker")
	rig.Eventually(s.t, patience, "a probe receives data", func() bool {
		return slices.ContainsFunc(s.world.stage.LiveKit.Participants(s.t, name), func(p *lkproto.ParticipantInfo) bool {
			return strings.Contains(p.GetIdentity(), ":probe:") && p.GetState() == lkproto.ParticipantInfo_ACTIVE
		})
	})
	for _, text := range []string{`{"a": [1, 2]}`, "plain text", `"end"`} {
		native.do("say", native.room, text)
	}
	got := call[[]any](player.tab.tab, "heard", player.index, "end")
	if text := fmt.Sprint(got); text != "[map[a:[1 2]] plain text end]" {
		s.t.Errorf("player has received %s", text)
	}
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	native.leave()
}

func notShared(s *scene) {
	name := s.name("hidden")
	native := s.joinNative(name, "star")
	native.publish()
	c := s.legacyTab(newestSDK).login(defaultApp)
	if got := c.available(name); got != (availability{Info: wcs.InfoStreamNotFound}) {
		s.t.Errorf("available: %+v", got)
	}
	c.start("play", name, nil).want(wcs.StatusFailed, wcs.InfoSessionDoesNotExist)
	native.leave()
}
