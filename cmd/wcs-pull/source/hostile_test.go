package source

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// oddCamera is an RTSP server on a bare socket that sends what no library would.
type oddCamera struct {
	listener net.Listener
	sdp      string
	conns    atomic.Int64
	// setup returns the answer to a Transport header; nil: interleaved. player is the port of the last one.
	setup  func(transport string) string
	player atomic.Uint32
	// play sends packets until its context ends, or ends the connection by returning.
	play func(ctx context.Context, send func(channel byte, packet []byte))
}

const (
	sdpHead  = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
	sdpAudio = sdpHead + "m=audio 0 RTP/AVP 0\r\na=control:track1\r\n"
	sdpVideo = sdpHead + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:track1\r\n"
)

func startOdd(t *testing.T, c *oddCamera) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.listener = l
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.conns.Add(1)
			all.Go(func() { c.serve(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		all.Wait()
	})
	return fmt.Sprintf("rtsp://%s/cam", l.Addr())
}

func (c *oddCamera) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	lines := bufio.NewReader(conn)
	for {
		var method, cseq, transport string
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			if method == "" {
				method, _, _ = strings.Cut(line, " ")
			}
			if rest, ok := strings.CutPrefix(line, "CSeq: "); ok {
				cseq = rest
			}
			if rest, ok := strings.CutPrefix(line, "Transport: "); ok {
				transport = rest
			}
		}
		answer := "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: 1\r\n"
		switch method {
		case "DESCRIBE":
			answer += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Base: rtsp://%s/cam/\r\nContent-Length: %d\r\n\r\n%s", conn.LocalAddr(), len(c.sdp), c.sdp)
		case "SETUP":
			answered := "RTP/AVP/TCP;unicast;interleaved=0-1"
			if c.setup != nil {
				answered = c.setup(transport)
			}
			answer += "Transport: " + answered + "\r\n\r\n"
		default:
			answer += "\r\n"
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return
		}
		if method == "PLAY" {
			c.play(ctx, func(channel byte, packet []byte) {
				head := []byte{'$', channel, byte(len(packet) >> 8), byte(len(packet))}
				_, _ = conn.Write(append(head, packet...)) // the test looks at what the pull does
			})
			return
		}
	}
}

func rtpOf(payloadType byte, sequence uint16, stamp uint32, marker bool, payload ...byte) []byte {
	b := []byte{0x80, payloadType, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], sequence)
	binary.BigEndian.PutUint32(b[4:], stamp)
	return append(b, payload...)
}

// each calls send at an interval until ctx ends or send returns false.
func each(ctx context.Context, every time.Duration, send func(i int) bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; send(i); i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// A server that sends a frame and ends the connection costs no connections without end.
func TestSourceThatEndsAgainAndAgainFails(t *testing.T) {
	t.Parallel()
	c := &oddCamera{sdp: sdpAudio, play: func(_ context.Context, send func(byte, []byte)) {
		send(0, rtpOf(0, 1, 160, true, make([]byte, 160)...))
	}}
	s := start1(t, startOdd(t, c), func(j *Job) { j.Retry = 3 * time.Second })
	s.wantFault(pull.Lost)
	if n := c.conns.Load(); n > 6 {
		t.Errorf("%d connections in 3 s", n)
	}
}

// waitingRoom has tracks when frames came, as LiveKit.
type waitingRoom struct{ *fakeRoom }

func (w waitingRoom) Published(ctx context.Context, _ time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if video, audio := w.counts(); video+audio > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func TestSourceWithoutAFrameFails(t *testing.T) {
	c := &oddCamera{sdp: sdpVideo, play: func(ctx context.Context, send func(byte, []byte)) {
		each(ctx, 100*time.Millisecond, func(i int) bool {
			send(0, rtpOf(96, uint16(i), uint32(i*3600), false, 0x7c, 0x05, 1, 2, 3)) // the middle of a picture
			return true
		})
	}}
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	r.publish = func(context.Context, translate.PullTarget) (Publisher, error) { return waitingRoom{room}, nil }
	begin(t, r, room, startOdd(t, c), nil).wantFault(pull.NoMedia)
}

func TestCameraWhoseClockIsSetBackGoesOn(t *testing.T) {
	sent := make(chan struct{})
	c := &oddCamera{sdp: sdpVideo, play: func(ctx context.Context, send func(byte, []byte)) {
		each(ctx, 10*time.Millisecond, func(i int) bool {
			stamp := uint32(1000000 + i*3600)
			if i >= 20 {
				stamp -= 90000
			}
			send(0, rtpOf(96, uint16(i), stamp, true, 0x65, 0x88, 0x84, 0x21, 0xa0))
			if i == 100 {
				close(sent)
			}
			return true
		})
	}}
	s := start1(t, startOdd(t, c), nil)
	<-sent
	s.frames(100, 0)
	if c.conns.Load() != 1 {
		t.Errorf("%d connections, want 1", c.conns.Load())
	}
}

// encrypt encrypts as AES-128 of HLS does, with an IV of zeros.
func encrypt(t *testing.T, key []byte, text string) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	out := append([]byte(text), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(out, out)
	return string(out)
}

// trap listens on loopback, and counts connections.
func trap(t *testing.T) (address string, reached func() int64) {
	t.Helper()
	return trapAt(t, "127.0.0.1:0")
}

func trapAt(t *testing.T, at string) (address string, reached func() int64) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			n.Add(1)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-accepted
	})
	return l.Addr().String(), n.Load
}

// Segments that are a playlist after decryption lead nowhere: the server on loopback cannot see them.
func TestEncryptedPlaylistLeadsNowhere(t *testing.T) {
	rig.SkipShort(t)
	key := []byte("0123456789abcdef")
	address, reached := trap(t)
	segment := encrypt(t, key, fmt.Sprintf("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ntcp://%s/x\n", address))
	url := files(t, map[string]string{
		"/list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI=\"key\",IV=0x00000000000000000000000000000000\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST\n",
		"/key":       string(key), "/1.ts": segment,
	})
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	r.guard = loopbackOnly(t)
	begin(t, r, room, url+"/list.m3u8", func(j *Job) { j.Retry = time.Second }).wantFault(pull.NoMedia)
	if reached() > 0 {
		t.Error("the address inside was reached")
	}
}
