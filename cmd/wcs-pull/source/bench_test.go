package source

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/media"
	"wcsgateway/translate/pull"
)

// benchWorker is set in the process whose cost BenchmarkCameras measures: the source, the number of pulls,
// LiveKit's URL, key and secret.
const benchWorker = "WCS_PULL_BENCH"

// workMany pulls a source several times until it is killed.
func workMany(text string) {
	f := strings.Fields(text)
	sfu, err := livekit.New(livekit.Config{URL: f[2], Key: f[3], Secret: f[4]}, livekit.Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := New(Config{LiveKit: sfu, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Sandbox: sandbox.Available() == nil})
	if err != nil {
		fmt.Println(err)
		return
	}
	n, _ := strconv.Atoi(f[1])
	source, err := pull.Parse(f[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	var pulls sync.WaitGroup
	for i := range n {
		pulls.Go(func() {
			j := Job{Source: source, Room: fmt.Sprintf("wcs-pull.bench.%d", i), Identity: "wcs-pull-1-1", Retry: time.Minute}
			fmt.Println(r.Run(context.Background(), j, func(s pull.State, err error) { fmt.Println(s, err) }))
		})
	}
	pulls.Wait()
}

// usage returns the CPU time and the resident memory of a process.
func usage(b *testing.B, id string) (cpu time.Duration, memory int) {
	b.Helper()
	text, err := os.ReadFile("/proc/" + id + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	pages, _ := strconv.Atoi(f[21])
	return time.Duration(user+system) * 10 * time.Millisecond, pages * os.Getpagesize()
}

// BenchmarkCameras measures what a worker costs for each camera of 720p with 25 frames a second. Run it with
// -benchtime 1x.
func BenchmarkCameras(b *testing.B) {
	const pulls, measured = 10, 30 * time.Second
	lk := rig.StartLiveKit(b, rig.LiveKitOptions{})
	server := rig.StartRTSP(b, "", "")
	two := []string{"-b:v", "2M", "-maxrate", "2M", "-bufsize", "1M"}
	for name, audio := range map[string][]string{"passed": rig.CameraG711, "aac": rig.CameraAAC} {
		b.Run(name, func(b *testing.B) {
			film := filepath.Join(b.TempDir(), "film.mkv")
			rig.MakeFilm(b, film, "1280x720", 30, rig.CameraH264, two, audio)
			camera := server.Feed(name, "-re", "-stream_loop", "-1", "-i", film, "-c", "copy") // costs no time to encode
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s %s %s", benchWorker, server.URL(name), pulls, lk.URL, lk.Key, lk.Secret))
			out, err := cmd.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			worker := rig.StartCmd(b, cmd)
			lines := bufio.NewScanner(out)
			for running := 0; running < pulls && lines.Scan(); {
				if strings.HasPrefix(lines.Text(), string(pull.Running)) {
					running++
				}
			}
			ids := []string{strconv.Itoa(worker.PID())}
			for id := range children(b, worker.PID(), "ffmpeg") {
				ids = append(ids, id)
			}
			sum := func() (cpu time.Duration, memory int) {
				for _, id := range ids {
					c, m := usage(b, id)
					cpu, memory = cpu+c, memory+m
				}
				return cpu, memory
			}
			before, _ := sum()
			packets := server.Packets()
			begun := time.Now()
			<-time.After(measured)
			after, memory := sum()
			b.ReportMetric(100*float64(after-before)/float64(time.Since(begun))/pulls, "%core/camera")
			b.ReportMetric(float64(memory)/pulls/(1<<20), "MiB/camera")
			b.ReportMetric(float64(server.Packets()-packets)/time.Since(begun).Seconds(), "packets/s")
			b.ReportMetric(0, "ns/op")
			worker.Kill()
			camera.Stop()
		})
	}
}

// BenchmarkStart measures the time from the start of a pull to its tracks at LiveKit, and to the first key
// frame at a player that starts then. The camera has a key frame each second.
func BenchmarkStart(b *testing.B) {
	server := rig.StartRTSP(b, "", "")
	server.Camera("cam", "1280x720", rig.CameraH264, rig.CameraG711)
	s := newStage(b)
	var running, shown, warm []time.Duration
	for range 15 {
		begun := time.Now()
		p := s.run(server.URL("cam"))
		p.await(pull.Running)
		running = append(running, time.Since(begun))
		first := func(begun time.Time) time.Duration {
			w := s.watch(translate.MimePCMU)
			rig.Eventually(b, patience, "the first key frame", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return !w.first.IsZero()
			})
			return w.first.Sub(begun)
		}
		shown = append(shown, first(begun))
		warm = append(warm, first(time.Now()))
		p.stop()
	}
	for name, list := range map[string][]time.Duration{"running": running, "shown": shown, "warm": warm} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Milliseconds()), name+"-ms")
		b.ReportMetric(float64(list[len(list)*9/10].Milliseconds()), name+"-p90-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPictureAndSound measures how far apart a picture and its sound are at a player, by the sender
// reports that it gets from LiveKit.
func BenchmarkPictureAndSound(b *testing.B) {
	server := rig.StartRTSP(b, "", "")
	server.Camera("g711", "1280x720", beeps, rig.CameraH264, rig.CameraG711)
	s := newStage(b)
	var list []time.Duration
	for range 10 {
		p := s.run(server.URL("g711"))
		p.await(pull.Running)
		w := s.watch(translate.MimePCMU)
		rig.Eventually(b, patience, "beeps and key frames", func() bool {
			_, ok := w.offset()
			return ok
		})
		off, _ := w.offset()
		list = append(list, off.Abs())
		p.stop()
	}
	slices.Sort(list)
	b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, "ms-apart")
	b.ReportMetric(float64(list[len(list)-1].Microseconds())/1000, "ms-apart-max")
	b.ReportMetric(0, "ns/op")
}

// watcher is a player that finds the key frames and beeps in what it receives.
type watcher struct {
	mu      sync.Mutex
	pc      *webrtc.PeerConnection
	reports map[string]*rtcp.SenderReport // the newest of each kind
	keys    []uint32                      // timestamps
	beeps   []uint32
	largest int // packet in bytes
	first   time.Time
}

// watch starts a player.
func (s *stage) watch(audio string) *watcher {
	s.t.Helper()
	var m webrtc.MediaEngine
	for _, codec := range []webrtc.RTPCodecParameters{
		{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "packetization-mode=1;profile-level-id=42e01f"}},
		{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000, Channels: 1}},
		{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}},
	} {
		kind := webrtc.RTPCodecTypeAudio
		if codec.PayloadType == 96 {
			kind = webrtc.RTPCodecTypeVideo
		}
		if err := m.RegisterCodec(codec, kind); err != nil {
			s.t.Fatal(err)
		}
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		s.t.Fatal(err)
	}
	w := &watcher{pc: pc, reports: map[string]*rtcp.SenderReport{}}
	s.t.Cleanup(func() { _ = pc.GracefulClose() })
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			s.t.Fatal(err)
		}
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go w.readRTCP(track, receiver)
		w.read(track, audio)
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		s.t.Fatal(err)
	}
	<-gathered
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	answer, err := s.sfu.Play(ctx, translate.PlayOffer{
		Room: testRoom, Identity: translate.NewIdentity("test", translate.RolePlay, translate.NewPodTag()), MediaID: "media",
		Publisher: "wcs-pull-1-1",
		Offer: func(p translate.Participant) (string, []translate.Track, error) {
			return pc.LocalDescription().SDP, p.Tracks, nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (w *watcher) readRTCP(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if report, ok := packet.(*rtcp.SenderReport); ok && report.SSRC == uint32(track.SSRC()) {
				w.mu.Lock()
				w.reports[track.Kind().String()] = report
				w.mu.Unlock()
			}
		}
	}
}

func (w *watcher) read(track *webrtc.TrackRemote, audio string) {
	var sizes media.Sizes
	quiet := 0 // packets since the last loud one
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.largest = max(w.largest, packet.MarshalSize())
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			if _, _, key := sizes.KeyFrame(webrtc.MimeTypeH264, packet.Payload); key && !slices.Contains(w.keys, packet.Timestamp) {
				w.keys = append(w.keys, packet.Timestamp)
				if w.first.IsZero() {
					w.first = time.Now()
				}
			}
			w.mu.Unlock()
			continue
		}
		at, loud := loudness(packet.Payload, audio)
		switch {
		case loud && quiet > 5:
			w.beeps = append(w.beeps, packet.Timestamp+at)
			quiet = 0
		case loud:
			quiet = 0
		default:
			quiet++
		}
		w.mu.Unlock()
	}
}

// offset returns how much later the picture of a moment is than its sound, at the player's clock.
func (w *watcher) offset() (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	video, audio := w.reports["video"], w.reports["audio"]
	if video == nil || audio == nil || len(w.keys) < 3 || len(w.beeps) < 3 {
		return 0, false
	}
	rate := uint32(8000)
	if len(w.beeps) > 1 && w.beeps[1]-w.beeps[0] > 30000 {
		rate = 48000
	}
	picture := clockOf(video, w.keys[len(w.keys)-1], 90000)
	sound := clockOf(audio, w.beeps[len(w.beeps)-1], rate)
	return inSecond(picture.Sub(sound)), true
}

func clockOf(report *rtcp.SenderReport, stamp, rate uint32) time.Time {
	at := time.Unix(int64(report.NTPTime>>32)-2208988800, int64(report.NTPTime&0xffffffff)*int64(time.Second)>>32)
	return at.Add(time.Duration(int32(stamp-report.RTPTime)) * time.Second / time.Duration(rate))
}

// BenchmarkStartOfAChild is what a sandbox costs at the start of a program: without one, in one without a
// network, and in one with a connection to the worker, which the launcher makes.
func BenchmarkStartOfAChild(b *testing.B) {
	if err := sandbox.Available(); err != nil {
		b.Skip(err)
	}
	for name, tt := range map[string]struct {
		sandbox bool
		network string
	}{"shared": {}, "alone": {sandbox: true}, "with a connection": {sandbox: true, network: sandbox.TCP}} {
		b.Run(name, func(b *testing.B) {
			r := &Runner{config: Config{Sandbox: tt.sandbox}}
			for b.Loop() {
				p, err := r.start(b.Context(), command{program: "/bin/true", network: tt.network, serve: func(socket *os.File) (io.Closer, error) {
					return io.NopCloser(nil), nil
				}})
				if err != nil {
					b.Fatal(err)
				}
				if err := p.wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
