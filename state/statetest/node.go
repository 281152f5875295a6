package statetest

import (
	"errors"
	"testing"

	"wcsgateway/state"
)

// node is the store of a pod in a case. The case fails unless a call has the wanted error, nil for none, and
// the wanted pods with players.
type node struct {
	Node
	t *testing.T
}

func (n node) claim(s state.Stream, want error) {
	n.t.Helper()
	wantErr(n.t, n.ClaimStream(n.t.Context(), s), want)
}

func (n node) put(s state.Stream, want error, pods ...string) {
	n.t.Helper()
	got, err := n.PutStream(n.t.Context(), s)
	wantErr(n.t, err, want)
	wantPods(n.t, got, pods...)
}

func (n node) release(s state.Stream, want error, pods ...string) {
	n.t.Helper()
	got, err := n.ReleaseStream(n.t.Context(), s)
	wantErr(n.t, err, want)
	wantPods(n.t, got, pods...)
}

func (n node) displace(s state.Stream, want error, pods ...string) {
	n.t.Helper()
	got, err := n.DisplaceStream(n.t.Context(), s)
	wantErr(n.t, err, want)
	wantPods(n.t, got, pods...)
}

func (n node) find(name string, want error) state.Stream {
	n.t.Helper()
	s, err := n.FindStream(n.t.Context(), name)
	wantErr(n.t, err, want)
	return s
}

// has requires the record of a stream of a pod.
func (n node) has(want state.Stream, pod string) {
	n.t.Helper()
	got := n.find(want.Name, nil)
	wantRecord(n.t, got, want)
	if got.Owner.Pod != pod || got.Owner.Epoch == 0 {
		n.t.Fatalf("owner is %v, want a life of %s", got.Owner, pod)
	}
}

func (n node) addPlayer(p state.Player, want error) state.Stream {
	n.t.Helper()
	s, err := n.AddPlayer(n.t.Context(), p)
	wantErr(n.t, err, want)
	return s
}

func (n node) removePlayer(p state.Player) {
	n.t.Helper()
	wantErr(n.t, n.RemovePlayer(n.t.Context(), p), nil)
}

func (n node) adoptStream(s state.Stream, from state.Owner, want error) {
	n.t.Helper()
	wantErr(n.t, n.AdoptStream(n.t.Context(), s, from), want)
}

func (n node) adoptPlayer(p state.Player, from state.Owner, want error) state.Stream {
	n.t.Helper()
	s, err := n.AdoptPlayer(n.t.Context(), p, from)
	wantErr(n.t, err, want)
	return s
}

func (n node) take(id string, want error, decide func(state.Session) (state.Session, error)) (was state.Session) {
	n.t.Helper()
	was, err := n.TakeSession(n.t.Context(), id, decide)
	wantErr(n.t, err, want)
	return was
}

func (n node) endSession(s state.Session, want error) {
	n.t.Helper()
	wantErr(n.t, n.EndSession(n.t.Context(), s), want)
}

func (n node) awaitSession(want state.Session, pod string) {
	n.t.Helper()
	await(n.t, "session "+want.ID+" of "+pod, func() bool {
		got, err := n.FindSession(n.t.Context(), want.ID)
		return err == nil && got.App == want.App && got.TokenHash == want.TokenHash && got.Owner.Pod == pod &&
			got.ClientVersion == want.ClientVersion && got.TellEnd == want.TellEnd &&
			(want.CreatedAt.IsZero() || got.CreatedAt.Equal(want.CreatedAt))
	})
}

func (n node) awaitNoSession(id string) {
	n.t.Helper()
	await(n.t, "session "+id+" is gone", func() bool {
		_, err := n.FindSession(n.t.Context(), id)
		return errors.Is(err, state.ErrNotFound)
	})
}

// processed waits until the changes of sessions so far are in the store.
func (n node) processed(pod string) {
	n.t.Helper()
	n.PutSession(state.Session{ID: "after"})
	n.awaitSession(state.Session{ID: "after"}, pod)
	n.DropSession("after")
	n.awaitNoSession("after")
}

func (n node) sync(u state.RoomUpdate) state.RoomState {
	n.t.Helper()
	s, err := n.SyncRoom(n.t.Context(), u)
	wantErr(n.t, err, nil)
	return s
}
