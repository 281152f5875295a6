package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

const (
	hallSize    = 60
	hallStreams = 6
)

// hall is many clients of several pods. The first visitors publish a stream each, and as many others play
// them on other pods.
type hall struct {
	lb       *rig.HAProxy
	pods     []*rig.Gateway
	visitors []*visitor
	gone     map[int]bool // pods
}

type visitor struct {
	c     *rig.Client
	pod   int
	lives int    // connections and repeated plays so far: each has media ids of its own
	pub   string // name of the stream that it publishes
	play  string // … that it plays
}

func newHall(t *testing.T, lb *rig.HAProxy, pods []*rig.Gateway) *hall {
	t.Helper()
	h := &hall{lb: lb, pods: pods, gone: make(map[int]bool)}
	for range hallSize {
		v := &visitor{}
		h.enter(t, v)
		h.visitors = append(h.visitors, v)
	}
	return h
}

// enter connects one visitor at a time and records its pod.
func (h *hall) enter(t *testing.T, v *visitor) {
	t.Helper()
	before := h.sessions(t)
	v.c, v.pod = rig.Connect(t, h.lb.URL, "defaultApp"), -1
	v.lives++
	for i, n := range h.sessions(t) {
		if n > before[i] {
			v.pod = i
		}
	}
	if v.pod < 0 {
		t.Fatal("the session is on none of the pods")
	}
}

// sessions counts the sessions of every pod that is there.
func (h *hall) sessions(t *testing.T) []float64 {
	t.Helper()
	n := make([]float64, len(h.pods))
	for i, g := range h.pods {
		if !h.gone[i] {
			n[i] = metric(t, g, "wcs_sessions")
		}
	}
	return n
}

// on returns the visitors of a pod.
func (h *hall) on(pod int) (all []*visitor) {
	for _, v := range h.visitors {
		if v.pod == pod {
			all = append(all, v)
		}
	}
	return all
}

func (v *visitor) id(what string) string { return fmt.Sprintf("%s-%d", what, v.lives) }

func (v *visitor) publish(t *testing.T) {
	t.Helper()
	v.c.Publish(v.id(v.pub+"-pub"), v.pub, rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
}

func (v *visitor) watch(t *testing.T) {
	t.Helper()
	v.c.Play(v.id(v.play+"-play"), v.play, rig.NewPlayer(t, rig.PeerOptions{Audio: true}))
}

func (h *hall) openStreams(t *testing.T) {
	t.Helper()
	publishers := h.visitors[:hallStreams]
	for i, p := range publishers {
		p.pub = fmt.Sprintf("hall-%d", i)
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

// comeBack connects the visitors of a pod that is gone again, and lets them publish and play as before. Who
// was left without a publisher, or was a player there, plays again.
func (h *hall) comeBack(t *testing.T, pod int, gone []*visitor) {
	t.Helper()
	h.gone[pod] = true
	restarted := make(map[string]bool)
	for _, v := range gone {
		h.enter(t, v)
		if v.pub != "" {
			since := time.Now()
			v.publish(t)
			t.Logf("%s of pod %d published again, %v after its client was back", v.pub, pod, ms(time.Since(since)))
			restarted[v.pub] = true
		}
	}
	for _, v := range h.visitors {
		isBack := slices.Contains(gone, v)
		switch {
		case v.play == "":
		case isBack:
			v.watch(t)
		case restarted[v.play]:
			v.c.WantStatus(v.id(v.play+"-play"), "FAILED", infoStopped)
			v.lives++
			v.watch(t)
		}
	}
}

func (h *hall) closeStreams(t *testing.T) {
	t.Helper()
	for _, p := range h.visitors {
		if p.pub == "" {
			continue
		}
		p.c.Unpublish(p.id(p.pub+"-pub"), p.pub)
		p.c.WantStatus(p.id(p.pub+"-pub"), "UNPUBLISHED", infoStopped)
		for _, v := range h.visitors {
			if v.play == p.pub {
				v.c.WantStatus(v.id(v.play+"-play"), "FAILED", infoStopped)
			}
		}
	}
}
