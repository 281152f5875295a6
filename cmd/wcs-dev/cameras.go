package main

import (
	"context"
	"fmt"
	"os/exec"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/wcs-pull/app"
)

// pullSecret seals the URLs of sources in this process' Redis.
const pullSecret = "of-no-use-outside-this-process-0"

// camera is a sample camera: a picture that ffmpeg generates, with a tone.
type camera struct{ path, picture, tone string }

var cameras = []camera{
	{"clock", "testsrc=size=640x360:rate=25", "sine=frequency=440:beep_factor=4:sample_rate=48000"}, // counts the seconds
	{"bars", "smptehdbars=size=1280x720:rate=25", "sine=frequency=220:sample_rate=48000"},
}

// cameraURL returns the address of a sample camera.
func (o options) cameraURL(c camera) string { return "rtsp://" + local(o.ports.rtsp) + "/" + c.path }

// cameraURLs returns the addresses of the sample cameras, none without --pull.
func (o options) cameraURLs() (urls []string) {
	if !o.pull {
		return nil
	}
	for _, c := range cameras {
		urls = append(urls, o.cameraURL(c))
	}
	return urls
}

// findFFmpeg returns the path of ffmpeg, which only --pull needs.
func (o options) findFFmpeg() (string, error) {
	if !o.pull {
		return "", nil
	}
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", fmt.Errorf("--pull needs ffmpeg (Debian package ffmpeg): %w", err)
	}
	return path, nil
}

// privateNetworks are those of the sample cameras and of the user's own.
var privateNetworks = []string{loopback.String() + "/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}

// allowCameras lets an application play what the worker can read.
func (o options) allowCameras(cfg *config.Config) {
	cfg.Pull.Secret = pullSecret
	allow := []string{"rtsp://*:*", "rtsps://*:*", "http://*:*", "https://*:*"} // public hosts
	for _, network := range privateNetworks {
		allow = append(allow, "rtsp://"+network+":*")
	}
	for key, app := range cfg.Applications {
		app.Pull.Allow = allow
		cfg.Applications[key] = app
	}
}

// runCameras serves the sample cameras on loopback until ctx is done. Each is an ffmpeg, which ends with the
// server.
func runCameras(ctx context.Context, o options, ffmpeg string) error {
	s := &cameraServer{streams: make(map[string]*gortsplib.ServerStream)}
	s.server = &gortsplib.Server{Handler: s, RTSPAddress: local(o.ports.rtsp), DisableRTCPSenderReports: true} // those of the cameras count
	if err := s.server.Start(); err != nil {
		return fmt.Errorf("serve the sample cameras: %w", err)
	}
	group, running := errgroup.WithContext(ctx)
	for _, c := range cameras {
		group.Go(func() error {
			out, err := exec.CommandContext(running, ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error",
				"-re", "-f", "lavfi", "-i", c.picture, "-re", "-f", "lavfi", "-i", c.tone,
				"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "25", "-b:v", "1M",
				"-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1", "-f", "rtsp", "-rtsp_transport", "tcp", o.cameraURL(c)).CombinedOutput()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("sample camera %s: %w: %s", c.path, err, out)
		})
	}
	group.Go(func() error {
		<-running.Done()
		s.server.Close()
		return nil
	})
	return group.Wait()
}

// runWorker runs a worker for the gateway of this process.
func runWorker(ctx context.Context, o options, log zerolog.Logger) error {
	cfg := config.DefaultWorker()
	cfg.Deployment, cfg.Secret, cfg.Listen = deployment, pullSecret, local(o.ports.worker)
	cfg.Networks = privateNetworks
	cfg.LiveKit = config.WorkerLiveKit{URL: "http://" + o.public(o.ports.liveKit), APIKey: liveKitKey, APISecret: liveKitSecret}
	cfg.Redis.Addrs = []string{local(o.ports.redis)}
	if err := app.Run(ctx, cfg, log); err != nil {
		return fmt.Errorf("run the worker: %w", err)
	}
	return nil
}

// cameraServer is an RTSP server. What is published to a path can be played there.
type cameraServer struct {
	server *gortsplib.Server

	mu      sync.Mutex
	streams map[string]*gortsplib.ServerStream // by path
}

func (s *cameraServer) stream(path string) *gortsplib.ServerStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[path]
}

// OnAnnounce implements gortsplib.ServerHandlerOnAnnounce.
func (s *cameraServer) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[ctx.Path] = gortsplib.NewServerStream(s.server, ctx.Description)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (s *cameraServer) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return s.find(ctx.Path)
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (s *cameraServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: base.StatusOK}, nil, nil
	}
	return s.find(ctx.Path)
}

func (s *cameraServer) find(path string) (*base.Response, *gortsplib.ServerStream, error) {
	if stream := s.stream(path); stream != nil {
		return &base.Response{StatusCode: base.StatusOK}, stream, nil
	}
	return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (s *cameraServer) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnRecord implements gortsplib.ServerHandlerOnRecord.
func (s *cameraServer) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	stream := s.stream(ctx.Path)
	ctx.Session.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		_ = stream.WritePacketRTP(m, p) // a reader that does not read is closed
	})
	ctx.Session.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		_ = stream.WritePacketRTCP(m, p) // as above
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}
