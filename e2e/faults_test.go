package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

const infoAway = "Failed to add stream to proxy"

// wantRefused publishes and expects a quick refusal.
func wantRefused(t *testing.T, c *rig.Client, id, info string) {
	t.Helper()
	since := time.Now()
	c.Send("publishStream", rig.StreamRequest(id, id, rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
	c.WantStatus(id, "FAILED", info)
	t.Logf("%s refused after %v", id, time.Since(since))
}

func wantLog(t *testing.T, g *rig.Gateway, words ...string) {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "a log line with "+strings.Join(words, ", "), func() bool {
	lines:
		for line := range strings.Lines(g.Output()) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return true
		}
		return false
	})
}

func TestWrongLiveKitKeyFailsPublish(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, map[string]string{"WCS_LIVEKIT_APISECRET": "wrong-wrong-wrong-wrong-wrong-wrong"}, "")
	c := rig.Connect(t, s.Gateway.URL, "defaultApp")
	wantRefused(t, c, "wrong", infoAway)
	wantLog(t, s.Gateway, `"level":"error"`, "publish failed", "denied")
	if strings.Contains(s.Gateway.Output(), "wrong-wrong") {
		t.Error("secret in the log")
	}
	rig.Eventually(t, 20*time.Second, "no claim left over", func() bool { return len(s.Redis.Claims()) == 0 })
}

func TestStreamsFailAfterLiveKitRestarts(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, nil, "")
	c, d := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("before", "before", rig.NewPublisher(t, rig.PeerOptions{}))
	d.Play("before-play", "before", rig.NewPlayer(t, rig.PeerOptions{}))
	s.LiveKit.Kill()
	wantRefused(t, c, "down", infoAway)
	wantLog(t, s.Gateway, `"level":"error"`, "publish failed", "refused")
	if s.Gateway.Get("/readyz") != http.StatusOK || s.Gateway.Get("/livez") != http.StatusOK {
		t.Error("LiveKit's absence made the gateway unready")
	}
	s.LiveKit.Restart()
	back := time.Now()
	// The poll of LiveKit finds that the stream has ended.
	if st := c.AwaitStatus("before"); st.Status != "FAILED" {
		t.Errorf("stream of before: %+v", st)
	}
	if st := d.AwaitStatus("before-play"); st.Status != "FAILED" {
		t.Errorf("player of before: %+v", st)
	}
	took := time.Since(back)
	t.Logf("publisher and player notified %v after LiveKit was back", took)
	if took > 10*time.Second+slack {
		t.Errorf("both are notified %v after LiveKit was back", took)
	}
	c.Publish("after", "before", rig.NewPublisher(t, rig.PeerOptions{}))
	wantNoMoreStatus(t, c, d)
	c.Close()
	s.WantClean(t)
}

func TestHangingLiveKitDelaysNoOtherClient(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, map[string]string{"WCS_LIVEKIT_CALLTIMEOUT": "1s"}, "")
	c, d := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	s.LiveKit.Pause()
	wantRefused(t, c, "hangs", infoAway)
	awaitRoundTrip(t, d) // no other client waits for it
	s.LiveKit.Resume()
	s.WantClean(t)
	c.Publish("again", "hangs", rig.NewPublisher(t, rig.PeerOptions{}))
}

func TestGatewayBecomesReadyWhenRedisStarts(t *testing.T) {
	t.Parallel()
	ports, redis := rig.NewPorts(t), rig.StartRedis(t)
	redis.Kill()
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()})
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports, LiveKit: lk, Redis: redis.Addr})
	if status := g.Get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz %d without Redis", status)
	}
	c := rig.Connect(t, g.URL, "defaultApp") // sessions are accepted and registered later
	wantRefused(t, c, "early", infoAway)
	redis.Restart()
	g.AwaitReady(t)
	c.Publish("later", "later", rig.NewPublisher(t, rig.PeerOptions{}))
	rig.Eventually(t, 20*time.Second, "the session is registered", func() bool {
		return strings.Contains(redis.CLI("--raw", "KEYS", "wcs:default:session:*"), "session:")
	})
}

func TestStreamsSurviveEmptyRedis(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, nil, "")
	c, d := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("stays", "stays", rig.NewPublisher(t, rig.PeerOptions{}))
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	d.Play("plays", "stays", screen)
	s.Redis.Kill()
	wantRefused(t, d, "away", infoAway)
	d.Send("playStream", rig.StreamRequest("away-play", "stays", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	d.WantStatus("away-play", "FAILED", infoAway)
	if s.Gateway.Get("/readyz") != http.StatusOK || s.Gateway.Get("/livez") != http.StatusOK {
		t.Error("Redis' absence made the gateway unready")
	}
	s.Redis.Restart() // it kept nothing
	rig.Eventually(t, 40*time.Second, "stream and player are registered again", func() bool {
		claims := strings.Join(s.Redis.Claims(), " ")
		return strings.Contains(claims, "{stream:stays}:record") && strings.Contains(claims, "{stream:stays}:players")
	})
	wantMedia(t, screen, translate.Audio, translate.Video)
	if n := c.Count("notifyStreamStatusEvent") + d.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("clients noticed: %s %s", c.Names(), d.Names())
	}
	d.Play("plays-2", "stays", rig.NewPlayer(t, rig.PeerOptions{}))
	c.Unpublish("stays", "stays")
	c.WantStatus("stays", "UNPUBLISHED", "Stopped by publisher stop")
	d.WantStatus("plays", "FAILED", "Stopped by publisher stop")
	d.WantStatus("plays-2", "FAILED", "Stopped by publisher stop")
	s.WantClean(t)
	wantNoMoreStatus(t, c, d)
}

// Without webhooks the gateway finds out everything by polling.
func TestStreamsStartAndEndWithoutWebhooks(t *testing.T) {
	t.Parallel()
	ports, redis := rig.NewPorts(t), rig.StartRedis(t)
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{})
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports, LiveKit: lk, Redis: redis.Addr})
	g.AwaitReady(t)
	c, d := rig.Connect(t, g.URL, "defaultApp"), rig.Connect(t, g.URL, "defaultApp")
	peer := rig.NewPublisher(t, rig.PeerOptions{})
	c.Publish("polled-pub", "polled", peer)
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	d.Play("polled-play", "polled", screen)
	wantMedia(t, screen, translate.Audio, translate.Video)
	peer.Close() // LiveKit notices after 15 s, and the gateway after that
	if st := c.AwaitStatus("polled-pub"); st.Status != "FAILED" {
		t.Errorf("publisher: %+v", st)
	}
	d.WantStatus("polled-play", "FAILED", "Stopped by publisher stop")
	rig.WantClean(t, lk, redis)
	wantNoMoreStatus(t, c, d)
}

func TestForgedWebhookEndsNoStream(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, nil, "")
	c := rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("real", "real", rig.NewPublisher(t, rig.PeerOptions{}))
	id := s.LiveKit.Participants(t, "wcs.real")[0].GetIdentity()
	body := `{"event":"participant_left","room":{"name":"wcs.real"},"participant":{"identity":"` + id + `"}}`
	for _, auth := range []string{"", "nonsense", "Bearer x.y.z"} {
		req, err := http.NewRequest(http.MethodPost, s.Gateway.Internal+"/webhook", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/webhook+json")
		req.Header.Set("Authorization", auth)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("authorization %q: %d", auth, res.StatusCode)
		}
	}
	wantLog(t, s.Gateway, "webhook refused")
	c.Unpublish("real", "real") // it was still there
	c.WantStatus("real", "UNPUBLISHED", "Stopped by publisher stop")
	s.WantClean(t)
	wantNoMoreStatus(t, c)
}

// A client that answers no pings is closed, alone, and its streams are released.
func TestClientWithoutPongsIsClosed(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, map[string]string{"WCS_SESSION_PINGINTERVAL": "100ms", "WCS_SESSION_PINGPROBES": "5"}, "")
	c, d := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("stall", "stall", rig.NewPublisher(t, rig.PeerOptions{}))
	d.Play("stall-play", "stall", rig.NewPlayer(t, rig.PeerOptions{}))
	c.StopPongs()
	_ = c.AwaitClosed()
	d.WantStatus("stall-play", "FAILED", "Stopped by publisher stop")
	awaitRoundTrip(t, d)
	s.WantClean(t)
	wantNoMoreStatus(t, d)
}

// SIGTERM: sockets are closed with 1001, everything is released, the exit code is 0.
func TestShutdownReleasesEverything(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, nil, "")
	c := rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("bye", "bye", rig.NewPublisher(t, rig.PeerOptions{}))
	s.Gateway.Stop()
	if err := c.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("client saw %v", err)
	}
	if err := s.Gateway.Wait(); err != nil {
		t.Errorf("gateway ended with %v", err)
	}
	s.WantClean(t)
}
