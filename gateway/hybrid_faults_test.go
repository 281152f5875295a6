package gateway

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/upstream"
)

const unavailable = "Upstream server is not available"

func TestFaultyUpstreamEndsItsStreamsAlone(t *testing.T) {
	flood := func(s *rig.ScriptedConn, frame []byte) {
		for range 10_000 { // more than is read of one message
			if _, err := s.NetConn().Write(frame); err != nil {
				return
			}
		}
		t.Error("an endless message is read on and on")
	}
	for name, act := range map[string]func(*rig.ScriptedConn){
		"end in a frame": func(s *rig.ScriptedConn) {
			_, _ = s.NetConn().Write([]byte("\x81\x7d a part"))
			_ = s.NetConn().Close()
		},
		"huge frame": func(s *rig.ScriptedConn) {
			_, _ = s.NetConn().Write([]byte("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx"))
		},
		"garbage": func(s *rig.ScriptedConn) {
			_, _ = s.NetConn().Write([]byte("\xf3\x05HTTP/1.1 400 what\r\n\r\n\x00\xff"))
		},
		"fragments without end": func(s *rig.ScriptedConn) { flood(s, append([]byte("\x00\x7e\x40\x00"), make([]byte, 0x4000)...)) },
		"odd close":             func(s *rig.ScriptedConn) { _, _ = s.NetConn().Write([]byte("\x88\x02\x0f\xff")) },
		"unknown messages": func(s *rig.ScriptedConn) {
			for _, m := range []string{`{"message":"later","data":[{"mediaSessionId":"other"}]}`, `{}`, `[[]]`, `{"message":7}`, "", strings.Repeat("[", 100_000)} {
				s.Send(websocket.TextMessage, m)
			}
			_ = s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, old := hybridWorld(t, nil)
			c := w.connect(t, podA)
			publishAV(t, c, "ours", "here")
			c.AwaitSDP("ours")
			w.allUp()
			c.WantStatus("ours", "PUBLISHING", "")
			server := playMSE(t, c, old, "theirs")
			if name == "fragments without end" {
				_, _ = server.NetConn().Write([]byte("\x01\x00"))
			}
			act(server)
			c.WantStatus("m", "FAILED", unavailable)
			c.SendRaw(mseCommand) // the next command opens another link
			server = old.Accept(t)
			_, _, _ = server.ReadMessage()
			server.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
			server.Want(websocket.TextMessage, mseCommand)
			c.Unpublish("ours", "here")
			c.WantStatus("ours", "UNPUBLISHED", "Stopped by publisher stop")
		})
	}
}

func TestUpstreamThatCannotServeFailsItsCommandsAlone(t *testing.T) {
	refusing := rig.StartScriptedServer(t)
	refusing.Status.Store(http.StatusForbidden)
	mute := rig.StartScriptedServer(t)              // upgrades, and sends no getUserData
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nothing is accepted
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, url := range map[string]string{"refusing": refusing.URL, "no getUserData": mute.URL, "down": "ws://127.0.0.1:1", "slow": "ws://" + silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			server, err := upstream.NewServer(upstream.ServerConfig{Name: "old", URL: url, ConnectTimeout: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, func(c *Config) {
				app := c.Apps["defaultApp"]
				app.Hybrid = hybrid.App{Upstream: server, SendData: true, Fallback: true}
				c.Apps["defaultApp"] = app
			})
			c := w.connect(t, podA)
			c.SendRaw(mseCommand)
			c.WantStatus("m", "FAILED", unavailable)
			c.Send("call", map[string]any{"callId": "call"})
			if m := c.Await("finish"); !strings.Contains(m.Raw, "FAILED") {
				t.Errorf("call: %s", m.Raw)
			}
			c.Send("sendData", map[string]any{"operationId": "op", "payload": 1})
			if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, unavailable) {
				t.Errorf("data: %s", m.Raw)
			}
			publishAV(t, c, "ours", "here")
			c.AwaitSDP("ours")
			w.allUp()
			c.WantStatus("ours", "PUBLISHING", "")
		})
	}
}

// Two gateways that are each other's upstream ask each other once.
func TestHybridLoopIsRefused(t *testing.T) {
	withUpstream := func(g *Gateway, url string) {
		app := *g.table.Settings().Apps["defaultApp"]
		app.Hybrid.Upstream = upstreamAt(t, url)
		g.Reload(apps.Reloadable{Apps: map[string]apps.App{"defaultApp": app}})
	}
	inner := newWorld(t, func(c *Config) { c.Deployment = "inner" })
	outer := newWorld(t, func(c *Config) { c.Deployment = "outer" })
	withUpstream(inner.pods[podA], outer.urls[podB])
	withUpstream(outer.pods[podA], inner.urls[podA])
	withUpstream(outer.pods[podB], inner.urls[podA])
	c := outer.connect(t, podA)
	playAV(t, c, "play", "nowhere")
	c.WantStatus("play", "FAILED", unavailable)
	if n := testutil.ToFloat64(outer.pods[podB].metrics.Rejections.WithLabelValues(string(rejectLoop))); n != 1 {
		t.Errorf("%v loops are counted", n)
	}
	if n := len(outer.pods[podB].table.All()); n != 0 {
		t.Errorf("%d sessions came back", n)
	}
}

func TestDrainingPodWaitsForStreamsOnUpstream(t *testing.T) {
	w, old := hybridWorld(t, func(c *Config) { c.Drain = DrainConfig{Window: time.Hour} })
	idle := w.connect(t, podA)
	idle.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	idleLink := old.Accept(t)
	_, _, _ = idleLink.ReadMessage()
	idleLink.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
	busy := w.dial(t, podA)
	busy.AcceptUnknown()
	token := login(t, busy)
	link := playMSE(t, busy, old, "theirs")
	client := dialSocket(t, w.urls[podA], nil)
	send(t, client, websocket.TextMessage, mediaHello(token))
	media := old.Accept(t)
	media.Want(websocket.TextMessage, mediaHello("theirs"))

	w.stop(podA)
	if err := idle.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("a client without streams saw %v", err)
	}
	for { // its availableStream comes first
		if _, _, err := idleLink.ReadMessage(); err != nil {
			break
		}
	}
	const event = `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"m","type":"later"}]}`
	link.Send(websocket.TextMessage, event)
	busy.AwaitMatch("an event", func(m rig.Message) bool { return m.Raw == event })
	media.Send(websocket.BinaryMessage, "media")
	rig.WantMessage(t, client, websocket.BinaryMessage, "media")
	_ = media.Close()
	link.Send(websocket.TextMessage, `{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"m","name":"s","status":"STOPPED"}]}`)
	if err := busy.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("a client whose stream has ended saw %v", err)
	}
	w.pods[podA].links.Wait()
}

// The question does not fix the side of its media id.
func TestStreamIsPublishedHereAfterQuestionThatWentUpstream(t *testing.T) {
	w, old := hybridWorld(t, nil)
	c := w.connect(t, podA)
	c.SendRaw(`{"message":"availableStream","data":[{"mediaSessionId":"id","name":"s"}]}`)
	server := old.Accept(t)
	_, _, _ = server.ReadMessage()
	server.Send(websocket.TextMessage, `{"message":"getUserData","data":[{}]}`)
	server.Want(websocket.TextMessage, `{"message":"availableStream","data":[{"mediaSessionId":"id","name":"s"}]}`)
	server.Send(websocket.TextMessage, `{"message":"availableStream","data":[{"id":"id","status":"false"}]}`)
	c.Await("availableStream")
	publishAV(t, c, "id", "s")
	c.AwaitSDP("id")
	w.allUp()
	c.WantStatus("id", "PUBLISHING", "")
	c.Unpublish("id", "s")
	c.WantStatus("id", "UNPUBLISHED", "Stopped by publisher stop")
}
