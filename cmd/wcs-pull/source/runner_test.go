package source

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"go.uber.org/goleak"

	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

func TestMain(m *testing.M) {
	if film := os.Getenv(workerFilm); film != "" {
		work(film)
		return
	}
	if text := os.Getenv(benchWorker); text != "" {
		workMany(text)
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// fakeRoom is a Publisher that records what it gets.
type fakeRoom struct {
	mu       sync.Mutex
	target   translate.PullTarget
	video    []time.Duration
	audio    []time.Duration
	keys     int
	orphans  int // frames of video after a restart, before the next key frame
	reorders int
	restarts int
	cut      bool // restarted, without a key frame since
	bytes    int
	removed  bool
	closed   bool
	lost     chan struct{}
}

func (f *fakeRoom) WriteVideo(unit [][]byte, at time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.video); n > 0 && at < f.video[n-1] {
		f.reorders++
	}
	f.video = append(f.video, at)
	switch {
	case h264.IsRandomAccess(unit):
		f.keys++
		f.cut = false
	case f.cut:
		f.orphans++
	}
	return nil
}

func (f *fakeRoom) WriteAudio(frame []byte, at time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.audio = append(f.audio, at)
	f.bytes += len(frame)
	return nil
}

func (f *fakeRoom) Published(context.Context, time.Duration) error { return nil }

func (f *fakeRoom) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restarts++
	f.cut = true
	f.video, f.audio = nil, nil
}

func (f *fakeRoom) Done() <-chan struct{} { return f.lost }

func (f *fakeRoom) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

func (f *fakeRoom) counts() (video, audio int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.video), len(f.audio)
}

// started is a pull that runs in a test.
type started struct {
	t      testing.TB
	room   *fakeRoom
	stop   func()
	states chan pull.State
	done   chan error
	last   error
}

func testRunner(t *testing.T, room *fakeRoom) *Runner {
	t.Helper()
	rig.SkipShort(t)
	r, err := New(Config{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Folder: t.TempDir(), Sandbox: sandbox.Available() == nil})
	if err != nil {
		t.Fatal(err)
	}
	r.publish = func(_ context.Context, target translate.PullTarget) (Publisher, error) {
		room.target = target
		return room, nil
	}
	r.remove = func(context.Context, translate.PullTarget) { room.removed = true }
	return r
}

// begin runs a pull of a URL.
func begin(t testing.TB, r *Runner, room *fakeRoom, url string, change func(*Job)) *started {
	t.Helper()
	source, err := pull.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	j := Job{Source: source, Room: "room", Identity: "wcs-pull-1-1", Retry: patience}
	if change != nil {
		change(&j)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &started{t: t, room: room, states: make(chan pull.State, 100), done: make(chan error, 1)}
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case s.last = <-s.done:
		case <-time.After(patience):
			t.Error("the pull does not end")
		}
	})
	go func() {
		s.done <- r.Run(ctx, j, func(state pull.State, err error) {
			if state == pull.Failed && room.removed {
				t.Error("the publisher left before its failure was reported")
			}
			s.states <- state
		})
	}()
	t.Cleanup(s.stop)
	return s
}

func start1(t *testing.T, url string, change func(*Job)) *started {
	t.Helper()
	room := &fakeRoom{lost: make(chan struct{})}
	return begin(t, testRunner(t, room), room, url, change)
}

// await waits for a state.
func (s *started) await(want pull.State) {
	s.t.Helper()
	for {
		select {
		case got := <-s.states:
			if got == want {
				return
			}
		case err := <-s.done:
			s.done <- err
			s.t.Fatalf("the pull ended with %v before it was %s", err, want)
		case <-time.After(patience):
			s.t.Fatalf("the pull is not %s after %v", want, patience)
		}
	}
}

// frames waits for so many frames of video and audio.
func (s *started) frames(video, audio int) {
	s.t.Helper()
	rig.Eventually(s.t, patience, "frames are published", func() bool {
		v, a := s.room.counts()
		return v >= video && a >= audio
	})
}

// wantFault waits for the end of a pull.
func (s *started) wantFault(want pull.Fault) *pull.Error {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		var fault *pull.Error
		if !errors.As(err, &fault) || fault.Fault != want {
			s.t.Fatalf("the pull ended with %v, want %s", err, want)
		}
		var states []pull.State
		for len(s.states) > 0 {
			states = append(states, <-s.states)
		}
		if n := len(states); n > 0 && states[n-1] != pull.Failed {
			s.t.Errorf("states are %v, want failed at the end", states)
		}
		return fault
	case <-time.After(patience):
		s.t.Fatalf("the pull does not end with %s", want)
	}
	return nil
}

func TestCameraPassesUnchanged(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "admin", "pass word")
	server.Camera("g711", "640x360", rig.CameraH264, rig.CameraG711)
	s := start1(t, server.URL("g711"), nil)
	s.await(pull.Connecting)
	s.await(pull.Running)
	s.frames(50, 50)
	if want := (translate.PullTarget{Room: "room", Identity: "wcs-pull-1-1", Video: true, Audio: translate.MimePCMU}); s.room.target != want {
		t.Errorf("published %+v, want %+v", s.room.target, want)
	}
	s.stop()
	if s.last != nil || !s.room.removed || !s.room.closed {
		t.Errorf("end with %v, removed %v, closed %v", s.last, s.room.removed, s.room.closed)
	}
	if s.room.keys == 0 || s.room.reorders > 0 {
		t.Errorf("%d key frames, %d frames out of order", s.room.keys, s.room.reorders)
	}
	// Both clocks run as the source's do, but for the steps by which video moves when the camera's first reports
	// relate it to audio: before, their relation is that of the first packets' arrival.
	video, audio := s.room.video, s.room.audio
	exact := 0
	for i, at := range video[1:] {
		switch off := (at - video[i]).Round(time.Millisecond) - 40*time.Millisecond; {
		case off == 0:
			exact++
		case off.Abs() > syncStep:
			t.Errorf("frame %d of video is %v after the one before", i+1, at-video[i])
		}
	}
	if exact < len(video)/2 {
		t.Errorf("only %d of %d frames of video are 40 ms apart", exact, len(video))
	}
	if off := video[len(video)-1] - audio[len(audio)-1]; off.Abs() > 500*time.Millisecond {
		t.Errorf("video ends %v after audio", off)
	}
}

func TestAudioOfCamerasIsTranscodedOnlyIfItMustBe(t *testing.T) {
	server := rig.StartRTSP(t, "", "")
	for _, tt := range []struct {
		name    string
		encoder []string
		mime    string
	}{{"aac", rig.CameraAAC, translate.MimeOpus}, {"opus", rig.CameraOpus, translate.MimeOpus}, {"alaw", rig.CameraG711A, translate.MimePCMA}} {
		t.Run(tt.name, func(t *testing.T) {
			camera := server.Camera(tt.name, "320x180", rig.CameraH264, tt.encoder)
			s := start1(t, server.URL(tt.name), nil)
			s.await(pull.Running)
			s.frames(25, 50)
			s.stop()
			camera.Stop()
			if s.room.target.Audio != tt.mime {
				t.Errorf("audio is %s, want %s", s.room.target.Audio, tt.mime)
			}
			if !slices.IsSorted(s.room.audio) {
				t.Error("audio is out of order")
			}
			video, audio := s.room.video, s.room.audio
			if off := video[len(video)-1] - audio[len(audio)-1]; off.Abs() > 2*time.Second {
				t.Errorf("video ends %v after audio", off)
			}
		})
	}
}

func TestVideoOfCamerasIsEncodedOnlyWhereConfigured(t *testing.T) {
	server := rig.StartRTSP(t, "", "")
	for name, encoder := range map[string][]string{"b": rig.CameraB, "h265": rig.CameraH265} {
		t.Run(name, func(t *testing.T) {
			camera := server.Camera(name, "320x180", encoder)
			refused := start1(t, server.URL(name), nil)
			refused.wantFault(pull.NeedsTranscoding)
			s := start1(t, server.URL(name), func(j *Job) { j.Transcode = true })
			s.await(pull.Running)
			s.frames(30, 0)
			s.stop()
			camera.Stop()
			if s.room.keys == 0 {
				t.Error("no key frame")
			}
		})
	}
}

func TestFaultsOfCameras(t *testing.T) {
	server := rig.StartRTSP(t, "admin", "secret")
	server.Camera("cam", "320x180", rig.CameraH264)
	server.Camera("silent", "320x180", []string{"-c:v", "mjpeg", "-pix_fmt", "yuvj420p"})
	address := server.URL("")[len("rtsp://admin:secret@"):]
	unused := rig.FreePort(t)
	for name, tt := range map[string]struct {
		url  string
		want pull.Fault
	}{
		"none":        {server.URL("none"), pull.NotFound},
		"password":    {"rtsp://admin:wrong@" + address + "cam", pull.Unauthorized},
		"no password": {"rtsp://" + address + "cam", pull.Unauthorized},
		"refused":     {"rtsp://127.0.0.1:" + strconv.Itoa(unused) + "/cam", pull.Unreachable},
		"name":        {"rtsp://camera.invalid/cam", pull.Unreachable},
		"forbidden":   {"rtsp://169.254.169.254/cam", pull.Forbidden},
		"no media":    {server.URL("silent"), pull.NoMedia},
		"moved":       {server.URL("moved/127.0.0.1:" + strconv.Itoa(unused) + "/cam"), pull.Forbidden},
		"moved home":  {server.URL("moved/" + address + "none"), pull.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			fault := start1(t, tt.url, nil).wantFault(tt.want)
			if fault.Detail == "" {
				t.Error("the fault has no detail")
			}
		})
	}
}

func TestLostCameraIsOpenedAgainWhileItsTracksStay(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	s := start1(t, server.URL("cam"), nil)
	s.await(pull.Running)
	s.frames(5, 5)
	server.Stop()
	s.await(pull.Interrupted)
	server.Start()
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	s.await(pull.Running)
	s.frames(10, 10)
	s.stop()
	if s.room.restarts != 1 {
		t.Errorf("%d restarts, want 1", s.room.restarts)
	}
}

// A camera that is read again and again and sends nothing is waited for, and plays on when it sends.
func TestFrozenCameraIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	r.stall.rtsp = time.Second
	s := begin(t, r, room, server.URL("cam"), nil)
	s.await(pull.Running)
	s.frames(5, 5)
	server.Freeze(true)
	s.await(pull.Interrupted)
	rig.Eventually(t, patience, "the camera is read three times", func() bool { return server.Readers() == 3 })
	server.Freeze(false)
	s.await(pull.Running)
	s.frames(10, 10)
}

// A connection that ends between two key frames is followed by one that begins between two others: players
// get nothing that they cannot decode.
func TestCameraThatIsCutGoesOnWithAKeyFrame(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264, []string{"-g", "75"}, rig.CameraG711)
	s := start1(t, server.URL("cam"), nil)
	s.await(pull.Running)
	s.frames(80, 5)
	for range 2 {
		server.Cut()
		s.await(pull.Interrupted)
		s.await(pull.Running)
		s.frames(10, 10)
	}
	s.stop()
	if s.room.orphans > 0 || s.room.restarts != 2 {
		t.Errorf("%d frames without their key frame, %d restarts", s.room.orphans, s.room.restarts)
	}
}

func TestCameraThatDoesNotReturnFailsAfterItsRetryTime(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	s := start1(t, server.URL("cam"), func(j *Job) { j.Retry = 2 * time.Second })
	s.await(pull.Running)
	s.frames(5, 5)
	server.Stop()
	s.await(pull.Interrupted)
	s.wantFault(pull.Lost)
}

func TestCameraThatReturnsWithOtherTracksFails(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	s := start1(t, server.URL("cam"), nil)
	s.await(pull.Running)
	s.frames(5, 5)
	server.Stop()
	s.await(pull.Interrupted)
	server.Start()
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraOpus)
	s.wantFault(pull.NoMedia)
}

func TestPullEndsWithItsPublisher(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264)
	s := start1(t, server.URL("cam"), nil)
	s.await(pull.Running)
	close(s.room.lost)
	s.wantFault(pull.Internal)
}
