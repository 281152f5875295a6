package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// records collects the events of a run. It is safe for concurrent use.
type records struct {
	mu      sync.Mutex
	steps   map[string]step
	reasons map[failure]int // keys without Count
	values  map[string][]time.Duration
}

func newRecords() *records {
	return &records{steps: map[string]step{}, reasons: map[failure]int{}, values: map[string][]time.Duration{}}
}

func (r *records) start(name string) { r.count(name, step{Started: 1}) }
func (r *records) done(name string)  { r.count(name, step{Done: 1}) }

func (r *records) fail(name string, err error) {
	r.count(name, step{Failed: 1})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reasons[failure{Step: name, Info: reason(err)}]++
}

func (r *records) count(name string, more step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.steps[name]
	r.steps[name] = step{Name: name, Started: s.Started + more.Started, Done: s.Done + more.Done, Failed: s.Failed + more.Failed}
}

func (r *records) took(name string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[name] = append(r.values[name], d)
}

// failures returns the number of failures so far.
func (r *records) failures() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.steps {
		n += s.Failed
	}
	return n
}

// report returns the recorded events, in the order in which clients take the steps.
func (r *records) report() report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := report{Steps: []step{}, Latencies: []latency{}, Failures: []failure{}} // lists in JSON, not null
	for _, name := range steps() {
		if s, ok := r.steps[name]; ok {
			out.Steps = append(out.Steps, s)
		}
	}
	for _, name := range timings() {
		if values := r.values[name]; len(values) > 0 {
			out.Latencies = append(out.Latencies, newLatency(name, values))
		}
	}
	for f, n := range r.reasons {
		f.Count = n
		out.Failures = append(out.Failures, f)
	}
	slices.SortFunc(out.Failures, byCount)
	return out
}

// reason returns the text of an error without details that vary by connection, such as ports, so that equal
// failures count as one.
func reason(err error) string {
	var closed *websocket.CloseError
	var op *net.OpError
	switch {
	case errors.As(err, &closed):
		return fmt.Sprintf("socket closed with %d %s", closed.Code, closed.Text)
	case errors.As(err, &op):
		return fmt.Sprintf("%s: %v", op.Op, op.Err)
	}
	return err.Error()
}
