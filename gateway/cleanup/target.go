package cleanup

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"wcsgateway/translate"
)

// target has the tasks for one system. Queue.mu guards it.
type target struct {
	queue *Queue
	// first and retries are separate, so that failing tasks do not delay new ones.
	first, retries workers
	rooms          map[translate.RoomName]*entry // the entries of rooms with failed tasks
	waiting        map[*entry]*time.Timer        // for their next attempt
	failed         failedCount
	late           int // entries at the head of first.entries whose task is counted as failed already
}

// failedCount counts the failed tasks.
type failedCount struct {
	all     int
	byParty map[Party]int
}

func newTarget(q *Queue) *target {
	t := &target{queue: q, rooms: make(map[translate.RoomName]*entry), waiting: make(map[*entry]*time.Timer), failed: failedCount{byParty: make(map[Party]int)}}
	t.first, t.retries = workers{queue: q}, workers{queue: q}
	return t
}

// entry is the unit in which tasks are queued and retried: one task, or the failed tasks of a room.
type entry struct {
	target *target
	room   translate.RoomName // "" if it is one task without a room
	tasks  []*queued
	pauses backoff.BackOff // between attempts; nil before the first failed one
}

// queued is a task that has not ended.
type queued struct {
	Task
	added     time.Time
	attempted chan struct{} // nil after the first attempt
	failed    bool          // is in failedCount
}

// workers run the entries of a queue, first come first served, on at most Parallel goroutines. Queue.mu
// guards it.
type workers struct {
	queue   *Queue
	entries []*entry
	running int
}

// add needs mu.
func (w *workers) add(e *entry) {
	w.entries = append(w.entries, e)
	if w.running < Parallel {
		w.running++
		go w.run()
	}
}

// run is a goroutine. It ends when no entry is left.
func (w *workers) run() {
	for e := w.next(); e != nil; e = w.next() {
		e.run()
	}
}

func (w *workers) next() *entry {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	if len(w.entries) == 0 {
		w.entries = nil
		w.running--
		return nil
	}
	e := w.entries[0]
	w.entries[0] = nil
	w.entries = w.entries[1:]
	if t := e.target; w == &t.first && t.late > 0 {
		t.late--
	}
	return e
}

// countLate counts the tasks as failed that have waited for their first attempt for longer than an attempt
// can take: the target does not answer.
func (t *target) countLate() {
	for ; t.late < len(t.first.entries); t.late++ {
		first := t.first.entries[t.late].tasks[0]
		if time.Since(first.added) <= AttemptTimeout {
			return
		}
		t.count(first)
	}
}

// count counts a task as failed.
func (t *target) count(one *queued) {
	if !one.failed {
		one.failed = true
		t.failed.all++
		t.failed.byParty[one.Party]++
	}
}

// run attempts the tasks of the entry until one fails, and then schedules its retry.
func (e *entry) run() {
	q := e.target.queue
	for one := e.next(); one != nil; {
		err := q.attempt(one)
		one = e.attempted(one, err)
	}
}

// next returns the task to attempt. An entry without tasks ends.
func (e *entry) next() *queued {
	e.target.queue.mu.Lock()
	defer e.target.queue.mu.Unlock()
	return e.head()
}

func (q *Queue) attempt(one *queued) error {
	defer q.deps.Recovered() // a task that panics is not retried
	ctx, cancel := context.WithTimeout(q.deps.Context, AttemptTimeout)
	defer cancel()
	return one.Run(ctx)
}

// attempted ends the first task of the entry, or schedules its retry. It returns the task to attempt now, or
// nil.
func (e *entry) attempted(one *queued, err error) *queued {
	q := e.target.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if one.attempted != nil {
		close(one.attempted)
		one.attempted = nil
	}
	if err != nil && Retryable(err) && q.deps.Context.Err() == nil {
		e.retry(err)
		return nil
	}
	if err != nil {
		q.givenUp(one, err)
	}
	e.pauses = nil // the target answers
	e.tasks = e.tasks[1:]
	e.target.ended(one)
	return e.head()
}

// The caller of the functions below holds Queue.mu.

// head returns the first task. An entry without tasks ends.
func (e *entry) head() *queued {
	if len(e.tasks) > 0 {
		return e.tasks[0]
	}
	if t := e.target; t.rooms[e.room] == e {
		delete(t.rooms, e.room)
	}
	return nil
}

// retry schedules the retry of an entry whose first task has failed, and which is the last task of the next
// attempt. The first attempt of a room's task joins the room's entry.
func (e *entry) retry(err error) {
	t, q, one := e.target, e.target.queue, e.tasks[0]
	t.count(one)
	if shared := t.rooms[e.room]; shared != nil && shared != e {
		shared.tasks = append(shared.tasks, one)
		q.warn(one, err).Msg("cleanup failed, will be retried")
		return
	}
	if e.room != "" {
		t.rooms[e.room] = e
	}
	if e.pauses == nil {
		e.pauses = NewBackOff(FirstWait, MaxWait)
	}
	wait := e.pauses.NextBackOff()
	due := time.Now().Add(wait)
	e.tasks = slices.DeleteFunc(append(e.tasks[1:], one), func(old *queued) bool {
		expired := due.After(old.added.Add(old.Expiry))
		if expired {
			q.givenUp(old, err)
			t.ended(old)
		}
		return expired
	})
	if e.head() == nil {
		return
	}
	q.warn(one, err).Dur("retry_in", wait).Msg("cleanup failed, will be retried")
	t.waiting[e] = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if _, waits := t.waiting[e]; waits {
			delete(t.waiting, e)
			t.retries.add(e)
		}
	})
}

// abandon ends the tasks that wait for a retry.
func (t *target) abandon(err error) {
	for e, timer := range t.waiting {
		timer.Stop()
		for _, one := range e.tasks {
			t.queue.givenUp(one, err)
			t.ended(one)
		}
	}
	clear(t.waiting)
	clear(t.rooms)
}

// ended removes a task from the counts.
func (t *target) ended(one *queued) {
	t.queue.addPending(-1)
	if !one.failed {
		return
	}
	t.failed.all--
	if t.failed.byParty[one.Party]--; t.failed.byParty[one.Party] == 0 {
		delete(t.failed.byParty, one.Party)
	}
}

func (q *Queue) givenUp(one *queued, err error) { q.warn(one, err).Msg("cleanup failed for good") }

func (q *Queue) warn(one *queued, err error) *zerolog.Event {
	return q.log.Warn().Err(err).Str("op", one.Op).Int("failing", q.targets[one.Target].failed.all)
}
