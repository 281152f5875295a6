package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"wcsgateway/e2e/rig"
	"wcsgateway/state"
)

// indexedSessions returns how many sessions the pods have in Redis.
const indexedSessions = `local n = 0 for _, pod in ipairs(redis.call('HKEYS', 'wcs:default:pods')) do n = n + redis.call('HLEN', 'wcs:default:{pod:' .. pod .. '}:sessions') end return n`

// Thirty thousand sessions, six thousand streams and as many players of other pods are listed by a pod that
// does not grow with them. With the flag more they are a hundred thousand, and ten thousand.
func TestRESTListsManySessionsInLittleMemory(t *testing.T) {
	sessions, streams := 30_000, 6_000
	if *more {
		sessions, streams = 100_000, 10_000
	}
	const most = 64 << 20
	redis := rig.StartRedis(t)
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: rig.NewPorts(t), LiveKit: &rig.LiveKit{URL: "http://127.0.0.1:1", Key: "k", Secret: "s"}, Redis: redis.Addr, Env: map[string]string{
		"WCS_REST_LISTEN": "127.0.0.1:0", "WCS_REST_AUTH": "none", "WCS_LOG_LEVEL": "info",
	}})
	g.AwaitReady(t)
	store := otherPod(t, redis.Addr)
	for i := range sessions {
		store.PutSession(state.Session{ID: fmt.Sprintf("/10.0.0.1:%d/%016x", i%65536, i), App: "defaultApp", CreatedAt: time.Now(), ClientVersion: "2.0.276"})
	}
	register(t, store, streams)
	url := "http://" + g.Listening(t, "rest.listen")
	rig.Eventually(t, 2*time.Minute, "all sessions are indexed", func() bool {
		return strings.TrimSpace(redis.CLI("--raw", "EVAL", indexedSessions, "0")) == strconv.Itoa(sessions)
	})
	rig.Eventually(t, 2*time.Minute, "all sessions are registered", func() bool { // which takes a call or two
		n, _ := count(t, url+"/rest-api/connection/find_all")
		return n == sessions
	})
	before := memoryOf(t, g, "VmRSS")
	for path, want := range map[string]int{"/rest-api/connection/find_all": sessions, "/rest-api/stream/find_all": 2 * streams} {
		since := time.Now()
		n, bytes := count(t, url+path)
		if n != want {
			t.Errorf("%s: %d, want %d", path, n, want)
		}
		t.Logf("%s: %d records, %d bytes in %v", path, n, bytes, time.Since(since).Round(time.Millisecond))
	}
	peak := memoryOf(t, g, "VmHWM")
	idle := memoryOf(t, idlePod(t, redis.Addr), "VmHWM")
	t.Logf("resident memory of the pod: %d MB before the last calls, %d MB at its peak; of one that was asked for nothing: %d MB", before>>20, peak>>20, idle>>20)
	if peak > idle+most {
		t.Errorf("the pod's memory has grown to %d MB; another that was asked for nothing has %d MB", peak>>20, idle>>20)
	}
}

// idlePod starts another gateway of the deployment, to compare with.
func idlePod(t *testing.T, redis string) *rig.Gateway {
	t.Helper()
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: rig.NewPorts(t), LiveKit: &rig.LiveKit{URL: "http://127.0.0.1:1", Key: "k", Secret: "s"}, Redis: redis, Env: map[string]string{"WCS_LOG_LEVEL": "info"}})
	g.AwaitReady(t)
	return g
}

// otherPod is the store of a pod that is not there otherwise.
func otherPod(t *testing.T, redis string) *state.Redis {
	t.Helper()
	r := state.Open(state.Config{Addrs: []string{redis}, CallTimeout: 2 * time.Second}, state.Pod{Deployment: "default", ID: "0123abcd", Host: "test"}, state.Deps{Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, state.Handlers{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("end of the store: %v", err)
		}
	})
	rig.Eventually(t, 20*time.Second, "the store is ready", r.Ready)
	return r
}

// register claims streams with a player each.
func register(t *testing.T, store *state.Redis, n int) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	tracks := []state.Track{{Name: "synthesized-microphone", Kind: "audio", Mime: "audio/opus"}, {Name: "synthesized-camera", Kind: "video", Mime: "video/VP8", Width: 640, Height: 360}}
	for i := range n {
		group.Go(func() error {
			name := fmt.Sprintf("stream-%d", i)
			s := state.Stream{
				Name: name, MediaID: "pub-" + name, App: "defaultApp", Session: "/10.0.0.1:1/0", Room: "wcs." + name,
				Identity: "wcs:default:pub:" + name, Phase: state.PhasePublishing, Tracks: tracks, CreatedAt: time.Now(),
			}
			if err := store.ClaimStream(ctx, s); err != nil {
				return err
			}
			_, err := store.AddPlayer(ctx, state.Player{
				MediaID: "play-" + name, Stream: name, App: s.App, Session: s.Session, Identity: "wcs:default:play:" + name, CreatedAt: time.Now(), Playing: true, Tracks: tracks,
			})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// count reads a list without keeping it.
func count(t *testing.T, url string) (records int, bytes int64) {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	d := json.NewDecoder(bufio.NewReader(res.Body))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() && res.StatusCode == http.StatusOK {
		var one struct{ SessionID string }
		if err := d.Decode(&one); err != nil {
			t.Fatal(err)
		}
		records++
	}
	return records, d.InputOffset()
}

// memoryOf returns a figure of the gateway's process in bytes: VmRSS, or VmHWM, the peak of it.
func memoryOf(t *testing.T, g *rig.Gateway, figure string) (bytes int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, figure+":"); ok {
			if _, err := fmt.Sscan(rest, &bytes); err != nil {
				t.Fatal(err)
			}
			return bytes << 10
		}
	}
	t.Fatalf("no %s", figure)
	return 0
}
