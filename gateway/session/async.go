package session

import (
	"context"
	"errors"
	"sync/atomic"
)

// errLoopPanic is the answer to a call on a session's loop that panicked.
var errLoopPanic = errors.New("panic on the session's loop")

// async runs work beside the session's loop and then, on the loop, then with the result of work. After a
// panic in work, then gets errPanic. The session is not gone before then has run.
func async[T any](s *Session, work func() (T, error), then func(T, error)) {
	s.jobs++
	go func() {
		var got T
		err := errPanic // unless work returns
		defer s.loop.Post(func() {
			s.jobs--
			then(got, err)
			s.finish()
		})
		defer func() {
			if v := recover(); v != nil {
				s.onPanic(v)
			}
		}()
		got, err = work()
	}()
}

// asyncErr is async for work without a result.
func asyncErr(s *Session, work func() error, then func(error)) {
	async(s, func() (struct{}, error) { return struct{}{}, work() }, func(_ struct{}, err error) { then(err) })
}

// offLoop is async for work that cannot fail.
func (s *Session) offLoop(work, then func()) {
	asyncErr(s, func() error { work(); return nil }, func(error) { then() })
}

// callOn runs f on the session's loop and returns its result. After an error f did not run and will not run,
// except for errLoopPanic: f is either called in time or dropped, so that the caller's answer is never
// contradicted later.
func callOn[T any](ctx context.Context, s *Session, f func() T) (got T, err error) {
	var taken atomic.Bool // by the loop, which then runs f, or by the caller, who then gives up
	done := make(chan T, 1)
	s.loop.Post(func() {
		if taken.CompareAndSwap(false, true) {
			defer close(done) // after a panic without a result
			done <- f()
		}
	})
	select {
	case result, ok := <-done:
		return loopResult(result, ok)
	case <-ctx.Done():
	}
	if taken.CompareAndSwap(false, true) {
		return got, ctx.Err()
	}
	result, ok := <-done // f is running: it does not wait for anything
	return loopResult(result, ok)
}

func loopResult[T any](result T, ok bool) (T, error) {
	if !ok {
		return result, errLoopPanic
	}
	return result, nil
}
