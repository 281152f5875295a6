package gateway

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/session"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// A client publishes the name of a stream whose pod does not reply. It gets the name only if there is
// evidence that the publisher is gone.
func TestDisplacementNeedsEvidence(t *testing.T) {
	for name, tt := range map[string]struct {
		disturb func(t *testing.T, w *world)
		want    string // of the newcomer
		info    string
	}{
		"the pod lives": {func(*testing.T, *world) {}, "FAILED", "Stream name is already in use"},
		"the second request arrives": {func(_ *testing.T, w *world) {
			time.AfterFunc(aliveRequest+time.Second, func() { w.dropEventsTo("") })
		}, "FAILED", "Stream name is already in use"},
		"the pod has no lease": {func(_ *testing.T, w *world) { w.kill(podA) }, "PUBLISHING", ""},
		"the participant is gone": {func(t *testing.T, w *world) {
			room, id := w.sfu.only(t, translate.RolePublish)
			w.sfu.set(func() { delete(w.sfu.rooms[room], id) })
		}, "PUBLISHING", ""},
		"the participant sends nothing": {func(t *testing.T, w *world) {
			room, id := w.sfu.only(t, translate.RolePublish)
			w.sfu.set(func() { w.sfu.rooms[room][id].Tracks = nil })
		}, "PUBLISHING", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, apps.RatesOff, func(c *Config) { c.Media.StoreTimeout = 5 * time.Second }, func(t *testing.T, w *world) {
				pub := w.connect(t, podA)
				w.publishUp(t, pub, "pub", "s")
				w.dropEventsTo(podA)
				tt.disturb(t, w)
				newcomer := w.connect(t, podB)
				publishAV(t, newcomer, "new", "s")
				if tt.want == "PUBLISHING" {
					newcomer.AwaitSDP("new")
					w.allUp()
				}
				newcomer.WantStatus("new", tt.want, tt.info)
				if tt.want == "FAILED" {
					wantNoStatus(t, pub)
					w.wantParticipants(t, 1)
				}
				w.dropEventsTo("")
			})
		})
	}
}

// A publisher in a burst waits for its turn behind other clients of its address, for longer than its answer
// is awaited. A client of another address publishes its name.
func TestPublisherThatWaitsForItsTurnIsNotDisplaced(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const others = 250 // a processor reads 100 starts a second of bursts
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, func(c *Config) {
			c.Limits.MessagesPerSecond, c.Limits.MessageBurst = 10, 1000
		})
		burst := func(c *rig.Client) {
			for i := range 5 {
				c.Send("playStream", rig.StreamRequest(fmt.Sprint(i), "none", "v=0", false, nil))
			}
		}
		w.net.setClient("192.0.2.1:1")
		pub := w.connectWithoutPongs(t, podA)
		w.publishUp(t, pub, "pub", "s")
		for range others {
			go burst(w.connectWithoutPongs(t, podA))
		}
		synctest.Wait() // all wait for their turns
		go burst(pub)
		for i := range 3 {
			pub.AwaitStatus(fmt.Sprint(i))
		}
		w.net.setClient("192.0.2.2:1")
		newcomer := w.connectWithoutPongs(t, podA)
		asked := time.Now()
		publishAV(t, newcomer, "new", "s")
		newcomer.WantStatus("new", "FAILED", "Stream name is already in use")
		t.Logf("refused after %v", time.Since(asked))
		w.wantParticipants(t, 1)
	})
}

// A client publishes the name of a client that is gone for the moment, with an offer that cannot be used.
func TestFaultyOfferDisplacesNoPublisher(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Minute), func(t *testing.T, w *world) {
		kept, token := w.keptAlive(t, podA, "defaultApp", "")
		w.publishUp(t, kept, "kept-pub", "s")
		kept.Drop()
		pass(time.Second)
		newcomer := w.connect(t, podB)
		newcomer.Send("publishStream", rig.StreamRequest("new", "s", "v=0", true, nil))
		if s := newcomer.AwaitStatus("new"); s.Status != "FAILED" || !strings.HasPrefix(s.Info, "Bad SDP") {
			t.Errorf("status %+v", s)
		}
		back, _ := w.keptAlive(t, podB, "defaultApp", token)
		back.WantStatus("kept-pub", "PUBLISHING", "")
	})
}

// An offer is checked before anything is claimed.
func TestFaultyOfferClaimsNothing(t *testing.T) {
	inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
		a := w.pods[podA]
		store := &countedClaims{Store: a.env.Store}
		a.env.Store = store
		c, good := w.connect(t, podA), offerOf(t, "publish")
		noSSRC := regexp.MustCompile("a=ssrc.*\r\n").ReplaceAllString(good, "")
		for i, offer := range []string{
			"v=0", noSSRC, strings.ReplaceAll(good, "a=sendonly", "a=recvonly"), good + strings.Repeat("a=x\r\n", 1000),
			good + "a=x:" + strings.Repeat("y", 64<<10) + "\r\n", strings.ReplaceAll(good, "a=fingerprint", "a=x"),
		} {
			id := fmt.Sprint("faulty", i)
			c.Send("publishStream", rig.StreamRequest(id, id, offer, true, nil))
			if s := c.AwaitStatus(id); s.Status != "FAILED" {
				t.Errorf("offer %d: %+v", i, s)
			}
		}
		if n := store.claims.Load(); n != 0 {
			t.Errorf("%d claims for faulty offers", n)
		}
		publishAV(t, c, "good", "good")
		c.AwaitSDP("good")
		if n := store.claims.Load(); n != 1 {
			t.Errorf("%d claims for a good offer", n)
		}
	})
}

// countedClaims counts the claims of streams.
type countedClaims struct {
	session.Store
	claims atomic.Int32
}

func (c *countedClaims) ClaimStream(ctx context.Context, s state.Stream) error {
	c.claims.Add(1)
	return c.Store.ClaimStream(ctx, s)
}

// aliveRequest is how long a pod waits for the reply of another.
const aliveRequest = 2500 * time.Millisecond

// A client publishes the name of a stream whose pod does not reply. Before that is decided, the stream's
// session is resumed on another pod, which takes its time to adopt the stream.
func TestStreamOfSessionThatIsBeingResumedIsNotEvicted(t *testing.T) {
	inBubble(t, apps.RatesOff, keepFor(time.Minute), func(t *testing.T, w *world) {
		kept, token := w.keptAlive(t, podA, "defaultApp", "")
		w.publishUp(t, kept, "kept-pub", "s")
		w.dropEventsTo(podA)
		w.kill(podA)
		kept.Drop()
		newcomer := w.connect(t, podB)
		publishAV(t, newcomer, "new", "s")
		time.Sleep(2*aliveRequest - 600*time.Millisecond)
		back, _ := w.keptAlive(t, podB, "defaultApp", token) // requests the stream from pod A for 1 s before it adopts it
		newcomer.WantStatus("new", "FAILED", "Stream name is already in use")
		back.WantStatus("kept-pub", "PUBLISHING", "")
		w.dropEventsTo("")
	})
}

// The reply to an eviction is lost: it is done nevertheless, with its consequences.
func TestEvictionWhoseReplyWasLostRemovesParticipant(t *testing.T) {
	inBubble(t, apps.RatesOff, func(c *Config) { c.Media.StoreTimeout = 5 * time.Second }, func(t *testing.T, w *world) {
		pub := w.connect(t, podA)
		w.publishUp(t, pub, "pub", "s")
		b := w.pods[podB]
		store := &lostDisplacement{Store: b.env.Store}
		b.env.Store = store
		w.kill(podA)
		w.publishUp(t, w.connect(t, podB), "new", "s")
		pass(time.Second)
		w.wantParticipants(t, 1)
		if !store.lost {
			t.Error("nothing was displaced")
		}
	})
}

// lostDisplacement loses the reply of the first displacement.
type lostDisplacement struct {
	session.Store
	lost bool
}

func (l *lostDisplacement) DisplaceStream(ctx context.Context, s state.Stream) ([]string, error) {
	pods, err := l.Store.DisplaceStream(ctx, s)
	if !l.lost {
		l.lost = true
		return nil, fmt.Errorf("displace_stream: %w", state.ErrUnavailable)
	}
	return pods, err
}
