package cleanup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// lineCount counts the lines of a log.
type lineCount struct {
	mu  sync.Mutex
	all int
}

func (l *lineCount) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all += bytes.Count(b, []byte("\n"))
	return len(b), nil
}

func (l *lineCount) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// withQueue runs a test with a queue in a synctest bubble. At the end of the test the queue must be empty.
func withQueue(t *testing.T, test func(t *testing.T, q *Queue, log *lineCount)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		log := &lineCount{}
		pending := prometheus.NewGauge(prometheus.GaugeOpts{Name: "pending"})
		q := New(Deps{
			Context: ctx,
			Remove: func(context.Context, translate.RoomName, translate.Identity) error {
				return &translate.Error{Kind: translate.ErrKindRefused, Err: errors.New("refused")}
			},
			Recovered: func() { _ = recover() },
			Pending:   pending,
			Log:       zerolog.New(log),
		})
		test(t, q, log)
		synctest.Wait()
		if n, metric := q.Pending(), testutil.ToFloat64(pending); n != 0 || metric != 0 {
			t.Errorf("%d tasks are pending at the end, %v in the metric", n, metric)
		}
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// addHanging adds n tasks for a Redis that does not answer until the channel is closed.
func addHanging(q *Queue, n int) (back chan struct{}) {
	back = make(chan struct{})
	for i := range n {
		q.Add(StoreTask(fmt.Sprint("release ", i), party(i), func(ctx context.Context) error {
			select {
			case <-back:
				return nil
			case <-ctx.Done():
				return state.ErrUnavailable
			}
		}))
	}
	return back
}

func TestFailingTasksDoNotDelayNewOnes(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		back := addHanging(q, 4*Parallel)
		pass(4*AttemptTimeout + time.Millisecond)
		for range 20 {
			since := time.Now()
			<-q.Add(StoreTask("quick", Party{}, func(context.Context) error { return nil }))
			if waited := time.Since(since); waited > 0 {
				t.Fatalf("a task that succeeds at once waited %v", waited)
			}
			pass(time.Second)
		}
		close(back)
		pass(2 * MaxWait)
	})
}

func TestBacklogAndItsLogAreBounded(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, log *lineCount) {
		back := addHanging(q, MaxBacklog)
		if err := q.CheckBacklog(party(0)); err != nil {
			t.Fatalf("backlog is full before the first attempts failed: %v", err)
		}
		pass(MaxBacklog / Parallel * 2 * AttemptTimeout)
		if err := q.CheckBacklog(party(0)); !errors.Is(err, ErrBacklogFull) {
			t.Fatalf("backlog of %d failing tasks: %v, want %v", MaxBacklog, err, ErrBacklogFull)
		}
		if n, most := log.count(), 2*linesPerSecond*int(MaxBacklog/Parallel*AttemptTimeout/time.Second); n == 0 || n > most {
			t.Errorf("%d lines, want at most %d", n, most)
		}
		close(back)
		pass(2 * MaxWait)
		if err := q.CheckBacklog(party(0)); err != nil {
			t.Errorf("backlog after Redis is back: %v", err)
		}
	})
}

func TestTasksAreRetriedUntilTheyExpire(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		var attempts []time.Duration
		since := time.Now()
		q.Add(Task{Op: "x", Target: EgressService, Expiry: time.Minute, Run: func(context.Context) error {
			attempts = append(attempts, time.Since(since))
			return state.ErrLeaseStale
		}})
		pass(10 * time.Minute)
		const first = FirstWait
		want := []time.Duration{0, first, 3 * first, 7 * first, 15 * first, 31 * first, 31*first + MaxWait, 31*first + 2*MaxWait}
		if fmt.Sprint(attempts) != fmt.Sprint(want) {
			t.Errorf("attempts at %v, want %v", attempts, want)
		}
	})
}

func TestPermanentErrorsAndPanicsAreNotRetried(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, log *lineCount) {
		<-q.RemoveParticipant(Party{}, "room", "id", ExpiryNeverUp)
		attempts := 0
		<-q.Add(StoreTask("panic", Party{}, func(context.Context) error {
			attempts++
			panic("x")
		}))
		pass(time.Hour)
		if attempts != 1 || log.count() != 1 {
			t.Errorf("%d attempts that panic, want 1; %d log lines, want that of the refused removal", attempts, log.count())
		}
	})
}

func TestWaitReturnsWhenAllHoldsAreReleased(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		q.Wait(t.Context())
		a, b := q.Hold(), q.Hold()
		waited := make(chan struct{})
		go func() {
			defer close(waited)
			q.Wait(context.Background())
		}()
		a()
		a() // a second call changes nothing
		synctest.Wait()
		select {
		case <-waited:
			t.Error("Wait returned while work was held")
		default:
		}
		b()
		<-waited
	})
}

// party returns one of many client addresses.
func party(i int) Party { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }

// entries returns the entries of a target that wait, and the rooms with an entry.
func (q *Queue) entries(target Target) (waiting, rooms int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.targets[target].waiting), len(q.targets[target].rooms)
}

// addRemovals adds n removals of a party's participants, each in a room of its own or all in one.
func addRemovals(q *Queue, from, n int, p Party, oneRoom bool) {
	for i := from; i < from+n; i++ {
		room := translate.RoomName("room")
		if !oneRoom {
			room = translate.RoomName(fmt.Sprint("room ", i))
		}
		q.RemoveParticipant(p, room, translate.Identity(fmt.Sprint("id ", i)), Expiry)
	}
}

// outage is a LiveKit that is away until back is set. It counts the participants that were removed.
type outage struct {
	mu      sync.Mutex
	back    bool
	removed map[translate.Identity]int
	tries   int
}

// set changes the outage under its lock.
func (o *outage) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *outage) remove(_ context.Context, _ translate.RoomName, id translate.Identity) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries++
	if !o.back {
		return &translate.Error{Kind: translate.ErrKindUnavailable, Err: errors.New("away")}
	}
	o.removed[id]++
	return nil
}

func TestPartyWithMostFailedTasksIsRefusedFirst(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		lk := &outage{removed: make(map[translate.Identity]int)}
		q.deps.Remove = lk.remove
		flooder, other := party(1), party(2)
		before := runtime.NumGoroutine()
		n := 0
		for ; q.CheckBacklog(flooder) == nil; n++ {
			addRemovals(q, n, 1, flooder, false)
			synctest.Wait()
		}
		if n != MaxBacklog/2 {
			t.Errorf("one party is refused with %d failed tasks, want %d", n, MaxBacklog/2)
		}
		for p := 3; q.CheckBacklog(other) == nil; p++ {
			for q.CheckBacklog(party(p)) == nil && n <= 2*MaxBacklog {
				addRemovals(q, n, 1, party(p), false)
				n++
				synctest.Wait()
			}
		}
		if n != MaxBacklog {
			t.Errorf("a party without failed tasks is refused with %d of all, want %d", n, MaxBacklog)
		}
		if more := runtime.NumGoroutine() - before; more > 2*Parallel {
			t.Errorf("%d more goroutines with %d failed tasks", more, n)
		}
		lk.set(func() { lk.back = true })
		pass(2 * MaxWait)
		lk.set(func() {
			if len(lk.removed) != n {
				t.Errorf("%d participants removed, want %d", len(lk.removed), n)
			}
		})
		if err := q.CheckBacklog(flooder); err != nil {
			t.Errorf("after LiveKit is back: %v", err)
		}
	})
}

func TestFailedRemovalsOfOneRoomAreOneEntry(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		const n = 1000
		lk := &outage{removed: make(map[translate.Identity]int)}
		q.deps.Remove = lk.remove
		addRemovals(q, 0, n, party(1), true)
		synctest.Wait()
		lk.set(func() { lk.tries = 0 })
		pass(time.Minute)
		if waiting, _ := q.entries(SFU); waiting != 1 {
			t.Errorf("%d entries wait, want 1", waiting)
		}
		lk.set(func() {
			if lk.tries > 10 {
				t.Errorf("%d attempts in a minute for one room", lk.tries)
			}
			lk.back = true
		})
		pass(MaxWait)
		_, rooms := q.entries(SFU)
		lk.set(func() {
			if len(lk.removed) != n || rooms != 0 {
				t.Errorf("%d participants removed, want %d; %d rooms are left", len(lk.removed), n, rooms)
			}
		})
	})
}

func TestTasksThatWaitForAHangingTargetCountAsFailed(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		back := addHanging(q, MaxBacklog+Parallel)
		pass(2*AttemptTimeout + time.Millisecond)
		if err := q.CheckBacklog(party(0)); !errors.Is(err, ErrBacklogFull) {
			t.Errorf("after two attempts of each worker: %v, want %v", err, ErrBacklogFull)
		}
		close(back)
		pass(2 * MaxWait)
		err := q.CheckBacklog(party(0))
		q.mu.Lock()
		defer q.mu.Unlock()
		if err != nil || len(q.targets[Store].failed.byParty) != 0 {
			t.Errorf("after Redis is back: %v, counts %v", err, q.targets[Store].failed)
		}
	})
}

func TestTasksEndWithTheContext(t *testing.T) {
	withQueue(t, func(t *testing.T, q *Queue, _ *lineCount) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := New(Deps{Context: ctx, Remove: (&outage{}).remove, Recovered: q.deps.Recovered, Pending: q.deps.Pending, Log: q.deps.Log})
		addRemovals(ended, 0, 10, party(1), false)
		synctest.Wait()
		cancel()
		ended.Wait(t.Context())
	})
}
