// Package statetest is for tests of packages that use package state. It has a store in memory that several
// pods share, and the conformance suite that this store and the one on Redis must pass.
package statetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"wcsgateway/state"
)

// Fake is a Redis in memory. It calls the pods' handlers without holding a lock.
type Fake struct {
	mu          sync.Mutex
	away        bool
	pods        map[string]*Pod
	streams     map[string]state.Stream
	players     map[string]map[playerKey]state.Player // by stream
	media       map[string]claim
	generations map[claim]int  // in which they were claimed
	void        map[claim]bool // released streams: rejected when they arrive again
	removed     map[claim]int  // removed players: the number of generations that are rejected
	sessions    map[string]state.Session
	rooms       map[state.Room]map[string]state.Member // by login
	left        map[state.Room]*departures
	ended       map[string]bool // kept sessions, for good

	upstreamNames  map[state.UpstreamName]state.Owner
	upstreamTokens map[state.TokenHash]state.UpstreamToken
}

// claim identifies one claim of a stream or player.
type claim struct {
	owner                     state.Owner
	player                    bool
	stream, media, identifier string
}

// sameAs reports whether both claims are for the same stream or player, of any owner.
func (c claim) sameAs(o claim) bool {
	c.owner = o.owner
	return c == o
}

type playerKey = claim

func claimOfStream(s state.Stream) claim {
	return claim{owner: s.Owner, stream: s.Name, media: s.MediaID, identifier: s.Identity}
}

func claimOfPlayer(o state.Owner, p state.Player) claim {
	return claim{owner: o, player: true, stream: p.Stream, media: p.MediaID, identifier: p.Identity}
}

// New returns an empty Fake.
func New() *Fake {
	f := &Fake{pods: make(map[string]*Pod)}
	f.clear()
	return f
}

func (f *Fake) clear() {
	f.streams = make(map[string]state.Stream)
	f.players = make(map[string]map[playerKey]state.Player)
	f.media = make(map[string]claim)
	f.generations = make(map[claim]int)
	f.void = make(map[claim]bool)
	f.removed = make(map[claim]int)
	f.sessions = make(map[string]state.Session)
	f.rooms = make(map[state.Room]map[string]state.Member)
	f.left = make(map[state.Room]*departures)
	f.ended = make(map[string]bool)
	f.upstreamNames = make(map[state.UpstreamName]state.Owner)
	f.upstreamTokens = make(map[state.TokenHash]state.UpstreamToken)
}

// Open opens the store of a pod. It is ready at once.
func (f *Fake) Open(pod string, h state.Handlers) *Pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &Pod{
		f:        f,
		handlers: h,
		owner:    state.Owner{Pod: pod, Epoch: time.Now().UnixMilli()},
		known:    make(map[string]state.Session),
		took:     make(map[string]bool),
	}
	f.pods[pod] = p
	return p
}

// SetAway makes every call fail with state.ErrUnavailable, or ends that.
func (f *Fake) SetAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// Restart loses every record and then calls the pods' Reset handlers.
func (f *Fake) Restart() {
	f.mu.Lock()
	f.clear()
	f.away = false
	pods := make([]*Pod, 0, len(f.pods))
	for _, p := range f.pods {
		pods = append(pods, p)
		p.registerSessions()
	}
	f.mu.Unlock()
	for _, p := range pods {
		if p.handlers.Reset != nil {
			p.handlers.Reset()
		}
	}
}

// Kill ends a pod: its handlers are not called any more and its calls fail with state.ErrLeaseStale. Its
// records stay until TakeOver.
func (f *Fake) Kill(pod string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods[pod].dead = true
	f.pods[pod].handlers = state.Handlers{}
}

// TakeOver makes one pod take over everything of another. If the other lives, its Lost handler is called and
// it continues in a new life.
func (f *Fake) TakeOver(from, by string) {
	f.mu.Lock()
	loser, taker := f.pods[from], f.pods[by]
	orphans := f.releaseAllOf(loser.owner)
	loser.owner.Epoch++
	if !loser.dead {
		loser.registerSessions()
	}
	lost, takenOver := loser.handlers.Lost, taker.handlers.TakenOver
	f.mu.Unlock()
	if lost != nil {
		lost()
	}
	if takenOver == nil {
		return
	}
	for _, o := range orphans {
		takenOver(o)
	}
}

func (f *Fake) releaseAllOf(dead state.Owner) (orphans []state.Orphan) {
	for _, players := range f.players {
		for key, p := range players {
			if key.owner == dead {
				orphans = append(orphans, state.Orphan{Player: &p})
				f.removePlayer(key)
			}
		}
	}
	for name, s := range f.streams {
		if s.Owner == dead {
			orphans = append(orphans, state.Orphan{Stream: &s, Pods: f.podsOf(name)})
			f.release(claimOfStream(s))
		}
	}
	for id, s := range f.sessions {
		if s.Owner == dead {
			orphans = append(orphans, state.Orphan{Session: &s})
			delete(f.sessions, id)
		}
	}
	return append(orphans, f.releaseRooms(dead)...)
}

// Names returns the claimed stream names, sorted.
func (f *Fake) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.streams))
}

// MediaIDs returns the claimed media ids, sorted.
func (f *Fake) MediaIDs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.media))
}

// refuses returns why a claim fails while there is another one: ErrAdopted if that is the same in a later
// generation, nil if in an earlier one, else taken.
func (f *Fake) refuses(c claim, generation int, held claim, taken error) error {
	switch {
	case held == c:
		return nil
	case !held.sameAs(c), f.generations[held] == generation:
		return taken
	case f.generations[held] > generation:
		return state.ErrAdopted
	}
	return nil
}

// claimMedia claims the media id of c.
func (f *Fake) claimMedia(c claim, generation int) error {
	if held, taken := f.media[c.media]; taken {
		if err := f.refuses(c, generation, held, state.ErrMediaIDTaken); err != nil {
			return err
		}
	}
	f.media[c.media], f.generations[c] = c, max(generation, f.generations[c])
	return nil
}

// podsOf returns the pods that have players of a stream.
func (f *Fake) podsOf(stream string) []string {
	pods := []string{}
	for key := range f.players[stream] {
		if !slices.Contains(pods, key.owner.Pod) {
			pods = append(pods, key.owner.Pod)
		}
	}
	return pods
}

func (f *Fake) release(c claim) {
	delete(f.streams, c.stream)
	f.releaseMedia(c)
}

func (f *Fake) releaseMedia(c claim) {
	if f.media[c.media] == c {
		delete(f.media, c.media)
	}
}

func (f *Fake) removePlayer(c claim) {
	delete(f.players[c.stream], c)
	if len(f.players[c.stream]) == 0 {
		delete(f.players, c.stream)
	}
	f.releaseMedia(c)
}

// call runs f with the lock and names the call in its error, unless Redis is away or the pod is dead.
func call[T any](ctx context.Context, p *Pod, op string, write bool, f func() (T, error)) (result T, err error) {
	if err = p.f.enter(ctx, p, write); err == nil {
		defer p.f.mu.Unlock()
		result, err = f()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", op, err)
	}
	return result, err
}

// call is call for an f without a result.
func (p *Pod) call(ctx context.Context, op string, write bool, f func() error) error {
	_, err := call(ctx, p, op, write, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// enter begins every call. If it returns nil, the caller holds the lock.
func (f *Fake) enter(ctx context.Context, p *Pod, write bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", state.ErrUnavailable, err)
	}
	f.mu.Lock()
	switch {
	case write && p.dead:
		f.mu.Unlock()
		return state.ErrLeaseStale
	case f.away:
		f.mu.Unlock()
		return state.ErrUnavailable
	}
	return nil
}
