package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"wcsgateway/translate"
)

// fakeRooms is a LiveKit whose rooms the test changes. It counts calls.
type fakeRooms struct {
	mu     sync.Mutex
	inRoom map[translate.Identity]translate.Participant // on the node
	stored map[translate.Identity]bool                  // in the list, too
	down   map[string]bool                              // calls that fail: participant, participants
	calls  map[string]int
}

func (f *fakeRooms) call(op string) error {
	f.calls[op]++
	if f.down[op] {
		return &translate.Error{Kind: translate.ErrKindUnavailable, Op: op, Err: errors.New("down")}
	}
	return nil
}

func (f *fakeRooms) Participant(_ context.Context, _ translate.RoomName, id translate.Identity) (translate.Participant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("participant"); err != nil {
		return translate.Participant{}, err
	}
	p, ok := f.inRoom[id]
	if !ok {
		return p, &translate.Error{Kind: translate.ErrKindNotFound, Op: "participant", Err: errors.New("not found")}
	}
	return p, nil
}

func (f *fakeRooms) Participants(context.Context, translate.RoomName) (all []translate.Participant, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.call("participants"); err != nil {
		return nil, err
	}
	for id := range f.stored {
		all = append(all, translate.Participant{Identity: id, Mutes: f.inRoom[id].Mutes})
	}
	return all, nil
}

// set changes the fake under its lock.
func (f *fakeRooms) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// total returns the number of calls since the last one.
func (f *fakeRooms) total() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for op, calls := range f.calls {
		n += calls
		f.calls[op] = 0
	}
	return n
}

// fakeStream records what is reported to it.
type fakeStream struct {
	id, publisher translate.Identity // the publisher is empty for a publisher's stream
	starting      bool

	mu       sync.Mutex
	observed []Observation
	lost     []translate.EndReason
	left     []translate.Identity
}

func (s *fakeStream) Identity() translate.Identity  { return s.id }
func (s *fakeStream) Publisher() translate.Identity { return s.publisher }
func (s *fakeStream) Published() bool               { return s.publisher == "" }
func (s *fakeStream) Up() bool                      { return !s.starting }

func (s *fakeStream) Observe(o Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observed = append(s.observed, o)
}

func (s *fakeStream) Lost(r translate.EndReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = append(s.lost, r)
}

func (s *fakeStream) PublisherLeft(id translate.Identity, _ string) { s.left = append(s.left, id) }

// with runs a test with a poller in a synctest bubble.
func with(t *testing.T, local bool, test func(t *testing.T, p *Poller, f *fakeRooms)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		f := &fakeRooms{
			inRoom: make(map[translate.Identity]translate.Participant), stored: make(map[translate.Identity]bool),
			down: make(map[string]bool), calls: make(map[string]int),
		}
		test(t, New(Deps{
			Context: ctx, Rooms: f, Local: func(translate.Identity) bool { return local }, Recovered: func() {}, Log: zerolog.Nop(),
		}), f)
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A pod with 1,000 streams should not make more than 250 calls a second. The test polls a tenth of them.
func TestThousandStreamsCostFewCalls(t *testing.T) {
	for _, tt := range []struct {
		rooms, players    int // players in each room
		published, native bool
		most              float64 // calls a second
	}{
		{rooms: 1000, published: true, most: 200},
		{rooms: 500, players: 1, published: true, most: 200},
		{rooms: 100, players: 9, published: true, most: 40},
		{rooms: 10, players: 99, published: true, most: 4},
		{rooms: 1000, players: 1, most: 200},
		{rooms: 10, players: 100, most: 2},
		{rooms: 1000, players: 1, native: true, most: 400}, // the exception: both calls for one stream
		{rooms: 500, players: 2, native: true, most: 200},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			with(t, tt.published, func(t *testing.T, p *Poller, f *fakeRooms) {
				for i := range tt.rooms / 10 {
					room := translate.RoomName(fmt.Sprint("room-", i))
					publisher := translate.NewIdentity("test", translate.RolePublish, "aaaaaaaa")
					if tt.native {
						publisher = translate.Identity(fmt.Sprint("native-", i))
					}
					f.add(publisher)
					if tt.published {
						p.Add(room, &fakeStream{id: publisher})
					}
					for range tt.players {
						player := translate.NewIdentity("test", translate.RolePlay, "aaaaaaaa")
						f.add(player)
						p.Add(room, &fakeStream{id: player, publisher: publisher})
					}
				}
				pass(10 * time.Second)
				f.total()
				const seconds = 20
				pass(seconds * time.Second)
				if rate := 10 * float64(f.total()) / seconds; rate > tt.most || rate < 0.9*tt.most {
					t.Errorf("%.1f calls a second, want at most %v, and nearly as many", rate, tt.most)
				}
			})
		})
	}
}

func (f *fakeRooms) add(id translate.Identity) {
	f.inRoom[id], f.stored[id] = translate.Participant{Identity: id, SID: "PA_" + string(id)}, true
}

// A starting stream is polled often. The node is queried, because the list may lack its tracks.
func TestStartingStreamIsPolledOften(t *testing.T) {
	with(t, false, func(t *testing.T, p *Poller, f *fakeRooms) {
		f.add("pub")
		s := &fakeStream{id: "pub", starting: true}
		p.Add("room", s)
		pass(5500 * time.Millisecond)
		if n := len(s.observed); n != len(initialDelays) {
			t.Errorf("%d polls, want %d", n, len(initialDelays))
		}
		want := Observation{Self: f.inRoom["pub"], SelfPresent: true}
		if diff := cmp.Diff(want, s.observed[0]); diff != "" {
			t.Error(diff)
		}
		p.Remove("room", s)
		f.total()
		if pass(time.Hour); f.total() != 0 || len(p.rooms) != 0 {
			t.Error("polled after the last stream was removed")
		}
	})
}

// Departures are confirmed by the node: the list may have participants that left, or lack some that are
// present.
func TestPlayerThatIsAddedAgainIsPolledForItsNextPublisher(t *testing.T) {
	with(t, false, func(t *testing.T, p *Poller, f *fakeRooms) {
		s := &fakeStream{id: "play"}
		f.add("play")
		for _, publisher := range []translate.Identity{"first", "second"} {
			f.add(publisher)
			p.Remove("room", s)
			s.publisher = publisher
			p.Add("room", s)
			pass(time.Minute)
			if got := s.observed[len(s.observed)-1]; got.Asked != publisher || !got.PublisherPresent {
				t.Errorf("observed %+v, want the publisher %s", got, publisher)
			}
		}
	})
}

func TestDeparturesAreConfirmedByNode(t *testing.T) {
	with(t, false, func(t *testing.T, p *Poller, f *fakeRooms) {
		f.add("pub")
		f.add("play")
		f.inRoom["pub"] = translate.Participant{Identity: "pub", Mutes: translate.Mutes{Audio: true}}
		s := &fakeStream{id: "play", publisher: translate.NewIdentity("test", translate.RolePublish, "bbbbbbbb")}
		f.add(s.publisher)
		p.Add("room", s)
		for _, step := range []struct {
			change func()
			want   Observation
			calls  int
		}{
			{func() {}, Observation{SelfPresent: true, PublisherPresent: true}, 1},
			{func() { delete(f.stored, "play") }, Observation{SelfPresent: true, PublisherPresent: true}, 2},
			{func() { delete(f.inRoom, "play") }, Observation{PublisherPresent: true}, 4},
			{func() { f.add("play"); delete(f.stored, s.publisher); delete(f.inRoom, s.publisher) }, Observation{SelfPresent: true}, 2},
		} {
			pass(time.Minute)
			f.total()
			f.set(step.change)
			pass(interval)
			step.want.Asked = s.publisher
			if diff := cmp.Diff(step.want, s.observed[len(s.observed)-1]); diff != "" {
				t.Error(diff)
			}
			if n := f.total(); n != step.calls {
				t.Errorf("%d calls, want %d", n, step.calls)
			}
		}
	})
}

// LiveKit's webhook with the reason comes after the participant is gone: a poll in between reports nothing.
func TestAbsenceIsReportedAfterAnotherLook(t *testing.T) {
	with(t, false, func(t *testing.T, p *Poller, f *fakeRooms) {
		f.add("pub")
		s := &fakeStream{id: "pub"}
		p.Add("room", s)
		pass(time.Minute)
		seen := len(s.observed)
		f.set(func() { delete(f.inRoom, "pub") })
		pass(interval)
		before := s.observed[seen:]
		if slices.ContainsFunc(before[:len(before)-1], func(o Observation) bool { return !o.SelfPresent }) || before[len(before)-1].SelfPresent {
			t.Errorf("observed %+v", before)
		}
	})
	with(t, false, func(t *testing.T, p *Poller, f *fakeRooms) {
		s := &fakeStream{id: "pub"} // in the room 0.1 s after the first poll did not find it
		p.Add("room", s)
		pass(initialDelays[0] + 100*time.Millisecond)
		f.set(func() { f.add("pub") })
		pass(time.Minute)
		if slices.ContainsFunc(s.observed, func(o Observation) bool { return !o.SelfPresent }) || len(s.observed) == 0 {
			t.Errorf("observed %+v", s.observed)
		}
	})
}

func TestDeadNodeEndsItsStreams(t *testing.T) {
	with(t, true, func(t *testing.T, p *Poller, f *fakeRooms) {
		f.add("pub")
		s := &fakeStream{id: "pub"}
		p.Add("room", s)
		pass(time.Minute)
		f.set(func() { f.down["participant"], f.down["participants"] = true, true })
		pass(time.Minute)
		if len(s.lost) != 0 {
			t.Errorf("LiveKit is down as a whole: stream lost %v", s.lost)
		}
		f.set(func() { f.down["participants"] = false })
		pass(interval)
		if len(s.lost) == 0 || s.lost[0] != translate.EndShutdown {
			t.Errorf("the node is dead: stream lost %v, want %v", s.lost, translate.EndShutdown)
		}
	})
}

func TestNativeDepartureIsReportedToTheRoom(t *testing.T) {
	with(t, false, func(t *testing.T, p *Poller, _ *fakeRooms) {
		here, elsewhere := &fakeStream{id: "a", publisher: "native"}, &fakeStream{id: "b", publisher: "native"}
		p.Add("room", here)
		p.Add("another", elsewhere)
		p.PublisherLeft("room", "native", "PA_1")
		p.PublisherLeft("unknown", "native", "PA_1")
		if len(here.left) != 1 || len(elsewhere.left) != 0 {
			t.Errorf("reported %v to the room, %v to another", here.left, elsewhere.left)
		}
	})
}
