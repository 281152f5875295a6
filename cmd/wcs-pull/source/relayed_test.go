package source

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

func TestStreamsOfServersPlay(t *testing.T) {
	rig.SkipShort(t)
	for name, tt := range map[string]struct {
		network, format, listen, play string
	}{
		"rtmp": {"tcp", "flv", "rtmp://127.0.0.1:%d/live/cam", "rtmp://user:geheim@127.0.0.1:%d/live/cam?token='1'"},
		"srt":  {"udp", "mpegts", "srt://127.0.0.1:%d?mode=listener&passphrase=0123456789", "srt://127.0.0.1:%d?passphrase=0123456789&streamid=cam"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := rig.FreePort(t)
			args := append(append([]string{}, rig.CameraH264...), rig.CameraAAC...)
			args = append(args, "-f", tt.format)
			if name == "rtmp" {
				args = append(args, "-listen", "1")
			}
			server := rig.StartFeed(t, tt.network, port, append(args, fmt.Sprintf(tt.listen, port))...)
			s := start1(t, fmt.Sprintf(tt.play, port), nil)
			s.await(pull.Running)
			s.frames(50, 50)
			wantReaders(t, sandbox.Available() == nil, "cam", "token", "0123456789", "live/")
			if want := (translate.PullTarget{Room: "room", Identity: "wcs-pull-1-1", Video: true, Audio: translate.MimeOpus}); s.room.target != want {
				t.Errorf("published %+v, want %+v", s.room.target, want)
			}
			server.Kill()
			s.await(pull.Interrupted)
			server = rig.StartFeed(t, tt.network, port, append(args, fmt.Sprintf(tt.listen, port))...)
			s.await(pull.Running)
			s.frames(20, 20)
			s.stop()
			if s.room.keys == 0 || s.room.reorders > 0 {
				t.Errorf("%d key frames, %d frames out of order", s.room.keys, s.room.reorders)
			}
			server.Kill()
		})
	}
}

func TestStreamsPlayWithoutASandbox(t *testing.T) {
	for scheme, tt := range map[string]struct{ network, format, listen string }{
		"rtmp": {"tcp", "flv", "rtmp://127.0.0.1:%d/live/cam"}, "srt": {"udp", "mpegts", "srt://127.0.0.1:%d?mode=listener"},
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			room := &fakeRoom{lost: make(chan struct{})}
			r := testRunner(t, room)
			r.config.Sandbox = false
			port := rig.FreePort(t)
			args := append(append([]string{}, rig.CameraH264...), rig.CameraAAC...)
			args = append(args, "-f", tt.format)
			if scheme == "rtmp" {
				args = append(args, "-listen", "1")
			}
			server := rig.StartFeed(t, tt.network, port, append(args, fmt.Sprintf(tt.listen, port))...)
			s := begin(t, r, room, strings.ReplaceAll(fmt.Sprintf(tt.listen, port), "?mode=listener", ""), nil)
			s.await(pull.Running)
			s.frames(10, 10)
			s.stop()
			server.Kill()
		})
	}
}

// wantReaders looks at the ffmpeg processes that read from a server: their arguments, and whether they have a
// network of their own.
func wantReaders(t *testing.T, alone bool, secrets ...string) {
	t.Helper()
	readers := 0
	for id := range children(t, os.Getpid(), "ffmpeg") {
		text, err := os.ReadFile("/proc/" + id + "/cmdline")
		if err != nil || !strings.Contains(string(text), "\x00concat\x00") {
			continue // it ended, or is a server
		}
		readers++
		if got := ownNetwork(t, id); got != alone {
			t.Errorf("a network of its own: %v", got)
		}
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("the arguments contain %q: %q", secret, text)
			}
		}
	}
	if readers == 0 {
		t.Error("no process of ffmpeg reads")
	}
}

func TestFaultsOfStreamsOfServers(t *testing.T) {
	port := rig.FreePort(t)
	for name, tt := range map[string]struct {
		url  string
		want pull.Fault
	}{
		"rtmp refused":   {fmt.Sprintf("rtmp://127.0.0.1:%d/live/cam", port), pull.Unreachable},
		"rtmps refused":  {fmt.Sprintf("rtmps://127.0.0.1:%d/live/cam", port), pull.Unreachable},
		"srt refused":    {fmt.Sprintf("srt://127.0.0.1:%d", port), pull.Unreachable},
		"rtmp forbidden": {"rtmp://169.254.169.254/live/cam", pull.Forbidden},
		"srt forbidden":  {"srt://169.254.169.254:1", pull.Forbidden},
		"rtmp name":      {"rtmp://server.invalid/live/cam", pull.Unreachable},
		"srt name":       {"srt://server.invalid:1", pull.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start1(t, tt.url, nil).wantFault(tt.want)
		})
	}
}
