package rig

import (
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// Encoders of cameras, as arguments of ffmpeg.
var (
	CameraH264  = []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "25", "-b:v", "1M"}
	CameraB     = []string{"-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "25", "-b:v", "1M"}
	CameraH265  = []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0:keyint=25", "-pix_fmt", "yuv420p"}
	CameraG711  = []string{"-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"}
	CameraG711A = []string{"-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"}
	CameraAAC   = []string{"-c:a", "aac", "-ar", "44100", "-ac", "2"}
	CameraOpus  = []string{"-c:a", "libopus", "-ar", "48000", "-ac", "2"}
)

// RTSPServer is an RTSP server on loopback. Cameras publish to its paths.
type RTSPServer struct {
	Port int

	t              testing.TB
	user, password string
	udp            int // port of its media, and the next one; 0: over TCP only

	mu      sync.Mutex
	server  *gortsplib.Server
	streams map[string]*gortsplib.ServerStream
	frozen  bool
	readers int
	reading []*gortsplib.ServerSession // of readers, also of those that left
	overUDP int                        // of them
	packets int                        // that cameras sent
}

// StartRTSP starts a server. Players need user and password if there is a user. It ends with the test.
func StartRTSP(t testing.TB, user, password string) *RTSPServer {
	t.Helper()
	s := &RTSPServer{Port: FreePort(t), t: t, user: user, password: password}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// StartRTSPOverUDP starts a server that has UDP, too.
func StartRTSPOverUDP(t testing.TB, user, password string) *RTSPServer {
	t.Helper()
	s := &RTSPServer{Port: FreePort(t), udp: freePair(t), t: t, user: user, password: password}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// freePair returns an even port that is free as FreePort's are, like the next one.
func freePair(t testing.TB) int {
	t.Helper()
	for {
		port := FreePort(t)
		if port%2 != 0 {
			continue
		}
		if release, ok := reservePort(port + 1); ok {
			t.Cleanup(release)
			return port
		}
	}
}

// Start starts the server again after Stop, on the same port. Its streams are gone.
func (s *RTSPServer) Start() {
	s.t.Helper()
	bind(s.t, func() error {
		server := &gortsplib.Server{Handler: s, RTSPAddress: fmt.Sprintf("127.0.0.1:%d", s.Port), DisableRTCPSenderReports: true} // those of the cameras count
		if s.udp != 0 {
			server.UDPRTPAddress, server.UDPRTCPAddress = fmt.Sprintf("127.0.0.1:%d", s.udp), fmt.Sprintf("127.0.0.1:%d", s.udp+1)
		}
		s.mu.Lock()
		s.server, s.streams = server, map[string]*gortsplib.ServerStream{}
		s.mu.Unlock()
		return server.Start()
	})
}

// Stop ends the server and its connections. It may be repeated.
func (s *RTSPServer) Stop() {
	s.mu.Lock()
	server := s.server
	s.server = nil
	s.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// Freeze lets the server send no packets; its connections stay up.
func (s *RTSPServer) Freeze(frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = frozen
}

// Cut ends the connections of the readers. The cameras go on.
func (s *RTSPServer) Cut() {
	s.mu.Lock()
	reading := s.reading
	s.reading = nil
	s.mu.Unlock()
	for _, session := range reading {
		session.Close()
	}
}

// Readers counts the PLAY requests that were answered.
func (s *RTSPServer) Readers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readers
}

// ReadersOverUDP counts those of Readers that get their media over UDP.
func (s *RTSPServer) ReadersOverUDP() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overUDP
}

// Packets counts the packets that the cameras sent.
func (s *RTSPServer) Packets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packets
}

// URL returns the address of a path, with the server's user and password.
func (s *RTSPServer) URL(path string) string {
	u := url.URL{Scheme: "rtsp", Host: fmt.Sprintf("127.0.0.1:%d", s.Port), Path: "/" + path}
	if s.user != "" {
		u.User = url.UserPassword(s.user, s.password)
	}
	return u.String()
}

// Camera publishes a test picture of 25 frames a second with a tone to a path until the test ends, and waits
// until it can be played. encoders are arguments of ffmpeg.
func (s *RTSPServer) Camera(path, size string, encoders ...[]string) *Process {
	s.t.Helper()
	args := []string{"-re", "-f", "lavfi", "-i", "testsrc2=rate=25:size=" + size}
	audio := strings.Contains(fmt.Sprint(encoders), "-c:a")
	if audio {
		args = append(args, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
	}
	for _, e := range encoders {
		args = append(args, e...)
	}
	return s.Feed(path, args...)
}

// Feed publishes to a path what ffmpeg makes of its arguments, and waits until it can be played.
func (s *RTSPServer) Feed(path string, args ...string) *Process {
	s.t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		s.t.Fatalf("ffmpeg, which the tests of pulls need: %v", err)
	}
	args = append([]string{"-hide_banner", "-loglevel", "error"}, args...)
	p := Start(s.t, ffmpeg, append(args, "-f", "rtsp", "-rtsp_transport", "tcp", s.URL(path))...)
	Eventually(s.t, 20*time.Second, "the camera publishes", func() bool {
		select {
		case <-p.Done():
			s.t.Fatalf("ffmpeg ended:\n%s", p.Output())
		default:
		}
		return s.stream("/"+path) != nil
	})
	return p
}

func (s *RTSPServer) stream(path string) *gortsplib.ServerStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[path]
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (s *RTSPServer) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	const realm, nonce = "camera", "4f1bd0a64ac76e4fd2d5a1f1c4f5a3ab"
	if s.user != "" {
		if err := auth.Validate(ctx.Request, s.user, s.password, nil, realm, nonce); err != nil {
			return &base.Response{
				StatusCode: base.StatusUnauthorized,
				Header:     base.Header{"WWW-Authenticate": auth.GenerateWWWAuthenticate([]auth.ValidateMethod{auth.ValidateMethodDigestMD5}, realm, nonce)},
			}, nil, nil
		}
	}
	if strings.HasPrefix(ctx.Path, "/moved/") {
		return &base.Response{StatusCode: base.StatusFound, Header: base.Header{
			"Location": base.HeaderValue{"rtsp://" + strings.TrimPrefix(ctx.Path, "/moved/")},
		}}, nil, nil
	}
	stream := s.stream(ctx.Path)
	if stream == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, stream, nil
}

// OnAnnounce implements gortsplib.ServerHandlerOnAnnounce.
func (s *RTSPServer) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	ctx.Session.SetUserData(ctx.Path)
	stream := gortsplib.NewServerStream(s.current(), ctx.Description)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[ctx.Path] = stream
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (s *RTSPServer) current() *gortsplib.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (s *RTSPServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: base.StatusOK}, nil, nil
	}
	stream := s.stream(ctx.Path)
	if stream == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, stream, nil
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (s *RTSPServer) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers++
	s.reading = append(s.reading, ctx.Session)
	if transport := ctx.Session.SetuppedTransport(); transport != nil && *transport == gortsplib.TransportUDP {
		s.overUDP++
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnRecord implements gortsplib.ServerHandlerOnRecord.
func (s *RTSPServer) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	stream := s.stream(ctx.Path)
	ctx.Session.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		s.mu.Lock()
		frozen := s.frozen
		s.packets++
		s.mu.Unlock()
		if frozen {
			return
		}
		_ = stream.WritePacketRTP(m, p) // a reader that does not read is closed
	})
	ctx.Session.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		s.mu.Lock()
		frozen := s.frozen
		s.mu.Unlock()
		if !frozen {
			_ = stream.WritePacketRTCP(m, p) // as above
		}
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose implements gortsplib.ServerHandlerOnSessionClose: the stream of a camera that left is gone.
func (s *RTSPServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	path, ok := ctx.Session.UserData().(string)
	if !ok {
		return
	}
	s.mu.Lock()
	stream := s.streams[path]
	delete(s.streams, path)
	s.mu.Unlock()
	if stream != nil {
		stream.Close()
	}
}
