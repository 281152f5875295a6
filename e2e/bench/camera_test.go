package bench

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	rtpformat "github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"

	"wcsgateway/e2e/rig"
)

const (
	cameraRounds = 12
	cameraPeriod = time.Second // from one key frame to the next
)

// measureCamera measures playStream → first frame shown of a camera, in Chromium, against what no gateway can
// avoid: the RTSP handshake and the wait for the first key frame, by a client of RTSP on the same camera in
// the same run. The rounds of each begin at moments that are spread evenly between two key frames, so their
// means have the same wait in them.
func measureCamera(b *testing.B, p *programs, results *report) {
	s := newStageWith(b, p, map[string]string{
		"WCS_PULL_SECRET": rig.PullSecret, "WCS_APPLICATIONS": `{defaultApp: {pull: {allow: ["rtsp://127.0.0.1:*"]}}}`,
	})
	rig.StartPullWorker(b, s.livekit, s.redis.Addr, map[string]string{"WCS_PULL_LOG_LEVEL": "info", "WCS_PULL_MAX": "100"})
	server := rig.StartRTSP(b, "", "")
	film := filepath.Join(b.TempDir(), "film.mkv")
	rig.MakeFilm(b, film, "1280x720", 10, rig.CameraH264, rig.CameraG711)
	server.Feed("cam", "-re", "-stream_loop", "-1", "-i", film, "-c", "copy") // costs no time to encode
	keys := watchKeys(b, server.URL("cam"))
	t := openTab(b, filepath.Join(p.root, "e2e", "browser"))
	t.call(b, "openCamera")

	phase := func(i int) time.Duration { return cameraPeriod * time.Duration(i) / cameraRounds }
	sources := 0
	cold := func(i int) time.Duration {
		sources++ // each is another source to the gateway, and the same camera
		<-time.After(keys.until(phase(i)))
		return t.call(b, "wcsCamera", s.gateway.URL, fmt.Sprintf("%s?%d", server.URL("cam"), sources))
	}
	direct := func(i int) time.Duration {
		<-time.After(keys.until(phase(i)))
		return firstKey(b, server.URL("cam"))
	}
	interleave(browserWarmUp, cold, direct)
	ours, theirs := interleave(cameraRounds, cold, direct)
	rig.Connect(b, s.gateway.URL, "defaultApp").Play("holder", server.URL("cam"), rig.NewPlayer(b, rig.PeerOptions{}))
	var warm samples
	for i := range cameraRounds {
		<-time.After(keys.until(phase(i)))
		warm = append(warm, t.call(b, "wcsCamera", s.gateway.URL, server.URL("cam")))
	}
	const against = "RTSP handshake → first key frame"
	results.add(
		row{Measure: "camera, cold: playStream → first frame (mean)", Unit: "ms", Ours: millis(ours.mean()), Baseline: millis(theirs.mean()), Against: against},
		row{Measure: "  difference of the means", Unit: "ms", Ours: millis(ours.mean() - theirs.mean()), Goal: goal{Ours: 300}},
		row{Measure: "camera, warm: playStream → first frame (mean)", Unit: "ms", Ours: millis(warm.mean())},
	)
}

// keyClock knows when the key frames of a camera come.
type keyClock struct {
	mu   sync.Mutex
	last time.Time
}

// until returns how long it is until a time after a key frame.
func (k *keyClock) until(phase time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait := time.Until(k.last.Add(phase))
	for wait < 0 {
		wait += cameraPeriod
	}
	return wait
}

// watchKeys reads a camera until the measure ends. It returns when the first key frame has come.
func watchKeys(b *testing.B, url string) *keyClock {
	b.Helper()
	k, first := &keyClock{}, make(chan struct{})
	once := sync.OnceFunc(func() { close(first) })
	b.Cleanup(readKeys(b, url, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.last = time.Now()
		once()
	}))
	<-first
	return k
}

// firstKey returns the time from before the connection until the first key frame.
func firstKey(b *testing.B, url string) time.Duration {
	b.Helper()
	begun, took := time.Now(), make(chan time.Duration, 1)
	stop := readKeys(b, url, func() {
		select {
		case took <- time.Since(begun):
		default: // a later one
		}
	})
	defer stop()
	return <-took
}

// readKeys reads a camera and calls a function with each key frame that is complete.
func readKeys(b *testing.B, url string, onKey func()) (stop func()) {
	b.Helper()
	u, err := base.ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	tcp := gortsplib.TransportTCP
	client := &gortsplib.Client{Transport: &tcp, OnPacketLost: func(error) {}}
	if err := client.Start(u.Scheme, u.Host); err != nil {
		b.Fatal(err)
	}
	session, _, err := client.Describe(u)
	if err != nil {
		b.Fatal(err)
	}
	var video *rtpformat.H264
	media := session.FindFormat(&video)
	decoder, err := video.CreateDecoder()
	if err != nil {
		b.Fatal(err)
	}
	if err := client.SetupAll(session.BaseURL, session.Medias); err != nil {
		b.Fatal(err)
	}
	client.OnPacketRTP(media, video, func(p *rtp.Packet) {
		if unit, err := decoder.Decode(p); err == nil && h264.IsRandomAccess(unit) {
			onKey()
		}
	})
	if _, err := client.Play(nil); err != nil {
		b.Fatal(err)
	}
	return client.Close
}
