package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"wcsgateway/translate"
)

// fakeEgress is LiveKit's egress API with an egress service, in memory. An egress changes its state only by
// become.
type fakeEgress struct {
	mu       sync.Mutex
	egresses map[string]*translate.Egress
	requests []translate.EgressRequest // by number of the id
	stopped  []string
	starting int
	polled   int
	fail     map[string]error         // by operation: start, stop, find
	hold     map[string]chan struct{} // an operation waits until its channel is closed
}

func newFakeEgress() *fakeEgress {
	return &fakeEgress{egresses: make(map[string]*translate.Egress), fail: make(map[string]error), hold: make(map[string]chan struct{})}
}

func egressError(op string, kind translate.ErrorKind) error {
	return &translate.Error{Kind: kind, Op: op, Err: errors.New("by the test")}
}

// enter begins an operation; the caller must leave with mu locked.
func (f *fakeEgress) enter(ctx context.Context, op string) error {
	f.mu.Lock()
	hold := f.hold[op]
	if op == "start" {
		f.starting++
		defer func() { f.starting-- }()
	}
	f.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			f.mu.Lock()
			return egressError(op, translate.ErrKindUnavailable)
		}
	}
	f.mu.Lock()
	return f.fail[op]
}

func (f *fakeEgress) StartEgress(ctx context.Context, r translate.EgressRequest) (translate.Egress, error) {
	err := f.enter(ctx, "start")
	defer f.mu.Unlock()
	if err != nil {
		return translate.Egress{}, err
	}
	return *f.begin(r), nil
}

// begin needs mu.
func (f *fakeEgress) begin(r translate.EgressRequest) *translate.Egress {
	e := &translate.Egress{ID: fmt.Sprintf("EG_%d", len(f.requests)), Kind: r.Kind, State: translate.EgressStarting, File: r.File}
	f.requests = append(f.requests, r)
	f.egresses[e.ID] = e
	return e
}

func (f *fakeEgress) StopEgress(ctx context.Context, id string) (translate.Egress, error) {
	err := f.enter(ctx, "stop")
	defer f.mu.Unlock()
	if err != nil {
		return translate.Egress{}, err
	}
	f.stopped = append(f.stopped, id)
	e := f.egresses[id]
	now := *e
	switch e.State {
	case translate.EgressStarting: // as the egress service does
		e.State, now.State = translate.EgressFailed, translate.EgressFailed
	case translate.EgressActive:
		e.State = translate.EgressComplete // a moment later
	}
	return now, nil
}

func (f *fakeEgress) FindEgress(ctx context.Context, r translate.EgressRequest, id string) (translate.Egress, error) {
	err := f.enter(ctx, "find")
	defer f.mu.Unlock()
	f.polled++
	if err != nil {
		return translate.Egress{}, err
	}
	for have, e := range f.egresses {
		var number int
		_, _ = fmt.Sscanf(have, "EG_%d", &number) // it is made so
		if have == id || id == "" && f.requests[number].Publisher == r.Publisher && e.Kind == r.Kind && !slices.Contains(r.Not, have) {
			return *e, nil
		}
	}
	return translate.Egress{}, egressError("find", translate.ErrKindNotFound)
}

// polls returns how often an egress was asked about.
func (f *fakeEgress) polls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polled
}

func (f *fakeEgress) ListEgresses(ctx context.Context) (all []translate.ListedEgress, err error) {
	err = f.enter(ctx, "list")
	defer f.mu.Unlock()
	for i, r := range f.requests {
		if e := f.egresses[fmt.Sprintf("EG_%d", i)]; !e.State.Over() {
			all = append(all, translate.ListedEgress{Egress: *e, Room: r.Room, Publisher: r.Publisher, Address: f.MaskRTMP(r.URL)})
		}
	}
	return all, err
}

// MaskRTMP masks the end, as LiveKit does.
func (f *fakeEgress) MaskRTMP(address string) string {
	i := strings.LastIndexByte(address, '/') + 1
	return address[:i] + "{" + address[i:min(i+3, len(address))] + "...}"
}

// set changes the fake under its lock.
func (f *fakeEgress) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// become changes the state of an egress without a webhook, and returns the event of that webhook.
func (f *fakeEgress) become(t *testing.T, id string, state translate.EgressState) translate.Event {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.egresses[id]
	if e == nil {
		t.Fatalf("no egress %s", id)
	}
	e.State = state
	var number int
	_, _ = fmt.Sscanf(id, "EG_%d", &number) // it is made so
	r := f.requests[number]
	return translate.Event{Kind: translate.EventEgress, Room: r.Room, Identity: r.Publisher, Egress: *e}
}

// requested returns the start requests.
func (f *fakeEgress) requested() []translate.EgressRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]translate.EgressRequest{}, f.requests...)
}

// stops returns the ids of the stopped egresses.
func (f *fakeEgress) stops() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.stopped...)
}
