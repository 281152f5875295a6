package hooks

import (
	"sync/atomic"

	"wcsgateway/gateway/serial"
)

// MaxClientCalls is the number of calls caused by a client's commands that a session can have queued.
const MaxClientCalls = 64

// Bodies of queued calls are as large as the clients make them, and a backend that does not answer takes none
// from the queue. Both limits exclude the first call of a queue.
const (
	maxSessionBytes = 1 << 20  // of one session
	maxAppBytes     = 64 << 20 // of all sessions of an application
)

// Budget counts the bytes of the queued calls of one Backend, whose queues share it. After a reload that
// changes an application's backend, sessions of before and after have different ones. The zero Budget is
// ready to use.
type Budget struct{ bytes atomic.Int64 }

// Queue makes a session's calls one at a time, in the order of Do. It bounds their number and bytes.
type Queue struct {
	maxStreams int // streams that the session can have
	budget     *Budget
	calls      serial.Executor
	bytes      atomic.Int64 // of the queued calls, including the one in progress
}

// NewQueue returns the queue of a session with up to maxStreams streams.
func NewQueue(maxStreams int, budget *Budget) *Queue {
	return &Queue{maxStreams: maxStreams, budget: budget}
}

// Do queues call, which makes a call of method m with the given body, and returns at once. It returns false,
// and call does not run, if the limits are exceeded. The calls at the end of a session (closing) are exempt
// from the limit of bytes.
func (q *Queue) Do(m Method, body Object, closing bool, call func()) (queued bool) {
	size := sizeOf(body)
	if !closing && q.exceededBy(size) {
		return false
	}
	q.count(size)
	queued = q.calls.TryPost(func() {
		defer q.count(-size)
		call()
	}, q.limit(m, closing))
	if !queued {
		q.count(-size)
	}
	return queued
}

// limit returns the queue length up to which a call of method m is accepted. Calls caused by clients get the
// smallest share, stream events more, and the events of session teardown all of it, so that the latter are
// never dropped.
func (q *Queue) limit(m Method, closing bool) int {
	switch {
	case closing:
		return 2*MaxClientCalls + 4*q.maxStreams + 1
	case m == StreamStatusEvent, m == UnPublishStream, m == StopStream:
		return 2*MaxClientCalls + 2*q.maxStreams
	}
	return 2 * MaxClientCalls
}

func (q *Queue) exceededBy(size int64) bool {
	queued := q.bytes.Load()
	return queued > 0 && (queued+size > maxSessionBytes || q.budget.bytes.Load()+size > maxAppBytes)
}

func (q *Queue) count(bytes int64) {
	q.bytes.Add(bytes)
	q.budget.bytes.Add(bytes)
}

// sizeOf returns the approximate size of a body in bytes.
func sizeOf(o Object) (size int64) {
	for name, value := range o {
		size += int64(len(name) + len(value))
	}
	return size
}
