package livekit

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/server-sdk-go/v2/signalling"
	"github.com/pion/webrtc/v4"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// cable is a TCP connection to LiveKit that the test can cut. Media does not go through it.
type cable struct {
	url    string
	target string
	wg     sync.WaitGroup

	mu      sync.Mutex
	cut     bool
	refused int
	open    map[net.Conn]struct{}
}

func layCable(t *testing.T, lk *rig.LiveKit) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{url: "http://" + l.Addr().String(), target: strings.TrimPrefix(lk.URL, "http://"), open: make(map[net.Conn]struct{})}
	c.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			c.connect(near)
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		c.set(true)
		c.wg.Wait()
	})
	return c
}

func (c *cable) connect(near net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	far, err := net.Dial("tcp", c.target)
	if c.cut || err != nil {
		c.refused++
		_ = near.Close()
		if err == nil {
			_ = far.Close()
		}
		return
	}
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		c.open[pair[0]] = struct{}{}
		c.wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends with either
			_ = near.Close()
			_ = far.Close()
		})
	}
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if !cut {
		return
	}
	for conn := range c.open {
		_ = conn.Close()
	}
	clear(c.open)
}

func (c *cable) refusals() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

func testProbeJoinsAnew(t *testing.T, s *stage) {
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	src.run()
	s.appears(t, src.id)
	c := layCable(t, s.lk)
	p := startProbe(t, newSFU(t, s.lk, func(cfg *Config) { cfg.URL = c.url }), src.id)
	before := p.await("video", 0, 1, flowing)
	c.set(true)
	rig.Eventually(t, patience, "first attempt", func() bool { return c.refusals() > 0 })
	n := p.count()
	rig.Eventually(t, patience, "second attempt", func() bool { return c.refusals() > 1 })
	if p.count() != n {
		t.Error("report without a connection")
	}
	c.set(false)
	after := p.await("video", n, 2, flowing)
	if after.MediaBytes <= before.MediaBytes {
		t.Errorf("%d bytes of media after %d", after.MediaBytes, before.MediaBytes)
	}
}

// A restarted LiveKit does not know the publisher.
func TestProbeEndsWithLiveKit(t *testing.T) {
	s := newStage(t)
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	p := startProbe(t, s.sfu, pub)
	p.await("video", 0, 1, flowing)
	s.lk.Restart()
	wantKind(t, p.end(), translate.ErrKindNotFound)
}

// Everything ends with the context, in every phase of the probe.
func TestProbeLeavesNothingBehind(t *testing.T) {
	s := newStage(t)
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	src.run()
	s.appears(t, src.id)
	rig.Eventually(t, patience, "last goroutine of the source", func() bool { // pion starts it after the connection is up
		return strings.Contains(goroutines(t), "undeclaredRTCPMediaProcessor")
	})

	before := goleak.IgnoreCurrent()
	p := startProbe(t, s.sfu, src.id)
	p.await("video", 0, 1, flowing)
	if err := p.stop(); err != nil {
		t.Errorf("error is %v", err)
	}
	wantNoMore(t, before)

	s.lk.Pause()
	defer s.lk.Resume()
	p = startProbe(t, s.sfu, src.id)
	if err := p.stop(); err != nil {
		t.Errorf("error is %v", err)
	}
	wantNoMore(t, before)
}

func goroutines(t *testing.T) string {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return stacks.String()
}

// frozen freezes LiveKit at a certain point of the joining.
type frozen struct {
	signalling.SignalTransport
	freeze func()
}

func (f frozen) SendMessage(m proto.Message) error {
	if r, ok := m.(*lkproto.SignalRequest); ok && r.GetAnswer() != nil {
		f.freeze()
	}
	return f.SignalTransport.SendMessage(m)
}

// A LiveKit that freezes before media is up does not block a leaving subscriber.
func TestSubscriberLeavesFrozenLiveKit(t *testing.T) {
	for name, set := range map[string]func(g *subscriber, freeze func()){
		"before ICE": func(g *subscriber, freeze func()) { g.transport = frozen{g.transport, freeze} },
		"before DTLS": func(g *subscriber, freeze func()) {
			g.pc.OnICEConnectionStateChange(func(state webrtc.ICEConnectionState) {
				if state == webrtc.ICEConnectionStateConnected {
					freeze()
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			pub := publisher()
			s.publish(t, pub, rig.PeerOptions{Audio: true})
			g, err := newGuest(pub, func(*webrtc.TrackRemote) {})
			if err != nil {
				t.Fatal(err)
			}
			set(g, s.lk.Pause)
			defer s.lk.Resume()
			token, err := s.sfu.signer.player(translate.PlayOffer{Room: room(t), Identity: player()})
			if err != nil {
				t.Fatal(err)
			}
			if err := g.enter(deadline(t, shortTime), s.sfu.base, token); err != nil {
				wantKind(t, err, translate.ErrKindUnavailable)
			} // else DTLS was faster
			began := time.Now()
			g.leave()
			if took := time.Since(began); took > joinTimeout/2 {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func wantNoMore(t *testing.T, than goleak.Option) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // of RoomService's client
	if err := goleak.Find(than); err != nil {
		t.Error(err)
	}
}

// A LiveKit that stops answering while the probe joins does not block it.
func TestProbeStopsJoiningAtTimeout(t *testing.T) {
	for name, hang := range map[string]func(w http.ResponseWriter, r *http.Request, reached func()){
		"in the handshake": func(_ http.ResponseWriter, r *http.Request, reached func()) {
			reached()
			<-r.Context().Done()
		},
		"before the first message": func(w http.ResponseWriter, r *http.Request, reached func()) {
			conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				return // the test fails by timeout
			}
			reached()
			_, _, _ = conn.ReadMessage() // until it is closed
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			joining := make(chan struct{})
			once := sync.OnceFunc(func() { close(joining) })
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/rtc" {
					hang(w, r, once)
					return
				}
				w.Header().Set("Content-Type", "application/protobuf") // an empty ParticipantInfo
			}))
			defer server.Close()
			sfu, err := New(Config{URL: server.URL, Key: "key", Secret: "secret"}, Deps{Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			p := startProbe(t, sfu, publisher())
			select {
			case <-joining:
			case <-time.After(patience):
				t.Fatal("probe does not join")
			}
			began := time.Now()
			if err := p.stop(); err != nil {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(began); took > joinTimeout/2 {
				t.Errorf("it took %v", took)
			}
		})
	}
}
