package gateway

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/state"
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
				keptRooms(c)
				c.Limits.Parked = 10
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
				synctest.Wait() // his rooms are resumed, too: a text to the pod before would wait for what is held
				if got := alice.Say("r", "bob", "hello"); got != "ACCEPTED" {
					t.Fatal(got)
				}
				pass(3 * time.Second)
				release()
				back.WantEvents("JOINED alice", "MESSAGE alice: hello")
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

// heldRooms answers late, with the room as it was when it was asked.
type heldRooms struct {
	Rooms
	mu    sync.Mutex
	hold  chan struct{} // nil: at once
	asked chan struct{}
}

func (h *heldRooms) SyncRoom(ctx context.Context, u state.RoomUpdate) (state.RoomState, error) {
	got, err := h.Rooms.SyncRoom(ctx, u)
	h.mu.Lock()
	hold := h.hold
	h.hold = nil
	h.mu.Unlock()
	if hold != nil {
		h.asked <- struct{}{}
		<-hold
	}
	return got, err
}

// A text comes from somebody who has joined after the room was read, and before what was read has come.
func TestRoomTextOvertakesTheRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRooms)
	held := &heldRooms{Rooms: w.pods[podA].deps.Rooms, asked: make(chan struct{})}
	w.pods[podA].deps.Rooms = held
	bob, carol := w.enter(t, podA, "bob"), w.enter(t, podB, "carol")
	bob.Join("r")
	answer := make(chan struct{})
	held.mu.Lock()
	held.hold = answer
	held.mu.Unlock()
	w.pods[podA].rooms.changed(raw(state.Room{App: "roomApp", Name: "r"}))
	<-held.asked
	carol.Join("r", "bob")
	if got := carol.Say("r", "bob", "hello"); got != "ACCEPTED" {
		t.Error(got)
	}
	waits := func() bool {
		r := w.pods[podA].rooms
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.open[state.Room{App: "roomApp", Name: "r"}].waiting) == 1
	}
	rig.Eventually(t, 20*time.Second, "the text is there", waits)
	close(answer)
	bob.WantEvents("JOINED carol", "MESSAGE carol: hello")
}
