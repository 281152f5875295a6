package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/quota"
	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// A client that starts streams without end is rejected before Redis and LiveKit have work; starts that fail
// count twice.
func TestStartsBeyondRateAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, func(c *Config) {
			c.MaxStreams = 1000
			c.Limits.Quota.Starts = quota.Rate{PerSecond: 5, Burst: 64}
		})
		c, other := w.connect(t, podA), w.connect(t, podA)
		flood := func(name string, n int) (started int) {
			for i := range n {
				playAV(t, c, fmt.Sprint(name, i), "none")
			}
			for i := range n {
				s := c.AwaitStatus(fmt.Sprint(name, i))
				switch {
				case s.Status != "FAILED":
					t.Errorf("%s", s.Status)
				case s.Info != "Too many requests at a time":
					started++
				}
			}
			return started
		}
		if n := flood("a", 500); n > 64 || n < 32 {
			t.Errorf("%d starts at once, want 32 to 64: each failed", n)
		}
		playAV(t, other, "x", "none")
		if s := other.AwaitStatus("x"); s.Info == "Too many requests at a time" {
			t.Error("another client is rejected")
		}
		c.Send("playStream", map[string]any{"mediaSessionId": "unread", "name": "none", "mediaProvider": "WebRTC", "sdp": []int{1}})
		if s := c.AwaitStatus("unread"); s.Info != "Too many requests at a time" || s.Name != "none" {
			t.Errorf("%+v: an offer that is too much is decoded", s)
		}
		time.Sleep(20 * time.Second)
		if n := flood("b", 1); n != 1 {
			t.Error("rejected although the client was quiet")
		}
	})
}

// In a burst, starts are read at a tenth of the rate of other messages: they take as much of the pod.
func TestStartsOfBurstAreReadAtTheirCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		const n = 200
		w.start(t, podA, func(c *Config) {
			c.MaxStreams, c.Limits.MessagesPerSecond, c.Limits.MessageBurst = 2*n, 10, 10*n
		})
		took := func(ask func(c *rig.Client, i int), await func(c *rig.Client, i int)) time.Duration {
			c := w.connectWithoutPongs(t, podA)
			defer c.Close()
			begun := time.Now()
			go func() {
				for i := range n {
					ask(c, i)
				}
			}()
			for i := range n {
				await(c, i)
			}
			return time.Since(begun)
		}
		questions := took(func(c *rig.Client, _ int) {
			c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "none"})
		}, func(c *rig.Client, _ int) { c.Await("availableStream") })
		starts := took(func(c *rig.Client, i int) { playAV(t, c, fmt.Sprint(i), "none") },
			func(c *rig.Client, i int) { c.WantStatus(fmt.Sprint(i), "FAILED", wcs.InfoSessionDoesNotExist) })
		if ratio := starts.Seconds() / questions.Seconds(); ratio < 8 {
			t.Errorf("%d questions were read in %v, and starts in %v", n, questions, starts)
		}
	})
}

func TestJoinsBeyondRateAreRejectedAndLeavesAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, func(c *Config) {
			withRooms(c)
			c.Limits.Quota.Joins = quota.Rate{PerSecond: 2, Burst: 20}
		})
		u := w.enter(t, podA, "u")
		for range 20 {
			u.Join("r")
			u.Leave("r")
		}
		if got := u.TryJoin("r"); got != "FAILED Too many requests at a time" {
			t.Errorf("join: %s", got)
		}
		time.Sleep(time.Second)
		u.Join("r")
		u.Leave("r")
	})
}

// A client that opens further sockets cannot ask more than its address may, and another address is answered.
func TestQuestionsBeyondRateOfAddressAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, func(c *Config) { c.Limits.Quota.AddressFactor = 2 })
		type limit struct {
			session, perSecond int
			ask                func(c *rig.Client) (answered bool)
		}
		for name, l := range map[string]limit{
			"availableStream": {200, 50, func(c *rig.Client) bool {
				c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "none"})
				return !strings.Contains(c.Await("availableStream").Raw, "Too many requests at a time")
			}},
			"snapshot": {quota.SnapshotBurst, 1, func(c *rig.Client) bool {
				askSnapshot(c, "q", "none")
				return awaitStreamEvent(t, c, "q").Payload.Info != "Too many requests at a time"
			}},
		} {
			answered := func(from string, n int) (answers int) {
				w.net.setClient(from)
				c := w.connect(t, podA)
				for range n {
					if l.ask(c) {
						answers++
					}
				}
				return answers
			}
			for i, want := range []int{l.session, l.session, 0} {
				if n := answered(fmt.Sprint("192.0.2.1:", i+1), l.session+1); n != want {
					t.Errorf("%s, client %d: %d answers, want %d", name, i+1, n, want)
				}
			}
			if n := answered("192.0.2.2:1", 1); n != 1 {
				t.Errorf("%s: another address is rejected", name)
			}
			time.Sleep(time.Second)
			if n := answered("192.0.2.1:9", l.session); n != 2*l.perSecond {
				t.Errorf("%s: %d answers a second later, want %d", name, n, 2*l.perSecond)
			}
		}
	})
}

// A publisher's mutes are a state: one that changes them without end causes two messages a second.
func TestMutesAreSentAtTheSessionsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, nil)
		w.start(t, podB, nil)
		pub, play := w.up(t, podA, podB)
		synctest.Wait()
		for len(w.podEvents) > 0 {
			<-w.podEvents
		}
		for range 300 {
			sendEvent(pub, "pub", "audioMuted")
			sendEvent(pub, "pub", "audioUnmuted")
		}
		sendEvent(pub, "pub", "videoMuted")
		time.Sleep(time.Second)
		synctest.Wait()
		n := 0
		for len(w.podEvents) > 0 {
			if e := <-w.podEvents; e.Kind == state.EventChanged {
				n++
			}
		}
		if n > 25 {
			t.Errorf("%d messages between pods, want 20 and 2", n)
		}
		play.AwaitMatch("the last state", func(m rig.Message) bool { return strings.Contains(m.Raw, "videoMuted") })
	})
}
