package e2e

import (
	"math"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

type videoRate struct {
	MediaSessionID string
	VideoRate, FPS float64
	LostPackets    int
	Width, Height  int
}

// vp8Payload is what a frame takes of RTP payload: cut into packets of at most 1200 bytes with their RTP
// header of 12, each with a descriptor of a byte (RFC 7741 §4.2). All figures are those of pion, which sends
// it.
func vp8Payload(frame int) float64 {
	const descriptor, most = 1, 1200 - 12
	packets := (frame + most - descriptor - 1) / (most - descriptor)
	return float64(frame + packets*descriptor)
}

// A publisher that sends a known number of bytes, players here and on another pod, and one whose application
// has rates off.
func TestVideoRatesMatchSentBytes(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"WCS_MEDIA_SILENCETIMEOUT": "6s",
		"WCS_APPLICATIONS":         `{defaultApp: {}, off: {rates: "off"}}`,
	}
	g, s := podsWith(t, 3, env)
	pub, here, there := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")
	off := rig.Dial(t, g[0].URL)
	off.Send("connection", map[string]any{"appKey": "off", "mediaProviders": []string{"WebRTC"}})
	peer := rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240})
	pub.Publish("rates-pub", "rates", peer)
	here.Play("rates-here", "rates", rig.NewPlayer(t, rig.PeerOptions{}))
	there.Play("rates-there", "rates", rig.NewPlayer(t, rig.PeerOptions{}))
	off.Play("rates-off", "rates", rig.NewPlayer(t, rig.PeerOptions{}))

	payload := vp8Payload(len(rig.VP8Frame(320, 240)))
	wantKnownRate(t, pub, "inboundVideoRate", peer, payload)
	wantKnownRate(t, here, "outboundVideoRate", peer, payload)
	wantKnownRate(t, there, "outboundVideoRate", peer, payload)

	for _, c := range []*rig.Client{here, there, off} { // the size as it was
		c.AwaitMatch("the size", func(m rig.Message) bool { return strings.Contains(m.Raw, `"streamerVideoWidth":320`) })
	}
	peer.Resize(640, 480)
	resized := time.Now()
	for _, c := range []*rig.Client{here, there, off} {
		m := c.AwaitMatch("the new size", func(m rig.Message) bool {
			return m.Name == "notifyVideoFormat" && strings.Contains(m.Raw, `"streamerVideoWidth":640,"streamerVideoHeight":480`)
		})
		t.Logf("new size sent after %v", m.At.Sub(resized))
		if took := m.At.Sub(resized); took > 4*time.Second { // it takes up to 2 s; the machine may be busy
			t.Errorf("new size sent after %v", took)
		}
	}
	peer.Silence()
	silent := time.Now()
	pub.WantStatus("rates-pub", "FAILED", "Failed by RTP activity")
	t.Logf("silence noticed after %v", time.Since(silent))
	for id, c := range map[string]*rig.Client{"rates-here": here, "rates-there": there, "rates-off": off} {
		c.WantStatus(id, "FAILED", "Stopped by publisher stop")
	}
	if text := off.Names(); strings.Contains(text, "VideoRate") || strings.Contains(text, "webRTCMetrics") {
		t.Errorf("with rates off a client was sent %s", text)
	}
	s.WantClean(t)
}

const watched = 12 // seconds

// wantKnownRate takes the rates that a client received, and compares them with what the publisher has sent in
// that time.
func wantKnownRate(t *testing.T, c *rig.Client, name string, peer *rig.Peer, payload float64) {
	t.Helper()
	var r videoRate
	var since, until time.Time
	var bits, frames float64
	for i := range watched {
		m := c.Await(name)
		m.Arg(t, 0, &r)
		if i == 0 { // it is about the second before
			since = m.At
			continue
		}
		until, bits, frames = m.At, bits+r.VideoRate, frames+r.FPS
	}
	took := until.Sub(since).Seconds()
	want := float64(peer.Frames(since, until)) * (watched - 1) / took // in as many seconds as rates were received for
	t.Logf("%s: %.0f frames reported, %.1f sent; %.0f bytes reported, %.0f sent; in %.3f s", r.MediaSessionID, frames, want, bits/8, want*payload, took)
	if off := math.Abs(frames/want - 1); off > 0.03 {
		t.Errorf("%s: %.0f frames reported, %.1f sent", r.MediaSessionID, frames, want)
	}
	if off := math.Abs(bits/8/(want*payload) - 1); off > 0.03 {
		t.Errorf("%s: %.0f bytes reported, %.0f sent", r.MediaSessionID, bits/8, want*payload)
	}
	if r.Width != 320 || r.Height != 240 || r.LostPackets != 0 {
		t.Errorf("%+v", r)
	}
}
