package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

const (
	manyPlayers = 8               // of one room on its publisher's pod: LiveKit is polled about all of them
	slack       = 4 * time.Second // for a machine that is busy; what was measured is in the log
)

// One of two LiveKit nodes is killed: it sends no webhook, and LiveKit's list continues to show its
// participants.
func TestDeadLiveKitNodeEndsItsStreams(t *testing.T) {
	t.Parallel()
	ports, redis := rig.NewPorts(t), rig.StartRedis(t)
	o := rig.LiveKitOptions{Webhook: ports.Webhook(), Redis: redis.Addr}
	a, b := rig.StartLiveKit(t, o), rig.StartLiveKit(t, o)
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports, LiveKit: a, Redis: redis.Addr})
	g.AwaitReady(t)
	c, d := rig.Connect(t, g.URL, "defaultApp"), rig.Connect(t, g.URL, "defaultApp")
	var name string // of a stream whose room is on node b
	for i := 0; name == ""; i++ {
		if i == 20 {
			t.Fatal("no room came to be on the second node")
		}
		try := fmt.Sprintf("node-%d", i)
		peer := rig.NewPublisher(t, rig.PeerOptions{})
		c.Send("publishStream", rig.StreamRequest(try, try, peer.Offer(), true, nil))
		sdp := c.AwaitSDP(try)
		peer.SetAnswer(sdp)
		c.WantStatus(try, "PUBLISHING", "")
		if strings.Contains(sdp, fmt.Sprintf(" %d typ host", b.UDPPort)) {
			name = try
			continue
		}
		c.Unpublish(try, try)
		c.WantStatus(try, "UNPUBLISHED", "Stopped by publisher stop")
	}
	for i := range manyPlayers {
		d.Play(fmt.Sprintf("play-%d", i), name, rig.NewPlayer(t, rig.PeerOptions{Audio: true}))
	}
	up := time.Now()
	rig.Eventually(t, 40*time.Second, "LiveKit is asked about the room as seldom as it ever is", func() bool { return time.Since(up) > 7*time.Second })
	b.Kill()
	since := time.Now()
	if st := c.WantStatus(name, "FAILED", "Stream failed"); st.Status == "FAILED" {
		t.Logf("publisher notified after %v", time.Since(since))
	}
	for i := range manyPlayers {
		if st := d.AwaitStatus(fmt.Sprintf("play-%d", i)); st.Status != "FAILED" {
			t.Errorf("player: %+v", st)
		}
	}
	took := time.Since(since)
	t.Logf("%d players notified after %v", manyPlayers, took)
	if took > 10*time.Second+slack {
		t.Errorf("all are notified after %v", took)
	}
	// It can be published again once LiveKit has noticed, and its leftovers do no harm.
	var again rig.Status
	for i := range 20 {
		id := fmt.Sprintf("again-%d", i)
		peer := rig.NewPublisher(t, rig.PeerOptions{})
		c.Send("publishStream", rig.StreamRequest(id, name, peer.Offer(), true, nil))
		m := c.AwaitMatch("answer or failure", func(m rig.Message) bool {
			return strings.Contains(m.Raw, id) && (m.Name == "setRemoteSDP" || m.Name == "notifyStreamStatusEvent")
		})
		if m.Name != "setRemoteSDP" {
			continue
		}
		var sdp string
		m.Arg(t, 1, &sdp)
		peer.SetAnswer(sdp)
		again = c.WantStatus(id, "PUBLISHING", "")
		break
	}
	if again.Status != "PUBLISHING" {
		t.Fatal("cannot publish again")
	}
	t.Logf("published again after %v", time.Since(since))
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	d.Play("play-again", name, screen)
	wantMedia(t, screen, translate.Audio, translate.Video)
	wantNoMoreStatus(t, c, d)
	c.Unpublish(again.MediaSessionID, name)
	c.WantStatus(again.MediaSessionID, "UNPUBLISHED", "Stopped by publisher stop")
	d.WantStatus("play-again", "FAILED", "Stopped by publisher stop")
	rig.Eventually(t, 40*time.Second, "no claim left over", func() bool { return len(redis.Claims()) == 0 }) // LiveKit lists the dead node's participants on
	wantNoMoreStatus(t, c, d)
}

// pods starts gateways that share a LiveKit and a Redis.
func pods(t *testing.T, n int) (gateways []*rig.Gateway, s *rig.Stage) {
	t.Helper()
	return podsWith(t, n, nil)
}

// podsWith sets something of the gateways.
func podsWith(t *testing.T, n int, env map[string]string) (gateways []*rig.Gateway, s *rig.Stage) {
	t.Helper()
	s = &rig.Stage{Redis: rig.StartRedis(t)}
	var ports []rig.Ports
	for range n {
		ports = append(ports, rig.NewPorts(t))
	}
	// LiveKit notifies one pod; the last one has none of the streams of these tests.
	s.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[n-1].Webhook()})
	for _, p := range ports {
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: s.LiveKit, Redis: s.Redis.Addr, Env: env})
		g.AwaitReady(t)
		gateways = append(gateways, g)
	}
	return gateways, s
}

func TestPlayersOfOtherPodsReceiveMedia(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 3)
	c, d, e := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp"), rig.Connect(t, g[0].URL, "defaultApp")
	peer := rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240})
	c.Publish("pods-pub", "pods", peer)
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	d.Play("pods-play", "pods", screen)
	wantMedia(t, screen, translate.Audio, translate.Video)
	e.Send("publishStream", rig.StreamRequest("pods-2", "pods", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
	e.WantStatus("pods-2", "FAILED", "Stream name is already in use")
	f := rig.Connect(t, g[1].URL, "defaultApp")
	f.Send("publishStream", rig.StreamRequest("pods-pub", "pods-x", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
	f.WantStatus("pods-pub", "FAILED", "MediaSessionId is already in use")
	peer.Resize(640, 480)
	d.AwaitMatch("the new size", func(m rig.Message) bool {
		return m.Name == "notifyVideoFormat" && strings.Contains(m.Raw, `"streamerVideoWidth":640`)
	})
	c.Unpublish("pods-pub", "pods")
	c.WantStatus("pods-pub", "UNPUBLISHED", "Stopped by publisher stop")
	d.WantStatus("pods-play", "FAILED", "Stopped by publisher stop")
	s.WantClean(t)
}

// A pod is killed: another removes its participants, releases its names and notifies the players, once.
func TestKilledPodIsTakenOver(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 3)
	c, d, e := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp"), rig.Connect(t, g[2].URL, "defaultApp")
	c.Publish("killed-pub", "killed", rig.NewPublisher(t, rig.PeerOptions{}))
	d.Play("killed-play", "killed", rig.NewPlayer(t, rig.PeerOptions{}))
	e.Play("killed-play2", "killed", rig.NewPlayer(t, rig.PeerOptions{}))
	rig.Eventually(t, 40*time.Second, "the pods have seen Redis for long enough to take over", func() bool {
		return time.Since(g[2].Started) > 16*time.Second
	})
	g[0].Kill()
	since := time.Now()
	d.WantStatus("killed-play", "FAILED", "Stopped by publisher stop")
	e.WantStatus("killed-play2", "FAILED", "Stopped by publisher stop")
	t.Logf("players notified after %v", time.Since(since))
	s.WantClean(t)
	d.Publish("killed-again", "killed", rig.NewPublisher(t, rig.PeerOptions{}))
	for _, p := range []*rig.Client{d, e} {
		awaitRoundTrip(t, p)
		if n := p.Count("notifyStreamStatusEvent"); n != 0 {
			t.Errorf("notified more than once: %s", p.Names())
		}
	}
}

// A pod is killed after a player got its answer, before the player has media. LiveKit's participant ends, and
// another pod removes the player's keys, and only those.
func TestKilledPodLeavesNoPlayerWithoutMedia(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 2)
	c, d := rig.Connect(t, g[1].URL, "defaultApp"), rig.Connect(t, g[0].URL, "defaultApp")
	c.Publish("unmet-pub", "unmet", rig.NewPublisher(t, rig.PeerOptions{}))
	claims := func() []string { return slices.Sorted(slices.Values(s.Redis.Claims())) }
	players := func() (list []string) {
		for _, p := range s.LiveKit.Participants(t, "wcs.unmet") {
			if _, role, _, _ := translate.Identity(p.GetIdentity()).Parse(); role == translate.RolePlay {
				list = append(list, p.GetIdentity())
			}
		}
		return list
	}
	before := claims() // those of the publisher
	d.Send("playStream", rig.StreamRequest("unmet-play", "unmet", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	d.AwaitSDP("unmet-play")
	if list := players(); len(list) != 1 {
		t.Errorf("players in LiveKit: %v, want one", list)
	}
	if slices.Equal(claims(), before) {
		t.Errorf("the player has no keys: %v", before)
	}
	g[0].Kill()
	since := time.Now()
	rig.Eventually(t, 60*time.Second, "LiveKit lists no player", func() bool { return len(players()) == 0 })
	t.Logf("the participant is gone after %v", time.Since(since))
	rig.Eventually(t, 60*time.Second, "Redis has no key of the player", func() bool { return slices.Equal(claims(), before) })
	t.Logf("its keys are gone after %v", time.Since(since))
	e, screen := rig.Connect(t, g[1].URL, "defaultApp"), rig.NewPlayer(t, rig.PeerOptions{})
	e.Play("unmet-play", "unmet", screen) // its media id is free too
	wantMedia(t, screen, translate.Audio, translate.Video)
	c.Unpublish("unmet-pub", "unmet")
	c.WantStatus("unmet-pub", "UNPUBLISHED", "Stopped by publisher stop")
	e.WantStatus("unmet-play", "FAILED", "Stopped by publisher stop")
	s.WantClean(t)
	wantNoMoreStatus(t, c, e)
}

// A pod is frozen for so long that others take it for dead: it closes its sockets and starts clean, and
// nothing it still had to write undoes what the others did.
func TestFrozenPodStartsCleanWhenItReturns(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 2)
	c, d := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")
	c.Publish("frozen-pub", "frozen", rig.NewPublisher(t, rig.PeerOptions{}))
	d.Play("frozen-play", "frozen", rig.NewPlayer(t, rig.PeerOptions{}))
	rig.Eventually(t, 40*time.Second, "the pods have seen Redis for long enough to take over", func() bool {
		return time.Since(g[1].Started) > 16*time.Second
	})
	g[0].Pause()
	d.WantStatus("frozen-play", "FAILED", "Stopped by publisher stop")
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	d.Publish("frozen-new", "frozen", rig.NewPublisher(t, rig.PeerOptions{}))
	c.Unpublish("frozen-pub", "frozen") // waits in the frozen pod's socket
	g[0].Resume()
	if err := c.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("client of the frozen pod saw %v", err)
	}
	d.Play("frozen-play2", "frozen", screen)
	wantMedia(t, screen, translate.Audio, translate.Video)
	rig.Connect(t, g[0].URL, "defaultApp").Play("frozen-play3", "frozen", rig.NewPlayer(t, rig.PeerOptions{}))
	d.Unpublish("frozen-new", "frozen")
	d.WantStatus("frozen-new", "UNPUBLISHED", "Stopped by publisher stop")
	d.WantStatus("frozen-play2", "FAILED", "Stopped by publisher stop")
	s.WantClean(t)
	wantNoMoreStatus(t, d)
}

// SIGTERM with a stream: the pod is unready, refuses sockets, waits for the stream, and ends with 0.
func TestSIGTERMWaitsForStreams(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, map[string]string{"WCS_DRAIN_WINDOW": "5m"}, "")
	c, idle := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("drain", "drain", rig.NewPublisher(t, rig.PeerOptions{}))
	s.Gateway.Terminate()
	if err := idle.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("idle client saw %v", err)
	}
	if status := s.Gateway.Get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz %d", status)
	}
	if status := s.Gateway.Get("/livez"); status != http.StatusOK {
		t.Errorf("/livez %d", status)
	}
	awaitRoundTrip(t, c)
	c.Unpublish("drain", "drain")
	c.WantStatus("drain", "UNPUBLISHED", "Stopped by publisher stop")
	if err := c.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("publisher saw %v", err)
	}
	wantNoMoreStatus(t, c, idle)
	if err := s.Gateway.Wait(); err != nil {
		t.Errorf("gateway ended with %v", err)
	}
	s.WantClean(t)
}

// The second SIGTERM ends a pod that waits for its streams. The other pod tidies up, as after a crash.
func TestSecondSignalEndsDrain(t *testing.T) {
	t.Parallel()
	g, s := podsWith(t, 2, map[string]string{"WCS_DRAIN_WINDOW": "5m"})
	c, idle, d := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")
	c.Publish("second", "second", rig.NewPublisher(t, rig.PeerOptions{}))
	d.Play("second-play", "second", rig.NewPlayer(t, rig.PeerOptions{}))
	g[0].Terminate()
	_ = idle.AwaitClosed() // it drains, and waits for the stream
	g[0].Terminate()
	_ = c.AwaitClosed()
	var exit *exec.ExitError
	if err := g[0].Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("gateway ended with %v, want exit code 1", err)
	}
	d.WantStatus("second-play", "FAILED", "Stopped by publisher stop")
	wantNoMoreStatus(t, d)
	s.WantClean(t)
}

// A publisher whose network has dropped can publish under its name again, although its old socket is still
// open; one that is alive is never displaced.
func TestPublisherRegainsItsNameAfterNetworkLoss(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 2)
	for i, newcomer := range []*rig.Gateway{g[0], g[1]} { // on the publisher's pod, and on another
		name := fmt.Sprintf("over-%d", i)
		c, d, e := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp"), rig.Connect(t, newcomer.URL, "defaultApp")
		c.Publish(name, name, rig.NewPublisher(t, rig.PeerOptions{}))
		d.Play(name+"-play", name, rig.NewPlayer(t, rig.PeerOptions{}))

		c.StopPongs() // the page is busy, but the browser answers
		offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
		e.Send("publishStream", rig.StreamRequest(name+"-x", name, offer, true, nil))
		e.WantStatus(name+"-x", "FAILED", "Stream name is already in use")
		r := rig.Connect(t, newcomer.URL, "roomApp") // another application
		r.Send("publishStream", rig.StreamRequest(name+"-r", name, offer, true, nil))
		r.WantStatus(name+"-r", "FAILED", "Stream name is already in use")

		c.Freeze()
		since := time.Now()
		e.Publish(name+"-new", name, rig.NewPublisher(t, rig.PeerOptions{}))
		t.Logf("published after %v", time.Since(since))
		d.WantStatus(name+"-play", "FAILED", "Stopped by publisher stop")
		_ = c.AwaitClosed()
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		d.Play(name+"-play2", name, screen)
		wantMedia(t, screen, translate.Audio, translate.Video)
		e.Close()
		d.WantStatus(name+"-play2", "FAILED", "Stopped by publisher stop")
		wantNoMoreStatus(t, d, e)
	}
	s.WantClean(t)
}

// A pod is paused for longer than it waits for a publisher's answer. The answer arrives meanwhile.
func TestPauseOfPodDisplacesNoPublisher(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 1)
	const awaited = 2 * time.Second // aliveWait in gateway/session/displace.go
	c, d := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[0].URL, "defaultApp")
	c.Publish("paused", "paused", rig.NewPublisher(t, rig.PeerOptions{}))
	var pauses atomic.Int32
	c.BeforePong(func() {
		if pauses.Add(1) == 1 {
			g[0].Pause()
			time.AfterFunc(awaited+time.Second, g[0].Resume)
		}
	})
	d.Send("publishStream", rig.StreamRequest("paused-new", "paused", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
	d.WantStatus("paused-new", "FAILED", "Stream name is already in use")
	if n := pauses.Load(); n != 1 {
		t.Errorf("the publisher was asked %d times", n)
	}
	c.Unpublish("paused", "paused")
	c.WantStatus("paused", "UNPUBLISHED", "Stopped by publisher stop")
	s.WantClean(t)
	wantNoMoreStatus(t, c, d)
}

// The publisher's pod is frozen: the name is in use until the pod's lease has ended, since its client could
// be well.
func TestNameOfFrozenPodIsInUseUntilItsLeaseEnds(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 2)
	c, d := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")
	c.Publish("silent", "silent", rig.NewPublisher(t, rig.PeerOptions{}))
	g[0].Pause()
	since := time.Now()
	for attempt := 0; !publishUnlessInUse(t, d, fmt.Sprintf("silent-new-%d", attempt), "silent"); attempt++ {
		if time.Since(since) > 40*time.Second {
			t.Fatal("the name of a dead pod's stream is in use")
		}
	}
	t.Logf("published after %v", time.Since(since))
	g[0].Resume()
	if st := c.AwaitStatus("silent"); st.Status != "FAILED" {
		t.Errorf("old publisher: %+v", st)
	}
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	d.Play("silent-play", "silent", screen)
	wantMedia(t, screen, translate.Audio, translate.Video)
	wantNoMoreStatus(t, c, d)
	d.Close()
	s.WantClean(t)
}

// publishUnlessInUse publishes, and reports whether the name was free.
func publishUnlessInUse(t *testing.T, c *rig.Client, id, name string) bool {
	t.Helper()
	peer := rig.NewPublisher(t, rig.PeerOptions{})
	c.Send("publishStream", rig.StreamRequest(id, name, peer.Offer(), true, nil))
	m := c.AwaitMatch("an answer for "+id, func(m rig.Message) bool { return strings.Contains(m.Raw, `"`+id+`"`) })
	if m.Name != "setRemoteSDP" {
		if !strings.Contains(m.Raw, "Stream name is already in use") {
			t.Fatalf("publish: %s", m.Raw)
		}
		return false
	}
	var sdp string
	m.Arg(t, 1, &sdp)
	peer.SetAnswer(sdp)
	c.WantStatus(id, "PUBLISHING", "")
	return true
}
