package statetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wcsgateway/state"
)

func keptSession() state.Session {
	return state.Session{
		ID: "/10.0.0.1:1234/8899aabbccddeeff", App: "defaultApp", TokenHash: state.TokenHash{1}, Resumable: true,
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
		Streams:   []state.SessionStream{{MediaID: "m1", Name: "cam", Published: true, Identity: "wcs:test:pub:m1"}},
	}
}

func testTakeSession(t *testing.T, p *pair) {
	s := keptSession()
	noDecision := func(was state.Session) (state.Session, error) { return was, nil }
	_, err := p.b.TakeSession(t.Context(), s.ID, noDecision)
	wantErr(t, err, state.ErrNotFound)
	p.a.PutSession(s)
	awaitSession(t, p.b, s, podA)

	refused := errors.New("wrong token")
	_, err = p.b.TakeSession(t.Context(), s.ID, func(state.Session) (state.Session, error) { return state.Session{}, refused })
	wantErr(t, err, refused)
	awaitSession(t, p.b, s, podA)
	up := &state.SessionUpstream{Name: "old", Token: []byte{1}}
	p.a.PutUpstream(s.ID, s.TokenHash, up)
	awaitUpstream(t, p, s, up)

	was, err := p.b.TakeSession(t.Context(), s.ID, func(was state.Session) (state.Session, error) {
		was.TokenHash, was.Generation = state.TokenHash{2}, 1
		return was, nil
	})
	must(t, err)
	s.Upstream = up
	if diff := cmp.Diff(s, was, ignoreOwner); diff != "" {
		t.Errorf("session before it was taken (-want +got):\n%s", diff)
	}
	taken := s
	taken.TokenHash, taken.Generation = state.TokenHash{2}, 1
	awaitSession(t, p.a, taken, podB)
	awaitUpstream(t, p, taken, nil)

	stale := s
	stale.TokenHash = state.TokenHash{3}
	p.a.PutSession(stale) // too late: the session is not a's any more
	p.a.PutSession(state.Session{ID: "other"})
	awaitSession(t, p.b, state.Session{ID: "other"}, podA) // a has processed its changes
	awaitSession(t, p.a, taken, podB)
	wantErr(t, p.a.EndSession(t.Context(), s), state.ErrLostOwnership)
	awaitSession(t, p.a, taken, podB)
	for range 2 {
		must(t, p.b.EndSession(t.Context(), taken))
	}
	wantNoSession(t, p.a, s.ID)
	p.a.PutSession(stale) // the previous owner does not restore it
	p.a.PutSession(state.Session{ID: "another"})
	awaitSession(t, p.b, state.Session{ID: "another"}, podA)
	wantNoSession(t, p.a, s.ID)
	must(t, p.a.EndSession(t.Context(), s))
}

func wantNoSession(t *testing.T, n Node, id string) {
	t.Helper()
	_, err := n.FindSession(t.Context(), id)
	wantErr(t, err, state.ErrNotFound)
	_, err = n.TakeSession(t.Context(), id, func(was state.Session) (state.Session, error) { return was, nil })
	wantErr(t, err, state.ErrNotFound)
}

// A pod that gets a session back is not affected by its own late commands for the earlier registration.
func testTakeSessionBack(t *testing.T, p *pair) {
	first := keptSession()
	p.a.PutSession(first)
	awaitSession(t, p.b, first, podA)
	second, third := first, first
	second.TokenHash, third.TokenHash = state.TokenHash{2}, state.TokenHash{3}
	second.Generation, third.Generation = 1, 2
	for _, next := range []struct {
		by Node
		to state.Session
	}{{p.b, second}, {p.a, third}} {
		_, err := next.by.TakeSession(t.Context(), first.ID, func(state.Session) (state.Session, error) { return next.to, nil })
		must(t, err)
	}
	p.b.DropSession(first.ID)
	p.a.PutSession(first)
	wantErr(t, p.a.EndSession(t.Context(), first), state.ErrLostOwnership)
	wantErr(t, p.b.EndSession(t.Context(), second), state.ErrLostOwnership)
	for _, n := range []Node{p.a, p.b} {
		n.PutSession(state.Session{ID: "after"}) // the pod has processed its changes
		awaitSession(t, n, state.Session{ID: "after"}, map[Node]string{p.a: podA, p.b: podB}[n])
		n.DropSession("after")
	}
	awaitSession(t, p.b, third, podA)
	p.a.DropSession(first.ID)
	awaitNoSession(t, p.b, first.ID)
}

// Of several simultaneous uses of a token one succeeds.
func testConcurrentTakers(t *testing.T, p *pair) {
	s := keptSession()
	p.a.PutSession(s)
	awaitSession(t, p.b, s, podA)
	used := errors.New("token was used")
	results := make([]error, 16)
	var work sync.WaitGroup
	for i := range results {
		work.Go(func() {
			node := []Node{p.a, p.b}[i%2]
			_, results[i] = node.TakeSession(t.Context(), s.ID, func(was state.Session) (state.Session, error) {
				if was.TokenHash != s.TokenHash {
					return was, used
				}
				was.TokenHash = state.TokenHash{0xff, byte(i)}
				return was, nil
			})
		})
	}
	work.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, used):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d took the session", won, len(results))
	}
}

func testAdoptStream(t *testing.T, p *pair) {
	s := streamOf("cam", "m1")
	wantErr(t, p.b.AdoptStream(t.Context(), s, state.Owner{Pod: podA, Epoch: 1}), state.ErrNotFound)
	must(t, p.a.ClaimStream(t.Context(), s))
	found, err := p.b.FindStream(t.Context(), "cam")
	must(t, err)
	_, err = p.a.AddPlayer(t.Context(), playerOf("cam", "m2"))
	must(t, err)
	other := s
	other.Identity += "x"
	wantErr(t, p.b.AdoptStream(t.Context(), other, found.Owner), state.ErrLostOwnership)
	wantErr(t, p.b.AdoptStream(t.Context(), s, found.Owner), state.ErrLostOwnership) // in the same generation
	wantStream(t, p.a, s, podA)

	claimed := s
	s.VideoMuted, s.Generation = true, 1
	for range 2 {
		must(t, p.b.AdoptStream(t.Context(), s, found.Owner))
		wantStream(t, p.a, s, podB)
	}
	_, err = p.a.PutStream(t.Context(), claimed)
	wantErr(t, err, state.ErrLostOwnership)
	wantErr(t, p.a.ClaimStream(t.Context(), claimed), state.ErrAdopted)
	wantStream(t, p.a, s, podB)
	_, err = p.a.ReleaseStream(t.Context(), s)
	wantErr(t, err, state.ErrLostOwnership)
	wantErr(t, p.a.ClaimStream(t.Context(), streamOf("two", "m1")), state.ErrMediaIDTaken)
	pods, err := p.b.PutStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods, podA)
	_, err = p.b.ReleaseStream(t.Context(), s)
	must(t, err)
	must(t, p.a.ClaimStream(t.Context(), streamOf("two", "m1"))) // name and media id are free
	wantErr(t, p.b.AdoptStream(t.Context(), s, found.Owner), state.ErrNotFound)
}

func testAdoptPlayer(t *testing.T, p *pair) {
	s, player := streamOf("cam", "m1"), playerOf("cam", "m2")
	must(t, p.a.ClaimStream(t.Context(), s))
	found, err := p.b.FindStream(t.Context(), "cam")
	must(t, err)
	_, err = p.b.AdoptPlayer(t.Context(), player, found.Owner)
	wantErr(t, err, state.ErrNotFound)
	_, err = p.a.AddPlayer(t.Context(), player)
	must(t, err)
	added := player
	player.Generation = 1
	for range 2 {
		got, err := p.b.AdoptPlayer(t.Context(), player, found.Owner)
		must(t, err)
		if diff := cmp.Diff(s, got, ignoreOwner); diff != "" {
			t.Fatalf("record (-want +got):\n%s", diff)
		}
	}
	pods, err := p.a.PutStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods, podB)
	_, err = p.a.AddPlayer(t.Context(), added) // the previous owner registers it again
	wantErr(t, err, state.ErrAdopted)
	must(t, p.a.RemovePlayer(t.Context(), player)) // no longer its own
	wantErr(t, p.a.ClaimStream(t.Context(), streamOf("two", "m2")), state.ErrMediaIDTaken)
	pods, err = p.a.ReleaseStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods, podB)
	got, err := p.b.AdoptPlayer(t.Context(), player, found.Owner)
	must(t, err)
	if diff := cmp.Diff(state.Stream{}, got); diff != "" {
		t.Fatalf("record of an ended stream (-want +got):\n%s", diff)
	}
	must(t, p.b.RemovePlayer(t.Context(), player))
	must(t, p.a.ClaimStream(t.Context(), streamOf("two", "m2")))
}

// A pod that adopts its own records, as when a client returns to the same pod, loses nothing.
func testAdoptOwn(t *testing.T, p *pair) {
	s, player := streamOf("cam", "m1"), playerOf("cam", "m2")
	must(t, p.a.ClaimStream(t.Context(), s))
	_, err := p.a.AddPlayer(t.Context(), player)
	must(t, err)
	found, err := p.a.FindStream(t.Context(), "cam")
	must(t, err)
	must(t, p.a.AdoptStream(t.Context(), s, found.Owner))
	_, err = p.a.AdoptPlayer(t.Context(), player, found.Owner)
	must(t, err)
	pods, err := p.a.PutStream(t.Context(), s)
	must(t, err)
	wantPods(t, pods, podA)
	pods, err = p.a.ReleaseStream(t.Context(), s)
	must(t, err)
	if !slices.Equal(pods, []string{podA}) {
		t.Errorf("pods %v", pods)
	}
}

// Redis came back empty, and all pods register what they consider theirs: the last pod that took the session
// has it, in any order.
func testLatestGenerationWins(t *testing.T, p *pair) {
	of, pods := map[Node]int{p.a: 0, p.b: 1}, map[Node]string{p.a: podA, p.b: podB}
	for i, order := range [][]Node{{p.a, p.b}, {p.b, p.a}} {
		name, published, played := "cam"+string('0'+rune(i)), "m1"+string('0'+rune(i)), "m2"+string('0'+rune(i))
		session, s, player := keptSession(), streamOf(name, published), playerOf(name, played)
		session.ID += name
		for _, n := range order {
			session.TokenHash, session.Generation, s.Generation, player.Generation = state.TokenHash{byte(of[n])}, of[n], of[n], of[n]
			n.PutSession(session)
			n.PutSession(state.Session{ID: "after"}) // the pod has processed its changes
			awaitSession(t, n, state.Session{ID: "after"}, pods[n])
			n.DropSession("after")
			awaitNoSession(t, n, "after")
			var want error
			if n == p.a && order[0] == p.b {
				want = state.ErrAdopted
			}
			wantErr(t, n.ClaimStream(t.Context(), s), want)
			_, err := n.AddPlayer(t.Context(), player)
			wantErr(t, err, want)
		}
		session.TokenHash, session.Generation, s.Generation = state.TokenHash{1}, 1, 1
		awaitSession(t, p.a, session, podB)
		earlier := s
		earlier.Generation = 0
		_, err := p.a.PutStream(t.Context(), earlier) // also after its own claim
		wantErr(t, err, state.ErrLostOwnership)
		wantErr(t, p.a.ClaimStream(t.Context(), earlier), state.ErrAdopted)
		wantStream(t, p.a, s, podB)
		_, err = p.a.AdoptPlayer(t.Context(), playerOf(name, played), state.Owner{}) // a checks whether it still has it
		if !errors.Is(err, state.ErrLostOwnership) && !errors.Is(err, state.ErrNotFound) {
			t.Errorf("a has the player: %v", err)
		}
		wantErr(t, p.a.ClaimStream(t.Context(), streamOf("two", played)), state.ErrMediaIDTaken)
		wantErr(t, p.a.ClaimStream(t.Context(), streamOf("two", published)), state.ErrMediaIDTaken)
		players, err := p.b.ReleaseStream(t.Context(), s)
		must(t, err)
		wantPods(t, players, podB)
		must(t, p.b.RemovePlayer(t.Context(), player))
		p.b.DropSession(session.ID)
		awaitNoSession(t, p.a, session.ID)
	}
}
