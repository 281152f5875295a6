package check

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	lk "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/state"
)

// The faults of a LiveKit that is reachable and accepts the key, but refuses one thing or answers it badly.
func TestConnectReportsWhatLiveKitRefuses(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	target, err := url.Parse(s.liveKit.URL)
	if err != nil {
		t.Fatal(err)
	}
	status := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(text)) // the client may have disconnected
		}
	}
	answer := func(sdp string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/sdp")
			w.Header().Set("Location", "/whip/v1/x")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(sdp)) // the client may have disconnected
		}
	}
	const noCandidates = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n"
	for _, tt := range []struct {
		name, path string
		handle     http.HandlerFunc
		check      string
		parts      []string
	}{
		{"participants fail", "/twirp/livekit.RoomService/ListParticipants", status(http.StatusInternalServerError, `{"code":"internal","msg":"broken"}`), "livekit.apiKey", []string{"broken"}},
		{"old version", "/rtc", versioned("1.8.4"), "livekit version", []string{"1.8.4", "the gateway needs " + minLiveKit}},
		{"WHIP fails", "/whip/v1", status(http.StatusInternalServerError, "broken"), "livekit WHIP", []string{"500", "see its log"}},
		{"WHIP answers nonsense", "/whip/v1", answer("nonsense"), "livekit WHIP", nil},
		{"no candidates", "/whip/v1", answer(noCandidates), "livekit candidates", []string{"none in the answer", "rtc.node_ip"}},
		{"removal fails", "/twirp/livekit.RoomService/RemoveParticipant", status(http.StatusForbidden, `{"code":"permission_denied","msg":"no"}`), "livekit participants", []string{"manage its rooms"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == tt.path {
					tt.handle(w, r)
				} else {
					through.ServeHTTP(w, r)
				}
			}))
			defer proxy.Close()
			results := Connect(t.Context(), s.config(func(c *config.Config) { c.LiveKit.URL = proxy.URL }), "")
			wantResult(t, results, tt.check, Fault, tt.parts...)
		})
	}
	s.wantNothingLeft(t)
}

// versioned is LiveKit's signalling of a version.
func versioned(version string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return // the client sees it
		}
		defer conn.Close()
		join := &lk.JoinResponse{ServerInfo: &lk.ServerInfo{Version: version}, Participant: &lk.ParticipantInfo{}, Room: &lk.Room{}}
		frame, err := proto.Marshal(&lk.SignalResponse{Message: &lk.SignalResponse_Join{Join: join}})
		if err != nil {
			return // never: the message is complete
		}
		for err = conn.WriteMessage(websocket.BinaryMessage, frame); err == nil; {
			_, _, err = conn.ReadMessage()
		}
	}
}

// What a Redis reports about itself.
func TestRedisOfOldVersionIsFault(t *testing.T) {
	c := connection{cfg: config.Default()}
	wantResult(t, []Result{c.redisNode(state.Node{Addr: "a:1", Mode: standalone, Version: "5.0.14"})}, "redis a:1", Fault, "5.0.14", minRedis)
	wantResult(t, []Result{c.redisNode(state.Node{Addr: "a:1", Mode: standalone, Version: minRedis})}, "redis a:1", OK)
}

// Files can vanish after the configuration was read.
func TestMissingFilesAreFaults(t *testing.T) {
	cfg := config.Default()
	cfg.Listen.TLS = config.KeyPair{Cert: "/missing.crt", Key: "/missing.key"}
	wantResult(t, (&connection{cfg: cfg}).certificates(t.Context()), "listen.tls", Fault, "/missing.crt")
	cfg.Applications = map[string]config.Application{"shop": {Hooks: config.Hooks{URL: "https://backend.example"}}}
	app := cfg.Applications["shop"]
	app.Hooks.TLS.CA = "/missing.ca"
	cfg.Applications["shop"] = app
	wantResult(t, (&connection{cfg: cfg}).backends(t.Context()), "applications[shop].hooks.url", Fault, "/missing.ca")
	results := Connect(t.Context(), config.Config{}, "")
	wantResult(t, results, "configuration", Fault)
}

// A gateway whose streams are up, but from whose LiveKit no packet comes, and one that closes connections.
func TestMediaReportsSilentAndClosingGateways(t *testing.T) {
	t.Parallel()
	fake := func(handle func(conn *websocket.Conn, command, id string) bool) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				return // the client sees it
			}
			defer conn.Close()
			for {
				var m struct {
					Message string
					Data    []struct{ MediaSessionID string }
				}
				if conn.ReadJSON(&m) != nil {
					return // the client closed
				}
				id := ""
				if len(m.Data) > 0 {
					id = m.Data[0].MediaSessionID
				}
				if !handle(conn, m.Message, id) {
					return
				}
			}
		}))
		t.Cleanup(server.Close)
		return "ws" + strings.TrimPrefix(server.URL, "http")
	}
	send := func(conn *websocket.Conn, name string, data any) bool {
		return conn.WriteJSON(map[string]any{"message": name, "data": []any{data}}) == nil
	}
	silent := fake(func(conn *websocket.Conn, command, id string) bool {
		statuses := map[string]string{"publishStream": "PUBLISHING", "playStream": "PLAYING"}
		switch {
		case command == "connection":
			return send(conn, "getUserData", map[string]any{})
		case statuses[command] != "":
			return send(conn, "notifyStreamStatusEvent", map[string]any{"mediaSessionId": id, "status": statuses[command]})
		}
		return true
	})
	closing := fake(func(conn *websocket.Conn, command, _ string) bool {
		return command == "connection" && send(conn, "getUserData", map[string]any{})
	})
	wantResult(t, media(t, config.Default(), silent), "media play", Fault, "no packet came", "LiveKit must send to this machine")
	wantResult(t, media(t, config.Default(), closing), "media publish", Fault, "closed the connection", "log of the gateway")
}
