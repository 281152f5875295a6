package roomapi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/state"
)

// fakeStore keeps the members of rooms, and the largest number of removals in a call.
type fakeStore struct {
	mu       sync.Mutex
	err      error // of all calls
	written  bool  // although err is returned
	calls    int
	removals int
	rooms    map[state.Room]map[string]state.Member
	slow     func(state.Room) // called before each call; it can block
}

func (s *fakeStore) SyncRoom(_ context.Context, u state.RoomUpdate) (state.RoomState, error) {
	if s.slow != nil {
		s.slow(u.Room)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.removals = max(s.removals, len(u.Remove))
	if s.err != nil && !s.written {
		return state.RoomState{}, s.err
	}
	members := s.rooms[u.Room]
	if members == nil {
		members = make(map[string]state.Member)
		s.rooms[u.Room] = members
	}
	for _, m := range u.Remove {
		if members[m.Login].ID == m.ID {
			delete(members, m.Login)
		}
	}
	got := state.RoomState{Self: state.Owner{Pod: "own"}, Outcomes: make(map[string]state.Outcome)}
	for _, m := range u.Put {
		m.Owner = got.Self
		old, had := members[m.Login]
		switch {
		case !had:
			got.Outcomes[m.ID] = state.OutcomeNew
			members[m.Login] = m
		case old.ID == m.ID:
			got.Outcomes[m.ID] = state.OutcomeHad
		default:
			got.Outcomes[m.ID] = state.OutcomeTaken
		}
	}
	for _, m := range members {
		got.Members = append(got.Members, m)
	}
	return got, s.err
}

func (s *fakeStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

type noBus struct{}

func (noBus) Send(context.Context, string, state.Event) error   { return nil }
func (noBus) Notify(context.Context, []string, state.Event) int { return 0 }

// testClient runs what is posted at once, on a goroutine of its own.
type testClient struct{ address netip.Addr }

func (testClient) Post(f func())        { go f() }
func (testClient) Send([]byte)          {}
func (testClient) HasRoom() bool        { return true }
func (testClient) SendState([]byte)     {}
func (testClient) Relay([]byte)         {}
func (testClient) Dropped([]byte)       {}
func (testClient) Left(string, *Member) {}

func (c testClient) Address() netip.Addr { return c.address }

// withRooms runs a test with the rooms of one pod in a synctest bubble.
func withRooms(t *testing.T, test func(t *testing.T, r *Rooms, s *fakeStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		gauge := func() prometheus.Gauge { return prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"}) }
		s := &fakeStore{rooms: make(map[state.Room]map[string]state.Member)}
		r := New(Deps{
			Context: ctx, Store: s, Bus: noBus{}, Recovered: func() {}, Metrics: &Metrics{gauge(), gauge()}, Log: zerolog.Nop(),
			Cleanup: cleanup.New(cleanup.Deps{Context: ctx, Pending: gauge(), Log: zerolog.Nop()}),
			Pod:     "own", MaxMembers: 100, Timeout: time.Second,
		})
		go r.Run(ctx)
		test(t, r, s)
		cancel()
		synctest.Wait()
	})
}

// join has a login join a room and returns the error.
func join(t *testing.T, r *Rooms, room, login string, id int) (*Member, error) {
	t.Helper()
	done := make(chan error, 1)
	m, err := r.Join(testClient{}, state.Room{App: "a", Name: room}, state.Member{Login: login, ID: fmt.Sprint(id)}, func(err error) { done <- err })
	if err != nil {
		t.Fatal(err)
	}
	return m, <-done
}

func TestIdleRoomsOfOnePodAreReadOnceAMinute(t *testing.T) {
	withRooms(t, func(t *testing.T, r *Rooms, s *fakeStore) {
		const rooms, minutes = 16, 10
		for i := range rooms {
			if _, err := join(t, r, fmt.Sprint(i), "login", i); err != nil {
				t.Fatal(err)
			}
		}
		s.set(func() { s.calls = 0 })
		time.Sleep(minutes * time.Minute)
		synctest.Wait()
		if s.calls < rooms*(minutes-1) || s.calls > rooms*minutes {
			t.Errorf("%d reads of %d idle rooms in %d minutes", s.calls, rooms, minutes)
		}
		s.set(func() {
			s.rooms[state.Room{App: "a", Name: "0"}]["other"] = state.Member{Login: "other", ID: "x", Owner: state.Owner{Pod: "another"}}
		})
		time.Sleep(time.Minute) // without an event of the other pod
		s.set(func() { s.calls = 0 })
		time.Sleep(minutes * time.Minute)
		synctest.Wait()
		if most := rooms*minutes + 6*minutes; s.calls < (rooms-1)*(minutes-1)+6*minutes-1 || s.calls > most {
			t.Errorf("%d reads with a room of two pods in %d minutes, want at most %d", s.calls, minutes, most)
		}
	})
}

func TestFailedJoinsLeaveABoundedNumberOfRemovals(t *testing.T) {
	for name, err := range map[string]error{"nothing was sent": state.ErrLeaseStale, "unknown": state.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			withRooms(t, func(t *testing.T, r *Rooms, s *fakeStore) {
				keeper, failed := join(t, r, "room", "keeper", -1)
				if failed != nil {
					t.Fatal(failed)
				}
				s.set(func() { s.err, s.written = err, err != state.ErrLeaseStale })
				gone := func() int {
					r.mu.Lock()
					defer r.mu.Unlock()
					return len(keeper.room.gone)
				}
				for i := range 100 {
					if _, failed := join(t, r, "room", "mallory", i); !errors.Is(failed, ErrUnavailable) {
						t.Fatalf("join without Redis: %v", failed)
					}
				}
				if n := gone(); n > 2 || errors.Is(err, state.ErrLeaseStale) && n > 0 {
					t.Errorf("%d removals of one login", n)
				}
				if !errors.Is(err, state.ErrLeaseStale) {
					for i := range maxGone + 100 {
						_, _ = join(t, r, "room", fmt.Sprint("login", i), i) // fails
					}
					if n := gone(); n > maxGone {
						t.Errorf("%d removals of one room", n)
					}
				}
				s.set(func() { s.err = nil })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if left := len(s.rooms[keeper.room.key]); left != 1 || gone() != 0 || s.removals > removalPiece+2 {
					t.Errorf("%d members in the record, %d removals left, %d in one call", left, gone(), s.removals)
				}
				if _, failed := join(t, r, "room", "mallory", 1000); failed != nil {
					t.Errorf("join after Redis is back: %v", failed)
				}
			})
		})
	}
}

// Joins of one address, however many, leave places for those of others. Here Redis answers none of the
// former.
func TestJoinsTakeTurnsByAddress(t *testing.T) {
	withRooms(t, func(t *testing.T, r *Rooms, s *fakeStore) {
		answer := make(chan struct{})
		s.slow = func(room state.Room) {
			if room.Name != "other" {
				<-answer
			}
		}
		flood := testClient{netip.MustParseAddr("192.0.2.1")}
		joined := make(chan error, 100)
		for i := range cap(joined) {
			room, rec := state.Room{App: "a", Name: fmt.Sprint(i)}, state.Member{Login: "login", ID: fmt.Sprint(i)}
			if _, err := r.Join(flood, room, rec, func(err error) { joined <- err }); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		other := testClient{netip.MustParseAddr("192.0.2.2")}
		done := make(chan error, 1)
		if _, err := r.Join(other, state.Room{App: "a", Name: "other"}, state.Member{Login: "login", ID: "x"}, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("a join of another address waits for the others")
		}
		close(answer)
		for range cap(joined) {
			if err := <-joined; err != nil {
				t.Error(err)
			}
		}
	})
}
