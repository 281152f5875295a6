package clients

import (
	"flag"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

// more is set by make test-more.
var more = flag.Bool("more", false, "run all cases, not only one short case of each client")

// Versions of the WCS SDK that e2e/browser installs.
const (
	oldestSDK = "2.0.180"
	newestSDK = "2.0.276"
)

// TestFirefoxPublishesAndPlays publishes and plays in one page.
func TestFirefoxPublishesAndPlays(t *testing.T) {
	s, pages := newStageAt(t, networkAddress(t)), newPages(t)
	versions := []string{newestSDK}
	if *more {
		versions = append(versions, oldestSDK)
	}
	for _, sdk := range versions {
		t.Run(sdk, func(t *testing.T) {
			name := "firefox-" + sdk
			rig.StartFirefox(t, pages.address(s, sdk, name))
			if agent := pages.wantMedia(t, name); !strings.Contains(agent, "Firefox/") {
				t.Errorf("the browser is %s", agent)
			}
		})
	}
	s.WantClean(t)
}

// TestPagesFromFilesPublishAndPlay publishes and plays in pages that Chromium opens from files, as a web view
// of an app with --allow-file-access-from-files and as a browser does.
func TestPagesFromFilesPublishAndPlay(t *testing.T) {
	s, pages := newStage(t), newPages(t)
	for _, c := range []struct {
		name, origin string
		flags        []string
	}{
		{"web-view", "file://", []string{"--allow-file-access-from-files"}},
		{"browser", "null", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			startChromium(t, pages.file(t, s, newestSDK, c.name), c.flags...)
			if got := s.backend.Await("connect").Text("origin"); got != c.origin {
				t.Errorf("origin %q, want %q", got, c.origin)
			}
			pages.wantMedia(t, c.name)
		})
	}
	s.WantClean(t)
}

// peerCase is a client that makes its offers with a script in peer/.
type peerCase struct {
	more         bool // only with the flag
	script       string
	args         []string // after the verb
	audio, video string
}

// TestPeersOfOtherLibrariesPublishAndPlay publishes with a library and plays with the same.
func TestPeersOfOtherLibrariesPublishAndPlay(t *testing.T) {
	s := newStage(t)
	for name, c := range map[string]peerCase{
		"aiortc":                         {script: "aiortc_peer.py", args: []string{"audio,video"}, audio: "opus", video: "VP8"},
		"GStreamer VP8 without BUNDLE":   {script: "gst.py", args: []string{"VP8", "none"}, video: "VP8"},
		"GStreamer audio without BUNDLE": {more: true, script: "gst.py", args: []string{"opus", "none"}, audio: "opus"},
		"GStreamer that receives video":  {more: true, script: "gst.py", args: []string{"opus,recv:VP8", "max-bundle"}, audio: "opus"}, // as the Android SDK
		"aiortc audio":                   {more: true, script: "aiortc_peer.py", args: []string{"audio"}, audio: "opus"},
		"aiortc video":                   {more: true, script: "aiortc_peer.py", args: []string{"video"}, video: "VP8"},
		"GStreamer VP8":                  {script: "gst.py", args: []string{"opus,VP8", "max-bundle"}, audio: "opus", video: "VP8"},
		"GStreamer H264":                 {more: true, script: "gst.py", args: []string{"opus,H264", "max-bundle"}, audio: "opus", video: "H264"},
		"GStreamer audio":                {more: true, script: "gst.py", args: []string{"opus", "max-bundle"}, audio: "opus"},
		"GStreamer only VP8":             {more: true, script: "gst.py", args: []string{"VP8", "max-bundle"}, video: "VP8"},
	} {
		if c.more && !*more {
			continue
		}
		t.Run(name, func(t *testing.T) {
			stream := strings.ReplaceAll(name, " ", "-")
			publisher := startPeer(t, c.script, append([]string{"publish"}, c.args...)...)
			st := publisher.begin(s, "publishStream", stream, "PUBLISHING")
			c.wantCodecs(t, st)
			player := startPeer(t, c.script, append([]string{"play"}, c.args...)...)
			st = player.begin(s, "playStream", stream, "PLAYING")
			c.wantCodecs(t, st)
			want := decoded{}
			if c.audio != "" {
				want.Audio = 50 // a second
			}
			if c.video != "" {
				want.Video = 15 // half a second or one
			}
			player.wantMedia(want)
		})
	}
	s.WantClean(t)
}

// TestTwoTransportsAreRejected offers two m-lines without BUNDLE, of which LiveKit has a transport for one.
func TestTwoTransportsAreRejected(t *testing.T) {
	if !*more {
		t.Skip("only with -more")
	}
	s := newStage(t)
	c := rig.Connect(t, s.Gateway.URL, "defaultApp")
	offer := startPeer(t, "gst.py", "publish", "opus,VP8", "none").awaitOffer()
	c.Send("publishStream", rig.StreamRequest("m", "two-transports", offer, true, nil))
	c.WantStatus("m", "FAILED", "Bad SDP: malformed SDP: no BUNDLE group has all m-lines in use")
	s.WantClean(t)
}

func (c peerCase) wantCodecs(t *testing.T, st rig.Status) {
	t.Helper()
	if st.AudioCodec != c.audio || st.VideoCodec != c.video {
		t.Errorf("%s: codecs %q and %q, want %q and %q", st.Status, st.AudioCodec, st.VideoCodec, c.audio, c.video)
	}
}
