package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

const (
	groupSize    = 60
	groupStreams = 6
)

// clientGroup is many clients of several pods. The first ones publish a stream each, and as many others play
// them on other pods.
type clientGroup struct {
	lb      *rig.HAProxy
	pods    []*rig.Gateway
	clients []*groupClient
	gone    map[int]bool // pods
}

type groupClient struct {
	c           *rig.Client
	pod         int
	connections int    // connections and repeated plays so far: each has media ids of its own
	pub         string // name of the stream that it publishes
	play        string // … that it plays
}

func newClientGroup(t *testing.T, lb *rig.HAProxy, pods []*rig.Gateway) *clientGroup {
	t.Helper()
	h := &clientGroup{lb: lb, pods: pods, gone: make(map[int]bool)}
	for range groupSize {
		v := &groupClient{}
		h.connect(t, v)
		h.clients = append(h.clients, v)
	}
	return h
}

// connect connects a client and records its pod.
func (h *clientGroup) connect(t *testing.T, v *groupClient) {
	t.Helper()
	v.c, v.pod = h.lb.Dial(t)
	v.c.Login("defaultApp")
	v.connections++
}

// on returns the clients of a pod.
func (h *clientGroup) on(pod int) (all []*groupClient) {
	for _, v := range h.clients {
		if v.pod == pod {
			all = append(all, v)
		}
	}
	return all
}

func (v *groupClient) id(what string) string { return fmt.Sprintf("%s-%d", what, v.connections) }

func (v *groupClient) publish(t *testing.T) {
	t.Helper()
	v.c.Publish(v.id(v.pub+"-pub"), v.pub, rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
}

func (v *groupClient) watch(t *testing.T) {
	t.Helper()
	v.c.Play(v.id(v.play+"-play"), v.play, rig.NewPlayer(t, rig.PeerOptions{Audio: true}))
}

func (h *clientGroup) openStreams(t *testing.T) {
	t.Helper()
	publishers := h.clients[:groupStreams]
	for i, p := range publishers {
		p.pub = fmt.Sprintf("group-%d", i)
		p.publish(t)
	}
	for _, p := range publishers {
		for _, v := range h.on((p.pod + 1) % len(h.pods)) {
			if v.pub == "" && v.play == "" {
				v.play = p.pub
				v.watch(t)
				break
			}
		}
	}
}

// reconnect connects the clients of a pod that is gone again, and lets them publish and play as before. Who
// was left without a publisher, or was a player there, plays again.
func (h *clientGroup) reconnect(t *testing.T, pod int, gone []*groupClient) {
	t.Helper()
	h.gone[pod] = true
	restarted := make(map[string]bool)
	for _, v := range gone {
		h.connect(t, v)
		if v.pub != "" {
			since := time.Now()
			v.publish(t)
			t.Logf("%s of pod %d published again, %v after its client was back", v.pub, pod, ms(time.Since(since)))
			restarted[v.pub] = true
		}
	}
	for _, v := range h.clients {
		isBack := slices.Contains(gone, v)
		switch {
		case v.play == "":
		case isBack:
			v.watch(t)
		case restarted[v.play]:
			v.c.WantStatus(v.id(v.play+"-play"), "FAILED", infoStopped)
			v.connections++
			v.watch(t)
		}
	}
}

func (h *clientGroup) closeStreams(t *testing.T) {
	t.Helper()
	for _, p := range h.clients {
		if p.pub == "" {
			continue
		}
		p.c.Unpublish(p.id(p.pub+"-pub"), p.pub)
		p.c.WantStatus(p.id(p.pub+"-pub"), "UNPUBLISHED", infoStopped)
		for _, v := range h.clients {
			if v.play == p.pub {
				v.c.WantStatus(v.id(v.play+"-play"), "FAILED", infoStopped)
			}
		}
	}
}
