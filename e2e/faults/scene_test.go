package faults

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

const (
	infoAway    = "Failed to add stream to proxy"
	infoStopped = "Stopped by publisher stop"
	infoInUse   = "Stream name is already in use"

	statusEvent = "notifyStreamStatusEvent"
)

// podOptions configure the pods of startPods.
type podOptions struct {
	n          int
	redis      string            // host:port of a single Redis; env names another kind
	webhook    int               // pod that gets LiveKit's webhooks
	noWebhooks bool              // LiveKit sends none
	env        map[string]string // of all pods
}

// startPods starts gateways that share a LiveKit and a Redis.
func startPods(t *testing.T, o podOptions) (pods []*rig.Gateway, lk *rig.LiveKit) {
	t.Helper()
	var ports []rig.Ports
	for range o.n {
		ports = append(ports, rig.NewPorts(t))
	}
	var lko rig.LiveKitOptions
	if !o.noWebhooks {
		lko.Webhook = ports[o.webhook].Webhook()
	}
	lk = rig.StartLiveKit(t, lko)
	for _, p := range ports {
		pods = append(pods, rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: lk, Redis: o.redis, Env: o.env}))
	}
	for _, g := range pods {
		g.AwaitReady(t)
	}
	return pods, lk
}

// scene is a stream that is published on the first pod and played on the second.
type scene struct {
	name      string
	pods      []*rig.Gateway
	pub, view *rig.Client
	screen    *rig.Peer
	since     time.Time
}

func newScene(t *testing.T, pods []*rig.Gateway, name string) *scene {
	t.Helper()
	s := &scene{
		name: name, pods: pods, screen: rig.NewPlayer(t, rig.PeerOptions{}),
		pub: rig.Connect(t, pods[0].URL, "defaultApp"), view: rig.Connect(t, pods[1].URL, "defaultApp"),
	}
	s.pub.Publish(s.pubID(), name, rig.NewPublisher(t, rig.PeerOptions{}))
	s.view.Play(s.playID(), name, s.screen)
	wantMedia(t, s.screen)
	s.since = time.Now()
	return s
}

// awaitSettled waits until the streams are so old that LiveKit is polled about them only every 5 s. New ones
// are polled every second.
func awaitSettled(t *testing.T, scenes ...*scene) {
	t.Helper()
	for _, s := range scenes {
		rig.Eventually(t, 40*time.Second, "the stream is settled", func() bool { return time.Since(s.since) > 7*time.Second })
	}
}

func (s *scene) pubID() string  { return s.name + "-pub" }
func (s *scene) playID() string { return s.name + "-play" }

// packets counts the RTP packets that the player has got.
func (s *scene) packets() int {
	return s.screen.Packets(translate.Audio) + s.screen.Packets(translate.Video)
}

// wantUnnoticed checks that neither client received a status of its stream.
func (s *scene) wantUnnoticed(t *testing.T) {
	t.Helper()
	wantNoMoreStatus(t, s.pub, s.view)
}

// wantProtected tries to publish under the scene's name on both pods. A pod that refuses it with the text
// meanwhile, if there is one, is asked again.
func (s *scene) wantProtected(t *testing.T, meanwhile string) {
	t.Helper()
	offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
	for i, pod := range s.pods[:2] {
		c := rig.Connect(t, pod.URL, "defaultApp")
		try := 0
		rig.Eventually(t, 40*time.Second, "the pod finds the name", func() bool {
			try++
			id := fmt.Sprintf("%s-other-%d-%d", s.name, i, try)
			c.Send("publishStream", rig.StreamRequest(id, s.name, offer, true, nil))
			var st rig.Status
			c.AwaitMatch("answer to "+id, func(m rig.Message) bool {
				return (m.Name == "setRemoteSDP" || m.Name == statusEvent) && strings.Contains(m.Raw, id)
			}).Arg(t, 0, &st)
			if st.Status != "FAILED" || st.Info != infoInUse && (st.Info != meanwhile || meanwhile == "") {
				t.Fatalf("%s: %s %q, want FAILED %q", id, st.Status, st.Info, infoInUse)
			}
			return st.Info == infoInUse
		})
		c.Close()
	}
}

// end ends the stream and checks that both sides are notified. It returns the time until the player was.
func (s *scene) end(t *testing.T) time.Duration {
	t.Helper()
	since := time.Now()
	s.pub.Unpublish(s.pubID(), s.name)
	s.view.WantStatus(s.playID(), "FAILED", infoStopped)
	took := time.Since(since)
	s.pub.WantStatus(s.pubID(), "UNPUBLISHED", infoStopped)
	return took
}

// attempt publishes under a name of its own and stops again, unless it is refused because Redis is away.
func attempt(t *testing.T, c *rig.Client, id string) (ok bool, answered time.Duration) {
	t.Helper()
	peer := rig.NewPublisher(t, rig.PeerOptions{})
	defer peer.Close()
	since := time.Now()
	c.Send("publishStream", rig.StreamRequest(id, id, peer.Offer(), true, nil))
	m := c.AwaitMatch("answer to "+id, func(m rig.Message) bool {
		return (m.Name == "setRemoteSDP" || m.Name == statusEvent) && strings.Contains(m.Raw, id)
	})
	answered = time.Since(since)
	if m.Name == statusEvent {
		var st rig.Status
		if m.Arg(t, 0, &st); st.Status != "FAILED" || st.Info != infoAway {
			t.Errorf("%s: %s %q, want FAILED %q", id, st.Status, st.Info, infoAway)
		}
		return false, answered
	}
	var sdp string
	m.Arg(t, 1, &sdp)
	peer.SetAnswer(sdp)
	c.WantStatus(id, "PUBLISHING", "")
	c.Unpublish(id, id)
	c.WantStatus(id, "UNPUBLISHED", infoStopped)
	return true, answered
}

// wantMedia waits for packets of both kinds.
func wantMedia(t *testing.T, screen *rig.Peer) {
	t.Helper()
	for _, kind := range []translate.Kind{translate.Audio, translate.Video} {
		before := screen.Packets(kind)
		rig.Eventually(t, 40*time.Second, "packets of "+string(kind), func() bool { return screen.Packets(kind) > before+10 })
	}
}

// awaitRoundTrip waits for the answer to a command. Everything that the gateway sent before has arrived then.
func awaitRoundTrip(t *testing.T, c *rig.Client) {
	t.Helper()
	c.Send("sendData", map[string]any{"operationId": "roundTrip", "payload": 1})
	c.AwaitMatch("DataStatusEvent roundTrip", func(m rig.Message) bool {
		return m.Name == "DataStatusEvent" && strings.Contains(m.Raw, `"roundTrip"`)
	})
}

// wantNoMoreStatus checks that no status was sent that the test has not taken: each client is notified once.
func wantNoMoreStatus(t *testing.T, clients ...*rig.Client) {
	t.Helper()
	for _, c := range clients {
		awaitRoundTrip(t, c)
		if n := c.Count(statusEvent); n != 0 {
			t.Errorf("notified %d times more: %s", n, c.Names())
		}
	}
}

// metric reads a value from /metrics, 0 if it is not there. series is the name with its labels.
func metric(t *testing.T, g *rig.Gateway, series string) float64 {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(g.Internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// awaitTakeOverAllowed waits until the pods have seen Redis for so long that they may take over from dead
// ones (docs/architecture.md#redis).
func awaitTakeOverAllowed(t *testing.T, pods ...*rig.Gateway) {
	t.Helper()
	for _, g := range pods {
		rig.Eventually(t, 40*time.Second, "the pod has seen Redis for long enough", func() bool {
			return time.Since(g.Started) > 16*time.Second
		})
	}
}

// ms is a duration for the log.
func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
