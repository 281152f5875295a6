package browser

import (
	"fmt"
	"slices"
	"strings"

	"wcsgateway/translate/wcs"
)

// coreTests run with every version of the SDK, in make test with the newest one.
var coreTests = map[string]func(s *scene, sdk string){
	basicTest:                                                     publishAndPlay,
	"audio is played without video":                               audioOnly,
	"video is played without audio":                               videoOnly,
	"failed requests have WCS's info":                             failures,
	"a session plays its own stream twice":                        ownStream,
	"a new size reaches players":                                  size,
	"the answer has the bitrate limits":                           bitrateLimits,
	"an unknown application is refused":                           unknownApplication,
	"players end when the publisher's tab closes":                 publisherTabCloses,
	"a name is free at once when its session is closed":           publishAgain,
	"a stream is played under the id of its availability request": playAfterAvailable,
	"media flows over TCP":                                        mediaOverTCP,
	"a player receives only the kind that it requests":            playerOfOneKind,
	"a stop during the start ends the stream":                     stopAtOnce,
}

// basicTest is the name of the core test that runs with the oldest and the newest SDK on every route.
const basicTest = "a stream is published and played"

// oldestTests are the core tests that run in make test with the oldest SDK, too: those in which versions
// differ.
var oldestTests = []string{
	basicTest, "failed requests have WCS's info", "a new size reaches players", "the answer has the bitrate limits", "a session plays its own stream twice",
	"a player receives only the kind that it requests", "players end when the publisher's tab closes",
}

// hybridTests are the core tests that run in make test where each name belongs to one of two servers: those
// in which that decides.
var hybridTests = []string{
	basicTest, "failed requests have WCS's info", "players end when the publisher's tab closes", "a name is free at once when its session is closed",
	"a stream is played under the id of its availability request", "a stop during the start ends the stream",
}

func publishAndPlay(s *scene, sdk string) {
	name := s.name("av")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, nil)
	if st := publisher.lastStatus(); st.AudioCodec != "opus" || st.VideoCodec != "VP8" || !st.HasAudio || !st.HasVideo {
		s.t.Errorf("PUBLISHING %+v", st)
	}
	viewers := s.legacyTab(sdk)
	first := viewers.login(defaultApp).play(name, nil)
	if st := first.lastStatus(); st.AudioCodec != "opus" || st.VideoCodec != "VP8" {
		s.t.Errorf("PLAYING %+v", st)
	}
	if got := first.wantMedia(cameraMedia); got.AudioCodec != "opus" || got.VideoCodec != "VP8" {
		s.t.Errorf("player gets %+v", got)
	}
	second := viewers.login(defaultApp).play(name, nil)
	second.wantMedia(cameraMedia)
	first.wantSize(320, 240)
	second.wantSize(320, 240)

	first.stop()
	first.want(wcs.StatusStopped, wcs.InfoStoppedByUser)
	second.wantMedia(cameraMedia)
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	second.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
	wantOrder(s, publisher, "setRemoteSDP", "notifyStreamStatusEvent PUBLISHING", "notifyStreamStatusEvent UNPUBLISHED")
	wantOrder(s, first, "notifyAudioCodec", "setRemoteSDP", "notifyStreamStatusEvent PLAYING", "notifyVideoFormat RESIZE", "notifyStreamEvent resize", "notifyStreamStatusEvent STOPPED")
	wantOrder(s, second, "notifyAudioCodec", "setRemoteSDP", "notifyStreamStatusEvent PLAYING", "notifyVideoFormat RESIZE", "notifyStreamEvent resize", "notifyStreamStatusEvent FAILED")
}

// wantOrder checks the messages about a stream that the gateway has sent. The size may be repeated, and
// video rates arrive each second.
func wantOrder(s *scene, st *stream, want ...string) {
	s.t.Helper()
	var got []string
	for _, m := range call[[]string](st.tab.tab, "order", st.index) {
		if m == "inboundVideoRate" || m == "outboundVideoRate" {
			continue
		}
		again := strings.HasSuffix(m, "RESIZE") || strings.HasSuffix(m, "resize")
		if !again || !slices.Contains(got, m) {
			got = append(got, m)
		}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("messages %v, want %v", got, want)
	}
}

func audioOnly(s *scene, sdk string) {
	name := s.name("audio")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, options{"constraints": options{"audio": true, "video": false}})
	if st := publisher.lastStatus(); st.AudioCodec != "opus" || st.VideoCodec != "" || !st.HasAudio || st.HasVideo {
		s.t.Errorf("PUBLISHING %+v", st)
	}
	s.legacyTab(sdk).login(defaultApp).play(name, nil).wantMedia(mediaWant{Audio: true})
}

func videoOnly(s *scene, sdk string) {
	name := s.name("video")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, options{"constraints": options{"audio": false, "video": camera["video"]}})
	if st := publisher.lastStatus(); st.AudioCodec != "" || st.VideoCodec != "VP8" || st.HasAudio || !st.HasVideo {
		s.t.Errorf("PUBLISHING %+v", st)
	}
	s.legacyTab(sdk).login(defaultApp).play(name, nil).wantMedia(mediaWant{Video: true, Width: 320, Height: 240})
}

// playerOfOneKind plays only audio or only video.
func playerOfOneKind(s *scene, sdk string) {
	name := s.name("half")
	s.legacyTab(sdk).login(defaultApp).publish(name, nil)
	viewer := s.legacyTab(sdk).login(defaultApp)
	ears := viewer.play(name, options{"constraints": options{"audio": true, "video": false}})
	ears.wantMedia(mediaWant{Audio: true})
	eyes := viewer.play(name, options{"constraints": options{"audio": false, "video": true}})
	eyes.wantMedia(mediaWant{Video: true, Width: 320, Height: 240})
}

func failures(s *scene, sdk string) {
	name := s.name("fail")
	c := s.legacyTab(sdk).login(defaultApp)
	if got := c.available(name); got != (availability{Info: wcs.InfoStreamNotFound}) {
		s.t.Errorf("absent: %+v", got)
	}
	c.start("play", name, nil).want(wcs.StatusFailed, wcs.InfoSessionDoesNotExist)

	publisher := c.publish(name, nil)
	if got := c.available(name); got != (availability{There: true}) {
		s.t.Errorf("present: %+v", got)
	}
	c.start("publish", name, nil).want(wcs.StatusFailed, wcs.InfoStreamNameAlreadyInUse)
	c.play(name, nil).wantMedia(cameraMedia) // the first publisher is not affected

	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	if got := c.available(name); got != (availability{Info: wcs.InfoStreamNotFound}) {
		s.t.Errorf("gone: %+v", got)
	}
}

// playAfterAvailable plays under the media id of an availability request, as an SDK's stream object does.
func playAfterAvailable(s *scene, sdk string) {
	name := s.name("ask")
	c := s.legacyTab(sdk).login(defaultApp)
	c.publish(name, nil)
	st := &stream{tab: c.tab, index: call[int](c.tab.tab, "askThenPlay", c.index, name)}
	st.want(wcs.StatusPlaying, "")
	st.wantMedia(cameraMedia)
}

// ownStream plays a stream in the session that publishes it, twice.
func ownStream(s *scene, sdk string) {
	name := s.name("own")
	c := s.legacyTab(sdk).login(defaultApp)
	publisher := c.publish(name, nil)
	players := []*stream{c.play(name, nil), c.play(name, nil)}
	for _, p := range players {
		p.wantMedia(cameraMedia)
	}
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	for _, p := range players {
		p.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
	}
}

// stopAtOnce stops streams that are still starting: the SDK sends the stop as soon as it can.
func stopAtOnce(s *scene, sdk string) {
	name := s.name("once")
	c := s.legacyTab(sdk).login(defaultApp)
	publisher := c.start("publish", name, nil)
	publisher.stop()
	publisher.want(wcs.StatusPublishing, "") // before that the SDK only retries
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)

	c.publish(name, nil)
	player := c.start("play", name, nil)
	player.stop()
	player.want(wcs.StatusPlaying, "")
	player.want(wcs.StatusStopped, wcs.InfoStoppedByUser)
}

func size(s *scene, sdk string) {
	name := s.name("size")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, nil)
	player := s.legacyTab(sdk).login(defaultApp).play(name, nil)
	player.wantSize(320, 240)
	player.wantMedia(cameraMedia)
	publisher.tab.do("resize", publisher.index, 160, 120)
	player.wantSize(160, 120)
	player.wantMedia(mediaWant{Audio: true, Video: true, Width: 160, Height: 120})
}

// wantSize waits until the player received this size, in the form for old and for new applications.
func (st *stream) wantSize(width, height int) {
	st.tab.t.Helper()
	got := call[struct{ Width, Height int }](st.tab.tab, "announcedSize", st.index, width, height)
	if got.Width != width || got.Height != height {
		st.tab.t.Errorf("the SDK reports the size %+v, want %dx%d", got, width, height)
	}
}

// bitrateLimits checks the answer as the SDK applied it. The newest SDK adds the limits itself, for the
// others the gateway does.
func bitrateLimits(s *scene, sdk string) {
	name := s.name("rate")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, options{
		"constraints": options{"audio": true, "video": options{"width": 320, "height": 240, "minBitrate": 300, "maxBitrate": 600}},
	})
	answer := call[string](publisher.tab.tab, "appliedAnswer", publisher.index)
	for _, codec := range []string{"VP8/90000", "H264/90000"} {
		pt := payloadType(answer, codec)
		for _, limit := range []string{"x-google-min-bitrate=300", "x-google-max-bitrate=600"} {
			if n := countParam(answer, pt, limit); n != 1 {
				s.t.Errorf("%s of %s occurs %d times in:\n%s", limit, codec, n, answer)
			}
		}
	}
	s.legacyTab(sdk).login(defaultApp).play(name, nil).wantMedia(cameraMedia)
}

// payloadType returns the payload type of a codec in an SDP, "" if absent.
func payloadType(sdp, codec string) string {
	for line := range strings.Lines(sdp) {
		if pt, found := strings.CutSuffix(strings.TrimSpace(line), " "+codec); found {
			return strings.TrimPrefix(pt, "a=rtpmap:")
		}
	}
	return ""
}

// countParam counts a parameter in the fmtp lines of a payload type, which may be several.
func countParam(sdp, pt, param string) (n int) {
	for line := range strings.SplitSeq(sdp, "\n") {
		params, found := strings.CutPrefix(line, "a=fmtp:"+pt+" ")
		if !found {
			continue
		}
		for p := range strings.SplitSeq(params, ";") {
			if strings.TrimSpace(p) == param {
				n++
			}
		}
	}
	return n
}

func unknownApplication(s *scene, sdk string) {
	c := s.legacyTab(sdk).connect("nobody's")
	events := c.events()
	if len(events) != 3 || events[0] != "CONNECTED" || !strings.HasPrefix(events[1], "WARN Application not found") || events[2] != "DISCONNECTED" {
		s.t.Errorf("session: %v", events)
	}
}

func publisherTabCloses(s *scene, sdk string) {
	name := s.name("gone")
	publishers := s.legacyTab(sdk)
	publishers.login(defaultApp).publish(name, nil)
	viewer := s.legacyTab(sdk).login(defaultApp)
	player := viewer.play(name, nil)
	player.wantMedia(cameraMedia)
	publishers.close()
	player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
	s.wantClean()
	if got := viewer.available(name); got.There {
		s.t.Error("the name is still in use")
	}
}

// publishAgain opens a new session and publishes under the old name as soon as the old session is closed.
func publishAgain(s *scene, sdk string) {
	name := s.name("again")
	publishers := s.legacyTab(sdk)
	viewer := s.legacyTab(sdk).login(defaultApp)
	for range 2 {
		session := publishers.login(defaultApp)
		session.publish(name, nil)
		player := viewer.play(name, nil)
		player.wantMedia(cameraMedia)
		session.disconnect()
		session = publishers.login(defaultApp)
		session.publish(name, nil).stop()
		player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
		session.disconnect() // before UNPUBLISHED arrives
	}
}

func mediaOverTCP(s *scene, sdk string) {
	name := s.name("tcp")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, options{"transport": "TCP"})
	viewer := s.legacyTab(sdk).login(defaultApp)
	player := viewer.play(name, options{"transport": "TCP"})
	player.wantMedia(cameraMedia)
	udp := viewer.play(name, options{"transport": "UDP"})
	udp.wantMedia(cameraMedia)
	for _, c := range []struct {
		who  string
		st   *stream
		want string
	}{{"publisher", publisher, "tcp"}, {"player", player, "tcp"}, {"player with UDP", udp, "udp"}} {
		if got := call[string](c.st.tab.tab, "protocol", c.st.index); got != fmt.Sprintf("%s %s", c.want, c.want) {
			s.t.Errorf("%s: candidate pair %q, want %s", c.who, got, c.want)
		}
	}
}
