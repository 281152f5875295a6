package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// upgradeSizes returns how many sessions see an upgrade, and how many of them publish; as many play.
func upgradeSizes() (sessions, streams int) {
	if *more {
		return 300, 15
	}
	return 100, 6
}

// upgrade is a clientGroup whose pods are replaced one by one.
type upgrade struct {
	*clientGroup
	streams int // published, by the first clients, and played, by the next ones
	start   func(pod int) *rig.Gateway
	screens map[*groupClient]*rig.Peer
}

// A rolling upgrade: three pods behind haproxy are drained and replaced one after the other. No stream is cut
// before its client ends it within the window, no connection fails, and nothing is left over.
func TestRollingUpgradeCutsNoStream(t *testing.T) {
	redis := rig.StartRedis(t)
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t), rig.NewPorts(t)}
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[2].Webhook()})
	sessions, streams := upgradeSizes()
	u := upgrade{clientGroup: &clientGroup{gone: make(map[int]bool)}, streams: streams, screens: make(map[*groupClient]*rig.Peer)}
	u.start = func(pod int) *rig.Gateway {
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports[pod], LiveKit: lk, Redis: redis.Addr, Env: map[string]string{
			"WCS_DRAIN_NOTICE": "3s", "WCS_DRAIN_WINDOW": "10m", "WCS_DRAIN_PACE": "2s", "WCS_LOG_LEVEL": "info",
		}})
		g.AwaitReady(t)
		return g
	}
	for pod := range ports {
		u.pods = append(u.pods, u.start(pod))
	}
	u.lb = rig.StartHAProxy(t, u.pods...)
	for range sessions {
		v := &groupClient{}
		u.connect(t, v)
		u.clients = append(u.clients, v)
	}
	for i := range streams {
		name := fmt.Sprintf("upgrade-%d", i)
		u.clients[i].pub, u.clients[streams+i].play = name, name
		u.begin(t, u.clients[i])
		u.begin(t, u.clients[streams+i])
	}
	dials := keepDialling(t, u.lb.URL)
	for pod := range u.pods {
		u.replace(t, pod)
		dials.wantNoFailure(t, fmt.Sprintf("while pod %d was replaced", pod))
	}
	dials.stop()
	for _, v := range slices.Backward(u.clients[:2*streams]) {
		u.end(t, v)
	}
	rig.WantClean(t, lk, redis)
	for _, v := range u.clients {
		wantNoMoreStatus(t, v.c)
	}
}

// begin starts a client's streams.
func (u *upgrade) begin(t *testing.T, v *groupClient) {
	t.Helper()
	if v.pub != "" {
		v.publish(t)
		return
	}
	u.screens[v] = rig.NewPlayer(t, rig.PeerOptions{Audio: true})
	v.c.Play(v.id(v.play+"-play"), v.play, u.screens[v])
}

// end stops a client's streams, which have not ended before.
func (u *upgrade) end(t *testing.T, v *groupClient) {
	t.Helper()
	if v.pub != "" {
		v.c.Unpublish(v.id(v.pub+"-pub"), v.pub)
		v.c.WantStatus(v.id(v.pub+"-pub"), "UNPUBLISHED", infoStopped)
		return
	}
	v.c.Stop(v.id(v.play+"-play"), v.play)
	v.c.WantStatus(v.id(v.play+"-play"), "STOPPED", "Stopped by user")
	u.screens[v].Close()
}

// replace drains a pod and starts another in its place.
func (u *upgrade) replace(t *testing.T, pod int) {
	t.Helper()
	var idle, busy []*groupClient
	for _, v := range u.on(pod) {
		if v.pub == "" && v.play == "" {
			idle = append(idle, v)
		} else {
			busy = append(busy, v)
		}
	}
	t.Logf("pod %d has %d sessions, %d of them with streams", pod, len(idle)+len(busy), len(busy))
	if len(idle) == 0 || len(busy) == 0 {
		t.Fatal("that is no test of a drain")
	}
	u.pods[pod].Terminate()
	u.gone[pod] = true
	u.wantClosed(t, idle)
	u.wantStreams(t, busy)

	// Their clients end them now: players first, whose publishers would end them otherwise, here and on other
	// pods.
	names := make(map[string]bool)
	for _, v := range busy {
		names[v.pub+v.play] = true
	}
	var stopped []*groupClient
	for _, v := range slices.Backward(u.clients[:2*u.streams]) {
		if names[v.pub+v.play] {
			u.end(t, v)
			stopped = append(stopped, v)
		}
	}
	u.wantClosed(t, busy)
	if err := u.pods[pod].Wait(); err != nil {
		t.Errorf("pod %d ended with %v", pod, err)
	}
	u.pods[pod] = u.start(pod)
	delete(u.gone, pod)
	for _, v := range slices.Backward(stopped) { // publishers first
		if !slices.Contains(busy, v) {
			v.connections++ // the session is the same, the stream another
		}
		u.begin(t, v)
	}
}

// wantClosed are closed by their pod's drain, and come back on another one.
func (u *upgrade) wantClosed(t *testing.T, clients []*groupClient) {
	t.Helper()
	for _, v := range clients {
		if err := v.c.AwaitClosed(); err == nil || !strings.Contains(err.Error(), "1001") {
			t.Errorf("a client of the drained pod saw %v", err)
		}
	}
	for _, v := range clients {
		u.connect(t, v)
	}
}

// wantStreams: the sockets of a draining pod's clients are open, and their players receive media.
func (u *upgrade) wantStreams(t *testing.T, clients []*groupClient) {
	t.Helper()
	for _, v := range clients {
		awaitRoundTrip(t, v.c)
		screen := u.screens[v]
		if screen == nil {
			continue
		}
		before := screen.Packets(translate.Audio)
		rig.Eventually(t, 40*time.Second, "media of "+v.play, func() bool { return screen.Packets(translate.Audio) > before+5 })
	}
}
