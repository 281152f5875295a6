package session

import (
	"context"
	"fmt"
	"testing"

	"wcsgateway/state"
)

// adoptedStream is a store in which another pod has adopted a stream since it was found.
type adoptedStream struct{ Store }

func (adoptedStream) DisplaceStream(context.Context, state.Stream) ([]string, error) {
	return nil, fmt.Errorf("displace_stream: %w", state.ErrLostOwnership)
}

func TestAdoptedStreamIsNotCleanedUp(t *testing.T) {
	table := &Table{Env: &Env{Store: adoptedStream{}, TakenOver: func(o state.Orphan) { t.Errorf("cleaned up: %+v", o) }}}
	if err := table.evict(t.Context(), state.Stream{Name: "s"}); err != nil {
		t.Error(err)
	}
}
