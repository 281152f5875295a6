package source

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/e2e/rig"
	"wcsgateway/translate/pull"
)

// startNames serves a DNS server to this process until the test ends. answer returns the address of every
// name, for the first question about it and each further one.
func startNames(t *testing.T, answer func(question int) string) (questions *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	questions = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}, // TTL 0
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(answer(int(questions.Add(1)))).As4()},
				}}
			}
			if packet, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packet, from) // a question that is not answered is repeated
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		<-done
	})
	return questions
}

// firstOnly returns a runner whose sources may be at 127.0.0.1, and not at 127.0.0.2.
func firstOnly(t *testing.T) (*Runner, *fakeRoom) {
	t.Helper()
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	r.guard = guard.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	return r, room
}

// The name of a camera leads elsewhere after the first question: between the check and the connection, and
// when the camera is read again.
func TestNameOfACameraThatChangesLeadsNowhereElse(t *testing.T) {
	r, room := firstOnly(t)
	server := rig.StartRTSP(t, "", "")
	server.Camera("cam", "320x180", rig.CameraH264)
	questions := startNames(t, func(question int) string { return fmt.Sprintf("127.0.0.%d", min(question, 2)) })
	_, reached := trapAt(t, fmt.Sprintf("127.0.0.2:%d", server.Port))
	s := begin(t, r, room, fmt.Sprintf("rtsp://camera.example:%d/cam", server.Port), nil)
	s.await(pull.Running)
	s.frames(10, 0)
	if n := questions.Load(); n != 1 {
		t.Errorf("%d questions for one connection", n)
	}
	server.Cut()
	s.await(pull.Interrupted)
	s.wantFault(pull.Forbidden)
	if questions.Load() < 2 || reached() != 0 {
		t.Errorf("%d questions, and the other address was reached %d times", questions.Load(), reached())
	}
}

// The name of a web server leads elsewhere while its playlist is played: each segment is a connection.
func TestNameOfAPlaylistThatChangesLeadsNowhereElse(t *testing.T) {
	r, room := firstOnly(t)
	dir := t.TempDir()
	record(t, filepath.Join(dir, "list.m3u8"), 15, rig.CameraH264, rig.CameraAAC)
	server := httptest.NewUnstartedServer(http.FileServer(http.Dir(dir)))
	server.Config.SetKeepAlivesEnabled(false)
	port := rig.FreePort(t) // also at 127.0.0.2: other tests connect from there, with ports of another range
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Listener.Close() // nothing was accepted
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	var changed atomic.Bool
	questions := startNames(t, func(int) string {
		if changed.Load() {
			return "127.0.0.2"
		}
		return "127.0.0.1"
	})
	_, reached := trapAt(t, fmt.Sprintf("127.0.0.2:%d", port))
	s := begin(t, r, room, fmt.Sprintf("http://web.example:%d/list.m3u8", port), func(j *Job) { j.Retry = 10 * time.Second })
	s.await(pull.Running)
	s.frames(10, 10)
	before := questions.Load()
	changed.Store(true)
	s.wantFault(pull.Forbidden)
	if questions.Load() <= before || reached() != 0 {
		t.Errorf("%d questions before the change and %d after; the other address was reached %d times", before, questions.Load(), reached())
	}
}
