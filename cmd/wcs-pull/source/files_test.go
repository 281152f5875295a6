package source

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// record writes a file of so many seconds with ffmpeg; encoders and the name's ending say what it is.
func record(t testing.TB, file string, seconds int, encoders ...[]string) {
	t.Helper()
	rig.MakeFilm(t, file, "320x180", seconds, encoders...)
}

// folder returns a runner and its folder of files.
func folder(t *testing.T) (*Runner, *fakeRoom, string) {
	t.Helper()
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	return r, room, r.config.Folder
}

// wantPlayed requires that a whole file of so many seconds was published in real time.
func wantPlayed(t *testing.T, s *started, seconds int, begun time.Time) {
	t.Helper()
	s.wantFault(pull.Ended)
	if took := time.Since(begun); took < time.Duration(seconds-1)*time.Second {
		t.Errorf("%d s were played in %v", seconds, took)
	}
	video, audio := s.room.counts()
	if video < seconds*25-2 || audio < seconds*50-5 {
		t.Errorf("%d frames of video and %d of audio in %d s", video, audio, seconds)
	}
	if s.room.keys == 0 || s.room.reorders > 0 {
		t.Errorf("%d key frames, %d frames out of order", s.room.keys, s.room.reorders)
	}
	if s.room.target.Audio != translate.MimeOpus {
		t.Errorf("audio is %s", s.room.target.Audio)
	}
	v, a := s.room.video, s.room.audio
	if off := v[0] - a[0]; off.Abs() > 200*time.Millisecond {
		t.Errorf("video begins %v after audio", off)
	}
	if off := v[len(v)-1] - a[len(a)-1]; off.Abs() > 200*time.Millisecond {
		t.Errorf("video ends %v after audio", off)
	}
}

func TestFilesPlayInRealTimeToTheirEnd(t *testing.T) {
	for name, encoder := range map[string][]string{"plain.mp4": rig.CameraH264, "reordered.mkv": rig.CameraB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, room, dir := folder(t)
			record(t, filepath.Join(dir, name), 3, encoder, rig.CameraAAC)
			wantPlayed(t, begin(t, r, room, "vod://"+name, nil), 3, time.Now())
		})
	}
}

func TestFaultsOfFiles(t *testing.T) {
	r, _, dir := folder(t)
	secret := filepath.Join(t.TempDir(), "secret.mp4")
	record(t, secret, 1, rig.CameraH264, rig.CameraAAC)
	if err := os.Symlink(secret, filepath.Join(dir, "link.mp4")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"text.mp4":     "not a film",
		"list.m3u8":    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n" + secret + "\n#EXT-X-ENDLIST\n",
		"concat.mp4":   "ffconcat version 1.0\nfile '" + secret + "'\n",
		"session.mp4":  "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
		"picture.jpeg": "\xff\xd8\xff",
		"empty.mp4":    "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]pull.Fault{
		"none.mp4": pull.FileNotFound, "directory": pull.FileNotFound, "link.mp4": pull.FileNotFound,
		"text.mp4": pull.NoMedia, "list.m3u8": pull.NoMedia, "concat.mp4": pull.NoMedia, "session.mp4": pull.NoMedia,
		"picture.jpeg": pull.NoMedia, "empty.mp4": pull.NoMedia,
	} {
		t.Run(name, func(t *testing.T) {
			begin(t, r, &fakeRoom{}, "vod://"+name, nil).wantFault(want)
		})
	}
}

// web serves a folder with a password, and counts requests.
func web(t *testing.T, dir string) (server *httptest.Server, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	files := http.FileServer(http.Dir(dir))
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if _, password, _ := r.BasicAuth(); password != "pass word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server, requests
}

func withPassword(server *httptest.Server, password string) string {
	return strings.Replace(server.URL, "//", "//user:"+password+"@", 1)
}

func TestFilesAndPlaylistsOfWebServersPlay(t *testing.T) {
	dir := t.TempDir()
	record(t, filepath.Join(dir, "film.mp4"), 3, rig.CameraH264, rig.CameraAAC)
	record(t, filepath.Join(dir, "list.m3u8"), 3, rig.CameraB, rig.CameraAAC)
	server, _ := web(t, dir)
	for _, name := range []string{"film.mp4", "list.m3u8"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantPlayed(t, start1(t, withPassword(server, "pass%20word")+"/"+name+"?token=1", nil), 3, time.Now())
		})
	}
}

func TestFaultsOfWebServers(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text.mp4"), []byte("not a film"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, _ := web(t, dir)
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	for name, tt := range map[string]struct {
		url  string
		want pull.Fault
	}{
		"none":        {withPassword(server, "pass%20word") + "/none.mp4", pull.NotFound},
		"password":    {withPassword(server, "wrong") + "/text.mp4", pull.Unauthorized},
		"text":        {withPassword(server, "pass%20word") + "/text.mp4", pull.NoMedia},
		"refused":     {fmt.Sprintf("http://127.0.0.1:%d/film.mp4", rig.FreePort(t)), pull.Unreachable},
		"name":        {"http://web.invalid/film.mp4", pull.Unreachable},
		"forbidden":   {"http://169.254.169.254/latest/meta-data", pull.Forbidden},
		"certificate": {tls.URL + "/film.mp4", pull.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start1(t, tt.url, nil).wantFault(tt.want)
		})
	}
}

// Whatever a playlist names, ffmpeg neither opens files nor reaches an address that the source must not
// reach.
func TestPlaylistsLeadNowhereElse(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int64
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := inside.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			_ = conn.Close()
		}
	}()
	defer func() {
		_ = inside.Close()
		<-accepted
	}()
	secret := filepath.Join(t.TempDir(), "secret.ts")
	record(t, secret, 1, rig.CameraH264, rig.CameraAAC)
	at := inside.Addr().String()
	lines := map[string]string{
		"file": secret, "file URL": "file://" + secret, "file protocol": "file:" + secret, "concat": "concat:" + secret + "|" + secret,
		"subfile": "subfile,,start,0,end,0,,:" + secret, "crypto": "crypto:" + secret, "crypto file": "crypto+file:" + secret,
		"data": "data:video/mp2t;base64,R0AA", "tcp": "tcp://" + at, "udp": "udp://" + at, "rtsp": "rtsp://" + at + "/x", "rtmp": "rtmp://" + at + "/x/y",
		"tls": "tls://" + at, "https": "https://" + at + "/x.ts", "http": "http://" + at + "/x.ts", "decimal": "http://2130706433:" + at[strings.LastIndexByte(at, ':')+1:] + "/x.ts",
		"mapped": "http://[::ffff:127.0.0.1]:" + at[strings.LastIndexByte(at, ':')+1:] + "/x.ts", "ftp": "ftp://" + at + "/x.ts", "gopher": "gopher://" + at + "/x.ts",
	}
	for name, line := range maps.Clone(lines) {
		lines["variant "+name] = line
	}
	for name, line := range lines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form := "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n%s\n#EXT-X-ENDLIST\n"
			if variant, ok := strings.CutPrefix(name, "variant "); ok {
				form, name = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n%s\n", variant
			}
			server := files(t, map[string]string{"/list.m3u8": fmt.Sprintf(form, line)})
			room := &fakeRoom{lost: make(chan struct{})}
			r := testRunner(t, room)
			r.guard = loopbackOnly(t)
			s := begin(t, r, room, server+"/list.m3u8", func(j *Job) { j.Retry = time.Second })
			select {
			case err := <-s.done:
				s.done <- err
				fault, _ := pull.FaultOf(err)
				want := pull.NoMedia
				if strings.HasPrefix(line, "http") {
					want = pull.Forbidden
				}
				if fault != want && (name != "decimal" || fault != pull.Unreachable) { // a name, which can be unknown
					t.Errorf("the fault is %q, want %s", fault, want)
				}
			case <-time.After(patience):
				t.Error("the pull does not end")
			}
			if video, audio := room.counts(); video+audio > 0 {
				t.Errorf("%d frames were published", video+audio)
			}
		})
	}
	t.Cleanup(func() {
		if n := reached.Load(); n > 0 {
			t.Errorf("the address inside was reached %d times", n)
		}
	})
}

// files serves texts by path on another address of loopback.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, texts[r.URL.Path])
	})}}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// loopbackOnly allows 127.0.0.2 only.
func loopbackOnly(t *testing.T) *guard.Guard {
	t.Helper()
	return guard.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})
}

func TestWebServerThatEndsItsConnectionIsALoss(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record(t, filepath.Join(dir, "film.ts"), 10, rig.CameraH264, rig.CameraAAC)
	film, err := os.ReadFile(filepath.Join(dir, "film.ts"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(film)))
		_, _ = w.Write(film[:len(film)/4])
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	s := start1(t, server.URL+"/film.ts", func(j *Job) { j.Retry = 100 * time.Millisecond })
	s.await(pull.Running)
	s.await(pull.Interrupted)
	s.wantFault(pull.Lost)
}

func TestLivePlaylistPlaysOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	encoder := rig.StartPlaylist(t, filepath.Join(dir, "live.m3u8"), 4)
	server, _ := web(t, dir)
	s := start1(t, withPassword(server, "pass%20word")+"/live.m3u8", nil)
	s.await(pull.Running)
	s.frames(200, 300) // more than the playlist had at first
	if s.room.reorders > 0 {
		t.Errorf("%d frames out of order", s.room.reorders)
	}
	encoder.Stop() // which ends the playlist
	s.wantFault(pull.Ended)
}
