package browser

import (
	"slices"
	"testing"

	"wcsgateway/translate/wcs"
)

// legacyTab is a page with the WCS SDK.
type legacyTab struct {
	*tab
	gateway string // ws://
}

func (s *scene) legacyTab(sdk string) *legacyTab {
	s.t.Helper()
	return &legacyTab{tab: s.newTab(legacyScript(sdk), "page/legacy.js", "page/events.js"), gateway: s.gateway}
}

// session is a session of the SDK.
type session struct {
	tab   *legacyTab
	index int
}

// connect opens a session, which may have been refused.
func (tb *legacyTab) connect(appKey string) *session {
	tb.t.Helper()
	return tb.connectWith(appKey, nil)
}

// connectWith opens a session with custom data for the application's backend.
func (tb *legacyTab) connectWith(appKey string, custom options) *session {
	tb.t.Helper()
	return &session{tab: tb, index: call[int](tb.tab, "connect", tb.gateway, appKey, custom)}
}

// login opens a session that must be accepted.
func (tb *legacyTab) login(appKey string) *session {
	tb.t.Helper()
	s := tb.connect(appKey)
	if events := s.events(); !slices.Equal(events, []string{"CONNECTED", "ESTABLISHED"}) {
		tb.t.Fatalf("session: %v", events)
	}
	return s
}

// events returns the statuses of a session, with their info.
func (s *session) events() []string {
	s.tab.t.Helper()
	return call[[]string](s.tab.tab, "sessionEvents", s.index)
}

// disconnect closes the session and waits until it is closed.
func (s *session) disconnect() {
	s.tab.t.Helper()
	s.tab.do("disconnect", s.index)
	s.tab.do("sessionStatus", s.index, []string{"DISCONNECTED"})
}

type availability struct {
	There bool
	Info  string
}

func (s *session) available(name string) availability {
	s.tab.t.Helper()
	return call[availability](s.tab.tab, "available", s.index, name)
}

// options are the options of createStream.
type options map[string]any

// camera are the constraints of a publisher; small, because two cores have to encode and decode everything.
var camera = options{"audio": true, "video": options{"width": 320, "height": 240}}

// stream is a stream of the SDK.
type stream struct {
	tab   *legacyTab
	index int
}

func (s *session) start(verb, name string, o options) *stream {
	s.tab.t.Helper()
	all := options{"name": name}
	if verb == "publish" {
		all["constraints"] = camera
	}
	for k, v := range o {
		all[k] = v
	}
	return &stream{tab: s.tab, index: call[int](s.tab.tab, "start", s.index, verb, all)}
}

// publish publishes and waits until the stream is up.
func (s *session) publish(name string, o options) *stream {
	s.tab.t.Helper()
	st := s.start("publish", name, o)
	st.want(wcs.StatusPublishing, "")
	return st
}

// play plays and waits until the stream is up.
func (s *session) play(name string, o options) *stream {
	s.tab.t.Helper()
	st := s.start("play", name, o)
	st.want(wcs.StatusPlaying, "")
	return st
}

// stop ends a stream without waiting.
func (st *stream) stop() {
	st.tab.t.Helper()
	st.tab.do("stop", st.index)
}

type statusInfo struct{ Status, Info string }

// next waits for the stream's next status.
func (st *stream) next() statusInfo {
	st.tab.t.Helper()
	return call[statusInfo](st.tab.tab, "nextStatus", st.index)
}

// want waits for the stream's next status and checks it.
func (st *stream) want(status wcs.Status, info string) {
	st.tab.t.Helper()
	if got := st.next(); got.Status != string(status) || got.Info != info {
		st.tab.t.Fatalf("stream is %s %q, want %s %q\n%s", got.Status, got.Info, status, info, st.tab.journal())
	}
}

// sent holds members of a status event.
type sent struct {
	AudioCodec, VideoCodec string
	HasAudio, HasVideo     bool
	Width, Height          int
}

// lastStatus returns the last status event of the stream, as the gateway sent it.
func (st *stream) lastStatus() sent {
	st.tab.t.Helper()
	return call[sent](st.tab.tab, "lastStatus", st.index)
}

// media is what a player receives, according to the browser's statistics and the video element.
type media struct {
	Frames, AudioPackets     int
	VideoCodec, AudioCodec   string
	Width, Height            int
	AudioTracks, VideoTracks int // played by the element
}

// mediaWant is the media that a player must receive. Width and Height 0: any size.
type mediaWant struct {
	Audio  bool `json:"audio"`
	Video  bool `json:"video"`
	Width  int  `json:"width"`
	Height int  `json:"height"`
}

// cameraMedia is the media received from camera.
var cameraMedia = mediaWant{Audio: true, Video: true, Width: 320, Height: 240}

// wantMedia waits until the player plays the wanted media, and checks that it plays nothing else.
func (st *stream) wantMedia(want mediaWant) media {
	st.tab.t.Helper()
	got := call[media](st.tab.tab, "playing", st.index, want)
	checkTracks(st.tab.t, got, want)
	return got
}

func checkTracks(t *testing.T, got media, want mediaWant) {
	t.Helper()
	if got.AudioTracks != count(want.Audio) || got.VideoTracks != count(want.Video) || (!want.Video && got.Frames > 0) || (!want.Audio && got.AudioPackets > 0) {
		t.Errorf("player has %+v, want %+v", got, want)
	}
}

func count(there bool) int {
	if there {
		return 1
	}
	return 0
}
