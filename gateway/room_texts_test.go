package gateway

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
)

const podC = "cccccccc"

// holdRooms lets a pod neither write nor read rooms until release is called.
func (w *world) holdRooms(t *testing.T, pod string) (release func()) {
	t.Helper()
	calls := w.pods[pod].rooms.calls
	for range roomParallel {
		calls <- struct{}{}
	}
	release = sync.OnceFunc(func() {
		for range roomParallel {
			<-calls
		}
	})
	t.Cleanup(release)
	return release
}

// inRoomBubble starts three pods of which sessions outlive their sockets.
func inRoomBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		for _, pod := range []string{podA, podB, podC} {
			w.start(t, pod, func(c *Config) {
				withRooms(c)
				c.KeepAliveGrace, c.Limits.Parked = time.Minute, 10
			})
		}
		test(t, w)
	})
}

// A text that was accepted reaches its receiver while that one's session goes over to another pod, whoever has sent it.
func TestRoomTextsFollowASession(t *testing.T) {
	for name, from := range map[string]string{"from the pod before": podA, "from the pod after": podB, "from a third pod": podC} {
		t.Run(name, func(t *testing.T) {
			inRoomBubble(t, func(t *testing.T, w *world) {
				alice := w.enter(t, from, "alice")
				bob, token := w.enterKept(t, podA, "bob", "")
				alice.Join("r")
				bob.Join("r", "alice")
				alice.WantEvents("JOINED bob")
				bob.Drop()
				synctest.Wait()
				release := w.holdRooms(t, podB)
				back, _ := w.enterKept(t, podB, "bob", token)
				if got := alice.Say("r", "bob", "hello"); got != "ACCEPTED" {
					t.Fatal(got)
				}
				pass(3 * time.Second)
				release()
				back.WantEvents("MESSAGE alice: hello")
				if got := alice.Say("r", "bob", "there"); got != "ACCEPTED" {
					t.Fatal(got)
				}
				back.WantEvents("MESSAGE alice: there")
				pass(time.Minute)
				back.WantNoEvent()
				alice.WantNoEvent()
			})
		})
	}
}

// A session that was resumed knows its rooms as they were: what it says goes to where others are by now.
func TestRoomTextsOfAResumedSession(t *testing.T) {
	inRoomBubble(t, func(t *testing.T, w *world) {
		alice, token := w.enterKept(t, podA, "alice", "")
		bob, carol := w.enter(t, podB, "bob"), w.enter(t, podC, "carol")
		alice.Join("r")
		bob.Join("r", "alice")
		carol.Join("r", "alice, bob")
		alice.WantEvents("JOINED bob", "JOINED carol")
		w.store.Kill(podA) // what it has registered of alice stays as it is
		alice.Drop()
		bob.Leave("r")
		carol.WantEvents("LEFT bob")
		again := w.enter(t, podC, "bob")
		again.Join("r", "alice, carol")
		carol.WantEvents("JOINED bob")
		synctest.Wait()
		release := w.holdRooms(t, podC)
		back, _ := w.enterKept(t, podC, "alice", token)
		sent := back.SendCommand(rig.SayOf("r", "bob", "hello"))
		synctest.Wait()
		release()
		if got := back.Outcome(sent); got != "ACCEPTED" {
			t.Fatal(got)
		}
		again.WantEvents("MESSAGE alice: hello")
	})
}

// A login that comes back with another session is told what was said before it was let in.
func TestRoomTextsForANewSession(t *testing.T) {
	inRoomBubble(t, func(t *testing.T, w *world) {
		alice, bob := w.enter(t, podA, "alice"), w.enter(t, podA, "bob")
		alice.Join("r")
		bob.Join("r", "alice")
		alice.WantEvents("JOINED bob")
		release := w.holdRooms(t, podA)
		bob.Leave("r")
		again := w.enter(t, podA, "bob")
		again.Send("sendData", map[string]any{"operationId": "join", "payload": map[string]any{
			"command": "join", "options": map[string]any{"name": "r"},
		}})
		synctest.Wait()
		if got := alice.Say("r", "bob", "hello"); got != "ACCEPTED" {
			t.Fatal(got)
		}
		release()
		again.WantEvents("STATE alice", "MESSAGE alice: hello")
	})
}
