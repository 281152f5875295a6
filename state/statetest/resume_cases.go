package statetest

import (
	"errors"
	"sync"
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

func testTakeSession(p *pair) {
	s := keptSession()
	p.b.take(s.ID, state.ErrNotFound, keep)
	p.a.PutSession(s)
	p.b.awaitSession(s, podA)

	refused := errors.New("wrong token")
	p.b.take(s.ID, refused, func(state.Session) (state.Session, error) { return state.Session{}, refused })
	p.b.awaitSession(s, podA)
	up := &state.SessionUpstream{Name: "old", Token: []byte{1}}
	p.a.PutUpstream(s.ID, s.TokenHash, up)
	p.hasUpstream(s, up)

	taken := s
	taken.TokenHash, taken.Generation = state.TokenHash{2}, 1
	was := p.b.take(s.ID, nil, func(was state.Session) (state.Session, error) {
		was.TokenHash, was.Generation = taken.TokenHash, taken.Generation
		return was, nil
	})
	s.Upstream = up
	if diff := cmp.Diff(s, was, ignoreOwner); diff != "" {
		p.t.Errorf("session before it was taken (-want +got):\n%s", diff)
	}
	p.a.awaitSession(taken, podB)
	p.hasUpstream(taken, nil)

	stale := s
	stale.TokenHash = state.TokenHash{3}
	p.a.PutSession(stale) // too late: the session is not a's any more
	p.a.processed(podA)
	p.a.awaitSession(taken, podB)
	p.a.endSession(s, state.ErrLostOwnership)
	p.a.awaitSession(taken, podB)
	for range 2 {
		p.b.endSession(taken, nil)
	}
	p.a.hasNoSession(s.ID)
	p.a.PutSession(stale) // the previous owner does not restore it
	p.a.processed(podA)
	p.a.hasNoSession(s.ID)
	p.a.endSession(s, nil)
}

// keep decides to take a session as it is.
func keep(was state.Session) (state.Session, error) { return was, nil }

func (n node) hasNoSession(id string) {
	n.t.Helper()
	_, err := n.FindSession(n.t.Context(), id)
	wantErr(n.t, err, state.ErrNotFound)
	n.take(id, state.ErrNotFound, keep)
}

// A pod that gets a session back is not affected by its own late commands for the earlier registration.
func testTakeSessionBack(p *pair) {
	first := keptSession()
	p.a.PutSession(first)
	p.b.awaitSession(first, podA)
	second, third := first, first
	second.TokenHash, third.TokenHash = state.TokenHash{2}, state.TokenHash{3}
	second.Generation, third.Generation = 1, 2
	p.b.take(first.ID, nil, func(state.Session) (state.Session, error) { return second, nil })
	p.a.take(first.ID, nil, func(state.Session) (state.Session, error) { return third, nil })
	p.b.DropSession(first.ID)
	p.a.PutSession(first)
	p.a.endSession(first, state.ErrLostOwnership)
	p.b.endSession(second, state.ErrLostOwnership)
	p.a.processed(podA)
	p.b.processed(podB)
	p.b.awaitSession(third, podA)
	p.a.DropSession(first.ID)
	p.b.awaitNoSession(first.ID)
}

// Of several simultaneous uses of a token one succeeds.
func testConcurrentTakers(p *pair) {
	s := keptSession()
	p.a.PutSession(s)
	p.b.awaitSession(s, podA)
	used := errors.New("token was used")
	results := make([]error, 16)
	var work sync.WaitGroup
	for i := range results {
		work.Go(func() {
			n := []node{p.a, p.b}[i%2]
			_, results[i] = n.TakeSession(p.t.Context(), s.ID, func(was state.Session) (state.Session, error) {
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
			p.t.Error(err)
		}
	}
	if won != 1 {
		p.t.Errorf("%d of %d took the session", won, len(results))
	}
}

func testAdoptStream(p *pair) {
	s := streamOf("cam", "m1")
	p.b.adoptStream(s, state.Owner{Pod: podA, Epoch: 1}, state.ErrNotFound)
	p.a.claim(s, nil)
	owner := p.b.find("cam", nil).Owner
	p.a.addPlayer(playerOf("cam", "m2"), nil)
	other := s
	other.Identity += "x"
	p.b.adoptStream(other, owner, state.ErrLostOwnership)
	p.b.adoptStream(s, owner, state.ErrLostOwnership) // in the same generation
	p.a.has(s, podA)

	claimed := s
	s.VideoMuted, s.Generation = true, 1
	for range 2 {
		p.b.adoptStream(s, owner, nil)
		p.a.has(s, podB)
	}
	p.a.put(claimed, state.ErrLostOwnership)
	p.a.claim(claimed, state.ErrAdopted)
	p.a.has(s, podB)
	p.a.release(s, state.ErrLostOwnership)
	p.a.claim(streamOf("two", "m1"), state.ErrMediaIDTaken)
	p.b.put(s, nil, podA)
	p.b.release(s, nil, podA)
	p.a.claim(streamOf("two", "m1"), nil) // name and media id are free
	p.b.adoptStream(s, owner, state.ErrNotFound)
}

func testAdoptPlayer(p *pair) {
	s, player := streamOf("cam", "m1"), playerOf("cam", "m2")
	p.a.claim(s, nil)
	owner := p.b.find("cam", nil).Owner
	p.b.adoptPlayer(player, owner, state.ErrNotFound)
	p.a.addPlayer(player, nil)
	added := player
	player.Generation = 1
	for range 2 {
		wantRecord(p.t, p.b.adoptPlayer(player, owner, nil), s)
	}
	p.a.put(s, nil, podB)
	p.a.addPlayer(added, state.ErrAdopted) // the previous owner registers it again
	p.a.removePlayer(player)               // no longer its own
	p.a.claim(streamOf("two", "m2"), state.ErrMediaIDTaken)
	p.a.release(s, nil, podB)
	wantRecord(p.t, p.b.adoptPlayer(player, owner, nil), state.Stream{}) // the stream has ended
	p.b.removePlayer(player)
	p.a.claim(streamOf("two", "m2"), nil)
}

// A pod that adopts its own records, as when a client returns to the same pod, loses nothing.
func testAdoptOwn(p *pair) {
	s, player := streamOf("cam", "m1"), playerOf("cam", "m2")
	p.a.claim(s, nil)
	p.a.addPlayer(player, nil)
	owner := p.a.find("cam", nil).Owner
	p.a.adoptStream(s, owner, nil)
	p.a.adoptPlayer(player, owner, nil)
	p.a.put(s, nil, podA)
	p.a.release(s, nil, podA)
}

// Redis came back empty, and all pods register what they consider theirs: the last pod that took the session
// has it, in any order.
func testLatestGenerationWins(p *pair) {
	of, pods := map[node]int{p.a: 0, p.b: 1}, map[node]string{p.a: podA, p.b: podB}
	for i, order := range [][]node{{p.a, p.b}, {p.b, p.a}} {
		name, published, played := "cam"+string('0'+rune(i)), "m1"+string('0'+rune(i)), "m2"+string('0'+rune(i))
		session, s, player := keptSession(), streamOf(name, published), playerOf(name, played)
		session.ID += name
		for _, n := range order {
			session.TokenHash, session.Generation, s.Generation, player.Generation = state.TokenHash{byte(of[n])}, of[n], of[n], of[n]
			n.PutSession(session)
			n.processed(pods[n])
			var want error
			if n == p.a && order[0] == p.b {
				want = state.ErrAdopted
			}
			n.claim(s, want)
			n.addPlayer(player, want)
		}
		session.TokenHash, session.Generation, s.Generation = state.TokenHash{1}, 1, 1
		p.a.awaitSession(session, podB)
		earlier := s
		earlier.Generation = 0
		p.a.put(earlier, state.ErrLostOwnership) // also after its own claim
		p.a.claim(earlier, state.ErrAdopted)
		p.a.has(s, podB)
		_, err := p.a.AdoptPlayer(p.t.Context(), playerOf(name, played), state.Owner{}) // a checks whether it still has it
		if !errors.Is(err, state.ErrLostOwnership) && !errors.Is(err, state.ErrNotFound) {
			p.t.Errorf("a has the player: %v", err)
		}
		p.a.claim(streamOf("two", played), state.ErrMediaIDTaken)
		p.a.claim(streamOf("two", published), state.ErrMediaIDTaken)
		p.b.release(s, nil, podB)
		p.b.removePlayer(player)
		p.b.DropSession(session.ID)
		p.a.awaitNoSession(session.ID)
	}
}
