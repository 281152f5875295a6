package check

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/e2e/rig"
	"wcsgateway/internal/wcsclient"
	"wcsgateway/state"
	"wcsgateway/translate/livekit"
)

// atATime is how many tests run together unless -parallel sets another number: most of them wait.
const atATime = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	state.QuietClientLog(zerolog.Nop())
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.Cleanup(func(int) { http.DefaultTransport.(*http.Transport).CloseIdleConnections() }))
}

// servers are a LiveKit, which sends its webhooks to the port of a gateway, and a Redis.
type servers struct {
	ports   rig.Ports
	liveKit *rig.LiveKit
	redis   *rig.Redis
}

func startServers(t *testing.T) servers {
	t.Helper()
	s := servers{ports: rig.NewPorts(t), redis: rig.StartRedis(t)}
	s.liveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: s.ports.Webhook()})
	return s
}

// config returns a configuration for the servers.
func (s servers) config(change func(*config.Config)) config.Config {
	c := config.Default()
	c.LiveKit.URL, c.LiveKit.APIKey, c.LiveKit.APISecret = s.liveKit.URL, s.liveKit.Key, config.Secret(s.liveKit.Secret)
	c.Redis.Addrs = []string{s.redis.Addr}
	c.LiveKit.CallTimeout, c.Redis.CallTimeout = 20*time.Second, 2*time.Second // the machine can be busy with other tests
	c.Complete()
	if change != nil {
		change(&c)
	}
	return c
}

// of returns the results of one check.
func of(results []Result, check string) (found []Result) {
	for _, r := range results {
		if r.Check == check {
			found = append(found, r)
		}
	}
	return found
}

// wantResult requires one result of a check, with a level and parts of its text and hint.
func wantResult(t *testing.T, results []Result, check string, level Level, parts ...string) {
	t.Helper()
	found := of(results, check)
	if len(found) != 1 || found[0].Level != level {
		t.Errorf("results of %s: %+v, want one %v; all: %+v", check, found, level, results)
		return
	}
	for _, part := range parts {
		if !strings.Contains(found[0].Text+": "+found[0].Hint, part) {
			t.Errorf("result of %s lacks %q: %+v", check, part, found[0])
		}
	}
}

// wantNothingLeft requires that no room of a check is in LiveKit and no key of one in Redis.
func (s servers) wantNothingLeft(t *testing.T) {
	t.Helper()
	if left := s.liveKit.Participants(t, ""); len(left) > 0 {
		t.Errorf("participants are left: %v", left)
	}
	if keys := s.redis.CLI("--scan", "--pattern", "wcs:*{check:*"); strings.TrimSpace(keys) != "" {
		t.Errorf("keys are left: %s", keys)
	}
}

// A LiveKit and a Redis that work, without and with a running gateway.
func TestConnectReportsWhatWorks(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	cfg := s.config(nil)
	alone := Connect(t.Context(), cfg, "")
	wantResult(t, alone, "redis "+s.redis.Addr, OK, "standalone, version ")
	wantResult(t, alone, "redis.username", OK)
	wantResult(t, alone, "redis events", OK)
	wantResult(t, alone, "gateways", OK, "0 run as deployment default")
	wantResult(t, alone, "livekit.url", OK)
	wantResult(t, alone, "livekit.apiKey", OK)
	wantResult(t, alone, "livekit version", OK, "1.")
	wantResult(t, alone, "livekit play", OK, "by signalling")
	wantResult(t, alone, "livekit WHIP", OK)
	wantResult(t, alone, "livekit candidates", Warning, "udp 127.0.0.1:", "tcp 127.0.0.1:", "loopback", "rtc.node_ip")
	wantResult(t, alone, "webhooks", Warning, "not tried", "no gateway")
	s.wantNothingLeft(t)

	gateway := rig.StartGateway(t, rig.GatewayOptions{Ports: s.ports, LiveKit: s.liveKit, Redis: s.redis.Addr})
	gateway.AwaitReady(t)
	running := Connect(t.Context(), cfg, gateway.URL)
	wantResult(t, running, "gateways", OK, "1 run")
	wantResult(t, running, "webhooks", OK)
	wantResult(t, running, "gateway "+gateway.URL, OK)
	route := fmt.Sprintf("udp 127.0.0.1:%d", s.liveKit.UDPPort)
	wantResult(t, running, "media publish", OK, route)
	wantResult(t, running, "media play", OK, route)
	s.wantNothingLeft(t)
	rig.Eventually(t, 20*time.Second, "the gateway removes the streams of the check", func() bool {
		for key := range strings.Lines(s.redis.CLI("--scan", "--pattern", "wcs:*wcs-check*")) {
			if strings.TrimSpace(key) != "" && !strings.Contains(key, ":void:") { // the mark of a released name, which expires
				return false
			}
		}
		return true
	})
	cfg.LiveKit.APISecret = "the-secret-of-another-deployment-is-unknown"
	results := media(t, cfg, gateway.URL)
	wantResult(t, results, "gateway "+gateway.URL, Fault, "livekit.apiSecret")

	// A gateway that LiveKit's webhooks do not reach.
	s.liveKit.Kill()
	s.liveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: "http://127.0.0.1:1/webhook"})
	wantResult(t, Connect(t.Context(), s.config(nil), ""), "webhooks", Fault, "webhook.urls", ":9090/webhook", "webhook.api_key "+s.liveKit.Key)
}

// What a running gateway looks at leaves nothing, neither before nor after its end.
func TestLookOnlyReads(t *testing.T) {
	s := startServers(t)
	sound := Look(t.Context(), s.config(nil))
	for _, check := range []string{"redis " + s.redis.Addr, "livekit.url", "livekit.apiKey"} {
		wantResult(t, sound, check, OK)
	}
	faulty := Look(t.Context(), s.config(func(c *config.Config) {
		c.LiveKit.APISecret, c.Redis.Addrs = "wrong-wrong-wrong-wrong-wrong-wrong", []string{"127.0.0.1:1"}
	}))
	wantResult(t, faulty, "redis 127.0.0.1:1", Fault, "refused")
	wantResult(t, faulty, "livekit.apiKey", Fault, "livekit.apiSecret")
	if size := strings.TrimSpace(s.redis.CLI("dbsize")); size != "0" {
		t.Errorf("Redis has %s keys", size)
	}
	s.wantNothingLeft(t)
}

func TestConnectReportsFaultsOfLiveKit(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "proxy")
		http.NotFound(w, r)
	}))
	defer elsewhere.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // it accepts connections and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	silent := "http://" + listener.Addr().String()
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/":
			_, _ = w.Write([]byte("OK"))
		case strings.HasPrefix(r.URL.Path, "/twirp/"):
			w.Header().Set("Content-Type", "application/protobuf")
		default:
			http.NotFound(w, r)
		}
	}))
	defer old.Close()
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		check  string
		parts  []string
	}{
		{"unreachable", func(c *config.Config) { c.LiveKit.URL = "http://127.0.0.1:1" }, "livekit.url", []string{"refused"}},
		{"another server", func(c *config.Config) { c.LiveKit.URL = elsewhere.URL }, "livekit.url", []string{"not LiveKit", "status 404", `from the server "proxy"`}},
		{"silent", func(c *config.Config) { c.LiveKit.URL, c.LiveKit.CallTimeout = silent, 100*time.Millisecond }, "livekit.url", []string{"deadline"}},
		{"unknown key", func(c *config.Config) { c.LiveKit.APIKey = "other" }, "livekit.apiKey", []string{"livekit.apiKey and livekit.apiSecret must be"}},
		{"wrong secret", func(c *config.Config) { c.LiveKit.APISecret = "wrong-wrong-wrong-wrong-wrong-wrong" }, "livekit.apiKey", []string{"livekit.apiKey and livekit.apiSecret must be"}},
		{"no WHIP", func(c *config.Config) { c.LiveKit.URL = old.URL }, "livekit WHIP", []string{"no WHIP", "1.9.0"}},
		{"no signalling", func(c *config.Config) { c.LiveKit.URL = old.URL }, "livekit version", []string{"/rtc"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			results := Connect(t.Context(), s.config(tt.change), "")
			wantResult(t, results, tt.check, Fault, tt.parts...)
			wantResult(t, results, "webhooks", Warning, "not tried")
			for _, r := range results {
				if strings.Contains(r.Text, "eyJ") || strings.Contains(r.Text, s.liveKit.Secret) {
					t.Errorf("token or secret in %+v", r)
				}
			}
		})
	}
	s.wantNothingLeft(t)
}

// A proxy before LiveKit that does not pass the signalling of plays.
func TestPlayReportsProxyThatStopsSignalling(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	swallowed := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	mute := func(w http.ResponseWriter, r *http.Request) { // opens the connection and sends nothing
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return // the client sees it
		}
		defer conn.Close()
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
	}
	for _, tt := range []struct {
		name, version string
		way           livekit.PlayWay
		handle        http.HandlerFunc
		asked         int32
		level         Level
		parts         []string
		silent        bool
	}{
		{"not found", "1.13.5", "", http.NotFound, 1, Warning, []string{"status 404", "livekit.play: whip"}, false},
		{"no WebSockets", "1.13.5", livekit.PlayAuto, status(http.StatusOK), 1, Warning, []string{"status 200", "livekit.play: whip"}, false},
		{"forbidden", "1.13.5", livekit.PlayAuto, status(http.StatusForbidden), 1, Warning, []string{"status 403", "livekit.play: whip"}, false},
		{"bad gateway", "1.13.5", livekit.PlayAuto, status(http.StatusBadGateway), 1, Warning, []string{"status 502", "livekit.play: whip"}, false},
		{"swallowed", "1.13.5", livekit.PlayAuto, swallowed, 1, Warning, []string{"unavailable", "livekit.play: whip"}, true},
		{"mute", "1.13.5", livekit.PlayAuto, mute, 1, Warning, []string{"unavailable", "livekit.play: whip"}, true},
		{"signalling required", "1.9.0", livekit.PlaySignal, http.NotFound, 1, Warning, []string{"status 404", "livekit.play: whip"}, false},
		{"old LiveKit", "1.13.1", livekit.PlayAuto, http.NotFound, 0, OK, []string{"by WHIP", "older than 1.13.2"}, false},
		{"WHIP required", "1.13.5", livekit.PlayWHIP, http.NotFound, 0, OK, []string{"by WHIP, as livekit.play requires"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int32
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.URL.Path != "/rtc/v1" {
					t.Errorf("request for %s", r.URL.Path)
				}
				tt.handle(w, r)
			}))
			defer proxy.Close()
			cfg := config.Default()
			cfg.LiveKit.Play = tt.way
			if tt.silent {
				cfg.LiveKit.CallTimeout = 100 * time.Millisecond
			}
			sfu, err := livekit.New(livekit.Config{URL: proxy.URL, Key: "key", Secret: "the-secret-of-a-test-is-long-enough", Play: tt.way}, livekit.Deps{})
			if err != nil {
				t.Fatal(err)
			}
			defer sfu.Close()
			c := connection{cfg: cfg, sfu: sfu, peers: peers(t), pod: "0000000000000000", room: "wcs-check-0"}
			result := c.play(t.Context(), tt.version)
			wantResult(t, []Result{result}, "livekit play", tt.level, tt.parts...)
			if n := asked.Load(); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
			if strings.Contains(result.Text, "eyJ") {
				t.Errorf("token in %+v", result)
			}
		})
	}
}

func TestConnectReportsFaultsOfRedis(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.redis.CLI("acl", "setuser", "full", "on", ">pw", "~wcs:default:*", "&wcs:default:*", "+@all")
	s.redis.CLI("acl", "setuser", "few", "on", ">pw", "~wcs:default:*", "&wcs:default:*", "+@all", "-hset", "-pexpire", "-info")
	s.redis.CLI("acl", "setuser", "deaf", "on", ">pw", "~wcs:default:*", "+@all", "resetchannels")
	s.redis.CLI("acl", "setuser", "keyless", "on", ">pw", "~other:*", "&*", "+@all")
	s.redis.CLI("acl", "setuser", "scriptless", "on", ">pw", "~wcs:default:*", "&*", "+@all", "-@scripting")
	replica := rig.StartRedis(t, "--replicaof", "127.0.0.1 "+s.redis.Addr[strings.LastIndexByte(s.redis.Addr, ':')+1:])
	user := func(name string) func(*config.Config) {
		return func(c *config.Config) { c.Redis.Username, c.Redis.Password = name, "pw" }
	}
	node := "redis " + s.redis.Addr
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		check  string
		level  Level
		parts  []string
	}{
		{"unreachable", func(c *config.Config) { c.Redis.Addrs = []string{"127.0.0.1:1"} }, "redis 127.0.0.1:1", Fault, []string{"refused"}},
		{"wrong password", func(c *config.Config) { c.Redis.Username, c.Redis.Password = "full", "wrong" }, node, Fault, []string{"WRONGPASS", "redis.password"}},
		{"TLS where there is none", func(c *config.Config) { c.Redis.TLS.Enabled = true }, node, Fault, []string{"redis.tls"}},
		{"cluster where there is none", func(c *config.Config) { c.Redis.Cluster = true }, node, Fault, []string{"is standalone", "without redis.cluster"}},
		{"sentinel where there is none", func(c *config.Config) { c.Redis.MasterName = "mymaster" }, node, Fault, []string{"is standalone", "redis.masterName"}},
		{"replica", func(c *config.Config) { c.Redis.Addrs = []string{replica.Addr} }, "redis " + replica.Addr, Fault, []string{"is a replica"}},
		{"user with all rights", user("full"), "redis.username", OK, nil},
		{"commands missing", user("few"), "redis.username", Fault, []string{"HSET, PEXPIRE", "~wcs:default:*"}},
		{"version unknown", user("few"), node, Warning, []string{"INFO"}},
		{"channels missing", user("deaf"), "redis events", Fault, []string{"&wcs:default:*"}},
		{"keys missing", user("keyless"), "redis.username", Fault, []string{"GET", "~wcs:default:*"}},
		{"scripts missing", user("scriptless"), "redis.username", Fault, []string{"EVALSHA"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantResult(t, Connect(t.Context(), s.config(tt.change), ""), tt.check, tt.level, tt.parts...)
		})
	}
	s.wantNothingLeft(t)
}

func TestConnectExaminesClusterAndSentinels(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	cluster := rig.StartRedisCluster(t)
	first := func(addrs ...string) func(*config.Config) { return func(c *config.Config) { c.Redis.Addrs = addrs } }
	wantResult(t, Connect(t.Context(), s.config(first(cluster.Addrs()[0])), ""), "redis "+cluster.Addrs()[0], Fault, "is cluster", "redis.cluster: true")
	results := Connect(t.Context(), s.config(first(cluster.Addrs()...)), "")
	wantResult(t, results, "redis.username", OK)
	wantResult(t, results, "redis events", OK)
	for _, addr := range cluster.Addrs() {
		wantResult(t, results, "redis "+addr, OK, "cluster, version")
	}

	sentinels := rig.StartSentinel(t)
	results = Connect(t.Context(), s.config(first(sentinels.Addrs[0])), "")
	wantResult(t, results, "redis "+sentinels.Addrs[0], Fault, "is sentinel", "redis.masterName")
	named := func(name string) config.Config {
		return s.config(func(c *config.Config) { c.Redis.Addrs, c.Redis.MasterName = sentinels.Addrs, name })
	}
	results = Connect(t.Context(), named(rig.SentinelMasterName), "")
	wantResult(t, results, "redis "+sentinels.Addrs[0], OK, "sentinel")
	wantResult(t, results, "redis events", OK)
	wantResult(t, Connect(t.Context(), named("unknown"), ""), "redis", Fault, "redis.masterName")
}

func peers(t *testing.T) *wcsclient.Media {
	t.Helper()
	m, err := newMedia()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// media runs the last part of a check alone.
func media(t *testing.T, cfg config.Config, gateway string) []Result {
	t.Helper()
	c := connection{cfg: cfg, peers: peers(t), pod: "0000000000000000"}
	return c.media(t.Context(), gateway)
}

// failing is a gateway whose streams fail with an info.
func failing(t *testing.T, info string) string {
	t.Helper()
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
			if err := conn.ReadJSON(&m); err != nil {
				return // the client closed
			}
			answer := map[string]any{"message": "getUserData", "data": []any{map[string]any{}}}
			if m.Message == "publishStream" {
				answer = map[string]any{"message": "notifyStreamStatusEvent", "data": []any{
					map[string]any{"mediaSessionId": m.Data[0].MediaSessionID, "status": "FAILED", "info": info},
				}}
			}
			if err := conn.WriteJSON(answer); err != nil {
				return // the client closed
			}
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func TestMediaReportsFaults(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	noGateway := "ws" + strings.TrimPrefix(web.URL, "http")
	for _, tt := range []struct {
		name, gateway, check string
		parts                []string
	}{
		{"no address", "wcs.example.com", "gateway", []string{"ws://HOST:PORT", "--gateway"}},
		{"unreachable", "ws://127.0.0.1:1", "gateway ws://127.0.0.1:1", []string{"refused", "--gateway"}},
		{"another server", noGateway, "gateway " + noGateway, []string{"HTTP 404", "--gateway"}},
		{"media ports blocked", failing(t, "Failed by ICE timeout"), "media publish", []string{"Failed by ICE timeout", "open them"}},
		{"another failure", failing(t, "Internal error"), "media publish", []string{"Internal error", "log of the gateway"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantResult(t, media(t, config.Default(), tt.gateway), tt.check, Fault, tt.parts...)
		})
	}
}

func TestLocalGatewayIsThatOfConfiguration(t *testing.T) {
	for _, tt := range []struct {
		listen config.Listen
		want   string
	}{
		{config.Listen{Public: ":8080"}, "ws://127.0.0.1:8080"},
		{config.Listen{Public: "[::]:80", Secure: ":443"}, "ws://127.0.0.1:80"},
		{config.Listen{Secure: "0.0.0.0:8443"}, "wss://127.0.0.1:8443"},
		{config.Listen{Secure: ":8443", LB: config.LoadBalancer{Server: "wcs.example.com"}}, "wss://wcs.example.com:8443"},
	} {
		if got := Local(config.Config{Listen: tt.listen}); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.listen, got, tt.want)
		}
	}
}

// An interrupted check removes what it made.
func TestInterruptedConnectLeavesNothing(t *testing.T) {
	s := startServers(t)
	gateway := rig.StartGateway(t, rig.GatewayOptions{Ports: rig.NewPorts(t), LiveKit: s.liveKit, Redis: s.redis.Addr})
	gateway.AwaitReady(t)
	silent, err := net.Listen("tcp", s.ports.Webhook()[len("http://"):strings.LastIndexByte(s.ports.Webhook(), '/')])
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan []Result)
	go func() { done <- Connect(ctx, s.config(nil), "") }()
	conn, err := silent.Accept() // LiveKit sends the first webhook: the room of the check exists
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	results := <-done
	wantResult(t, results, "check", Fault, "interrupted")
	s.wantNothingLeft(t)
}
