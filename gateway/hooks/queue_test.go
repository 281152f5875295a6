package hooks

import "testing"

func sized(n int) Object { return Object{"x": make([]byte, n-1)} }

// blocked returns a queue whose first call does not end before the returned function is called.
func blocked(t *testing.T, budget *Budget) (q *Queue, release func()) {
	t.Helper()
	q = NewQueue(1, budget)
	started, hold := make(chan struct{}), make(chan struct{})
	if !q.Do(OnDataEvent, sized(10), false, func() { close(started); <-hold }) {
		t.Fatal("first call rejected")
	}
	receive(t, "first call", started)
	return q, func() {
		close(hold)
		eventually(t, "all bytes released", func() bool { return q.bytes.Load() == 0 })
	}
}

func TestQueueBoundsBytesOfSession(t *testing.T) {
	var budget Budget
	q, release := blocked(t, &budget)
	if !q.Do(OnDataEvent, sized(maxSessionBytes-10), false, func() {}) {
		t.Error("a call within the limit is rejected")
	}
	if q.Do(StreamStatusEvent, sized(1), false, func() {}) {
		t.Error("a call beyond the limit is accepted")
	}
	if !q.Do(ConnectionStatusEvent, sized(1), true, func() {}) {
		t.Error("a call at the end of the session is rejected")
	}
	if n := q.bytes.Load(); n != maxSessionBytes+1 || budget.bytes.Load() != n {
		t.Errorf("%d bytes of the session and %d of the application are queued", n, budget.bytes.Load())
	}
	release()
	if n := budget.bytes.Load(); n != 0 {
		t.Errorf("%d bytes of the application remain", n)
	}
	if !q.Do(OnDataEvent, sized(2*maxSessionBytes), false, func() {}) {
		t.Error("the only call is rejected for its size")
	}
	eventually(t, "all bytes released", func() bool { return q.bytes.Load() == 0 })
}

func TestQueueBoundsBytesOfApplication(t *testing.T) {
	var budget Budget
	q, release := blocked(t, &budget)
	defer release()
	budget.bytes.Add(maxAppBytes) // of other sessions
	if q.Do(OnDataEvent, sized(1), false, func() {}) {
		t.Error("a call beyond the application's limit is accepted")
	}
	other := NewQueue(1, &budget)
	if !other.Do(OnDataEvent, sized(1), false, func() {}) {
		t.Error("the first call of another session is rejected")
	}
	eventually(t, "all bytes released", func() bool { return other.bytes.Load() == 0 })
}

func TestQueueKeepsPlaceForEventsAndTeardown(t *testing.T) {
	q, release := blocked(t, new(Budget))
	defer release()
	fill := func(m Method, closing bool) (n int) {
		for q.Do(m, nil, closing, func() {}) {
			n++
		}
		return n
	}
	for _, step := range []struct {
		m       Method
		closing bool
		want    int
	}{
		{OnDataEvent, false, 2 * MaxClientCalls},
		{StreamStatusEvent, false, 2},
		{ConnectionStatusEvent, true, 3},
	} {
		if n := fill(step.m, step.closing); n != step.want {
			t.Errorf("%s (closing %v): %d calls accepted, want %d", step.m, step.closing, n, step.want)
		}
	}
}
