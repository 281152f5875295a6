package rig

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// StartWeb serves the files of a folder with nginx, which requires a user and a password, and returns its
// URL with them. It ends with the test.
func StartWeb(t testing.TB, folder, user, password string) (url string) {
	t.Helper()
	SkipShort(t)
	port, dir := FreePort(t), t.TempDir()
	users, site := filepath.Join(dir, "users"), filepath.Join(dir, "site.conf")
	for file, text := range map[string]string{
		users: fmt.Sprintf("%s:{PLAIN}%s\n", user, password),
		site: fmt.Sprintf(`types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4; }
			server { listen 127.0.0.1:%d; root %s; auth_basic films; auth_basic_user_file %s; }`, port, folder, users),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Start(t, findProgram(t, "nginx"), "-c", wrapNginx(t, site))
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p.awaitListener("tcp", address)
	return fmt.Sprintf("http://%s:%s@%s", user, password, address)
}

// StartFeed lets ffmpeg serve a test picture with a tone to one client over tcp or udp on a port of loopback,
// and waits until it listens. arguments are the encoders, the format and the address. It ends with the test.
func StartFeed(t testing.TB, network string, port int, arguments ...string) *Process {
	t.Helper()
	SkipShort(t)
	p := Start(t, "ffmpeg", append(append([]string{"-loglevel", "error"}, testPicture...), arguments...)...)
	p.awaitListener(network, fmt.Sprintf("127.0.0.1:%d", port))
	return p
}

// StartPlaylist encodes a test picture with a tone as HLS: a live playlist of so many segments of a second.
// It waits until the file exists. It ends with the test.
func StartPlaylist(t testing.TB, file string, segments int) *Process {
	t.Helper()
	SkipShort(t)
	args := append([]string{"-loglevel", "error"}, testPicture...)
	args = append(append(args, CameraH264...), CameraAAC...)
	p := Start(t, "ffmpeg", append(args, "-f", "hls", "-hls_time", "1", "-hls_list_size", fmt.Sprint(segments), "-hls_flags", "delete_segments", file)...)
	Eventually(t, patience, "the playlist has segments", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Count(string(text), "#EXTINF") > 1
	})
	return p
}

var testPicture = []string{"-re", "-f", "lavfi", "-i", "testsrc2=rate=25:size=320x180", "-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"}

// awaitListener waits until a process listens at an IPv4 address. It makes no connection, which could be the
// only one, and does not try to bind the address, which could keep the process from it. A server of one
// client that this client has reached no longer listens.
func (p *Process) awaitListener(network, address string) {
	p.t.Helper()
	Eventually(p.t, 20*time.Second, filepath.Base(p.cmd.Path)+" listens", func() bool {
		select {
		case <-p.Done():
			p.t.Fatalf("%s ended:\n%s", p.cmd.Path, p.Output())
		default:
		}
		addr, err := netip.ParseAddrPort(address)
		if err != nil {
			p.t.Fatal(err)
		}
		sockets, err := readSockets(network)
		if err != nil {
			p.t.Fatal(err)
		}
		ip := addr.Addr().As4()
		local := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), addr.Port())
		for _, s := range sockets {
			if s.local == local && (network == "udp" || s.state == "0A" || s.state == "01") {
				return true
			}
		}
		return false
	})
}

// MakeFilm writes a file of so many seconds with ffmpeg: a test picture and a tone.
func MakeFilm(t testing.TB, file, size string, seconds int, encoders ...[]string) {
	t.Helper()
	SkipShort(t)
	args := []string{"-y", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=rate=25:size=" + size, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}
	for _, e := range encoders {
		args = append(args, e...)
	}
	args = append(args, "-t", fmt.Sprint(seconds))
	if strings.HasSuffix(file, ".m3u8") {
		args = append(args, "-hls_time", "1", "-hls_list_size", "0", "-hls_playlist_type", "vod")
	}
	if out, err := exec.Command("ffmpeg", append(args, file)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
}
