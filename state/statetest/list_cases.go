package statetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wcsgateway/state"
)

// Listing is the part of Node that lists the records of all pods.
type Listing interface {
	EachStream(ctx context.Context, q state.StreamQuery, yield func([]state.Listed) error) error
	EachSession(ctx context.Context, yield func([]state.Session) error) error
	Pods(ctx context.Context) ([]string, error)
}

// listed describes the results of EachStream, sorted.
func (n node) listed(q state.StreamQuery) []string {
	n.t.Helper()
	var all []string
	wantErr(n.t, n.EachStream(n.t.Context(), q, func(page []state.Listed) error {
		for _, l := range page {
			if l.Player == nil {
				all = append(all, fmt.Sprintf("%s publishes %s at %s", l.Stream.MediaID, l.Stream.Name, l.Stream.Owner.Pod))
				continue
			}
			all = append(all, fmt.Sprintf("%s plays %s of %q at %s", l.Player.MediaID, l.Player.Stream, l.Stream.MediaID, l.Player.Owner.Pod))
		}
		return nil
	}), nil)
	slices.Sort(all)
	return all
}

func testListStreams(p *pair) {
	p.a.claim(streamOf("cam", "m-cam"), nil)
	p.b.claim(streamOf("a b/{c}", "m-odd"), nil)
	for i, n := range []node{p.a, p.b} {
		n.addPlayer(playerOf("cam", fmt.Sprintf("p-%d", i)), nil)
	}
	native := playerOf("native", "p-native")
	native.Native = true
	p.b.addPlayer(native, nil)
	cam := "m-cam publishes cam at " + podA
	played := []string{`p-0 plays cam of "m-cam" at ` + podA, `p-1 plays cam of "m-cam" at ` + podB}
	lone := `p-native plays native of "" at ` + podB
	for _, tt := range []struct {
		q    state.StreamQuery
		want []string
	}{
		{state.StreamQuery{}, []string{cam, "m-odd publishes a b/{c} at " + podB, played[0], played[1], lone}},
		{state.StreamQuery{Name: "cam"}, []string{cam, played[0], played[1]}},
		{state.StreamQuery{Name: "native"}, []string{lone}},
		{state.StreamQuery{Name: "nobody"}, nil},
		{state.StreamQuery{MediaIDs: []string{"m-cam", "p-1", "nobody"}}, []string{cam, played[1]}},
	} {
		for _, n := range []node{p.a, p.b} {
			if got := n.listed(tt.q); !slices.Equal(got, tt.want) {
				p.t.Errorf("EachStream(%+v) = %q, want %q", tt.q, got, tt.want)
			}
		}
	}
	p.a.removePlayer(playerOf("cam", "p-0"))
	p.a.release(streamOf("cam", "m-cam"), nil, podB)
	if got, want := p.a.listed(state.StreamQuery{}), []string{"m-odd publishes a b/{c} at " + podB, `p-1 plays cam of "" at ` + podB, lone}; !slices.Equal(got, want) {
		p.t.Errorf("after the end: %q, want %q", got, want)
	}
	enough := errors.New("enough")
	err := p.a.EachStream(p.t.Context(), state.StreamQuery{}, func([]state.Listed) error { return enough })
	wantErr(p.t, err, enough)
}

// There are enough of them that an index is read in several pages.
func testListSessions(p *pair) {
	const each = 700
	for i := range each {
		for _, n := range []node{p.a, p.b} {
			n.PutSession(state.Session{ID: fmt.Sprintf("/%p/%d", n.Node, i), App: "defaultApp", ClientVersion: "2.0", CreatedAt: time.UnixMilli(1)})
		}
	}
	seen := make(map[string]int)
	await(p.t, "all sessions are listed", func() bool {
		clear(seen)
		wantErr(p.t, p.b.EachSession(p.t.Context(), func(page []state.Session) error {
			for _, s := range page {
				seen[s.ID]++
				if s.ClientVersion != "2.0" || s.Owner.Pod == "" {
					p.t.Fatalf("got %+v", s)
				}
			}
			return nil
		}), nil)
		return len(seen) == 2*each
	})
	for id, times := range seen {
		if times != 1 {
			p.t.Errorf("%s was yielded %d times", id, times)
		}
	}
	pods, err := p.a.Pods(p.t.Context())
	wantErr(p.t, err, nil)
	wantPods(p.t, pods, podA, podB)
}
