package gateway

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/roomapi"
	"wcsgateway/state"
)

const podC = "cccccccc"

// heldRooms is a room store whose calls tests can hold.
type heldRooms struct {
	roomapi.Store
	mu     sync.Mutex
	before chan struct{} // calls wait until it is closed; nil: they do not
	after  chan struct{} // the reply of the next call waits until it is closed; nil: it does not
}

func (w *world) holdableRooms(pod string, store roomapi.Store) roomapi.Store {
	h := &heldRooms{Store: store}
	if w.heldRooms == nil {
		w.heldRooms = make(map[string]*heldRooms)
	}
	w.heldRooms[pod] = h
	return h
}

func (h *heldRooms) SyncRoom(ctx context.Context, u state.RoomUpdate) (state.RoomState, error) {
	h.mu.Lock()
	before, after := h.before, h.after
	h.after = nil
	h.mu.Unlock()
	if before != nil {
		<-before
	}
	got, err := h.Store.SyncRoom(ctx, u)
	if after != nil {
		<-after
	}
	return got, err
}

// holdRooms holds the calls of a pod until release is called.
func (w *world) holdRooms(t *testing.T, pod string) (release func()) {
	t.Helper()
	return w.heldRooms[pod].hold(t, func(h *heldRooms, gate chan struct{}) { h.before = gate })
}

// holdReply holds the reply of a pod's next call until release is called.
func (w *world) holdReply(t *testing.T, pod string) (release func()) {
	t.Helper()
	return w.heldRooms[pod].hold(t, func(h *heldRooms, gate chan struct{}) { h.after = gate })
}

func (h *heldRooms) hold(t *testing.T, set func(*heldRooms, chan struct{})) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	h.mu.Lock()
	set(h, gate)
	h.mu.Unlock()
	release = sync.OnceFunc(func() {
		h.mu.Lock()
		h.before = nil
		h.mu.Unlock()
		close(gate)
	})
	t.Cleanup(release)
	return release
}

// inRoomBubble starts three pods with resumable sessions, where a dead socket goes undetected for 50 s.
func inRoomBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	roomBubble(t, func(*Config) {}, test)
}

// roomBubble is inRoomBubble with other settings.
func roomBubble(t *testing.T, change func(*Config), test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		for _, pod := range []string{podA, podB, podC} {
			w.start(t, pod, func(c *Config) {
				keptRooms(c)
				c.Limits.Detached = 10
				change(c)
			})
		}
		test(t, w)
	})
}

// An accepted message reaches its receiver while the receiver's session is being resumed on another pod.
func TestRoomTextsReachSessionDuringResume(t *testing.T) {
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
				synctest.Wait() // his memberships are resumed, too
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

// The messages of a resumed session go to the present pods of their receivers.
func TestRoomTextsOfResumedSessionReachPresentPods(t *testing.T) {
	inRoomBubble(t, func(t *testing.T, w *world) {
		alice, token := w.enterKept(t, podA, "alice", "")
		bob, carol := w.enter(t, podB, "bob"), w.enter(t, podC, "carol")
		alice.Join("r")
		bob.Join("r", "alice")
		carol.Join("r", "alice, bob")
		alice.WantEvents("JOINED bob", "JOINED carol")
		w.kill(podA) // what it has registered of alice stays as it is
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

// A session that joins with a login receives the messages to the login that were sent before it was admitted.
func TestNewSessionReceivesEarlierRoomTexts(t *testing.T) {
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

// A member sends a text after it has joined. The receiver's pod gets the text while the reply to an older
// read of the room is on its way.
func TestRoomTextWaitsForRecordOfItsSender(t *testing.T) {
	inRoomBubble(t, func(t *testing.T, w *world) {
		bob, carol := w.enter(t, podA, "bob"), w.enter(t, podB, "carol")
		bob.Join("r")
		synctest.Wait()
		release := w.holdReply(t, podA)
		w.pods[podA].env.Rooms.OnChanged(asJSON(t, state.Room{App: "roomApp", Name: "r"}))
		synctest.Wait()
		carol.Join("r", "bob")
		if got := carol.Say("r", "bob", "hello"); got != "ACCEPTED" {
			t.Error(got)
		}
		synctest.Wait()
		bob.WantNoEvent()
		release()
		bob.WantEvents("JOINED carol", "MESSAGE carol: hello")
	})
}
