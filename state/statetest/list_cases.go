package statetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
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
func listed(t *testing.T, n Node, q state.StreamQuery) []string {
	t.Helper()
	var all []string
	must(t, n.EachStream(t.Context(), q, func(page []state.Listed) error {
		for _, l := range page {
			if l.Player == nil {
				all = append(all, fmt.Sprintf("%s publishes %s at %s", l.Stream.MediaID, l.Stream.Name, l.Stream.Owner.Pod))
				continue
			}
			all = append(all, fmt.Sprintf("%s plays %s of %q at %s", l.Player.MediaID, l.Player.Stream, l.Stream.MediaID, l.Player.Owner.Pod))
		}
		return nil
	}))
	slices.Sort(all)
	return all
}

func testListStreams(t *testing.T, p *pair) {
	must(t, p.a.ClaimStream(t.Context(), streamOf("cam", "m-cam")))
	must(t, p.b.ClaimStream(t.Context(), streamOf("a b/{c}", "m-odd")))
	for i, n := range []Node{p.a, p.b} {
		_, err := n.AddPlayer(t.Context(), playerOf("cam", fmt.Sprintf("p-%d", i)))
		must(t, err)
	}
	native := playerOf("native", "p-native")
	native.Native = true
	_, err := p.b.AddPlayer(t.Context(), native)
	must(t, err)
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
		for _, n := range []Node{p.a, p.b} {
			if got := listed(t, n, tt.q); !slices.Equal(got, tt.want) {
				t.Errorf("EachStream(%+v) = %q, want %q", tt.q, got, tt.want)
			}
		}
	}
	must(t, p.a.RemovePlayer(t.Context(), playerOf("cam", "p-0")))
	_, err = p.a.ReleaseStream(t.Context(), streamOf("cam", "m-cam"))
	must(t, err)
	if got, want := listed(t, p.a, state.StreamQuery{}), []string{"m-odd publishes a b/{c} at " + podB, `p-1 plays cam of "" at ` + podB, lone}; !slices.Equal(got, want) {
		t.Errorf("after the end: %q, want %q", got, want)
	}
	enough := errors.New("enough")
	err = p.a.EachStream(t.Context(), state.StreamQuery{}, func([]state.Listed) error { return enough })
	wantErr(t, err, enough)
}

// There are enough of them that an index is read in several pages.
func testListSessions(t *testing.T, p *pair) {
	const n = 700
	for i := range n {
		for _, node := range []Node{p.a, p.b} {
			node.PutSession(state.Session{ID: fmt.Sprintf("/%p/%d", node, i), App: "defaultApp", ClientVersion: "2.0", CreatedAt: time.UnixMilli(1)})
		}
	}
	seen := make(map[string]int)
	await(t, "all sessions are listed", func() bool {
		clear(seen)
		must(t, p.b.EachSession(t.Context(), func(page []state.Session) error {
			for _, s := range page {
				seen[s.ID]++
				if s.ClientVersion != "2.0" || s.Owner.Pod == "" {
					t.Fatalf("got %+v", s)
				}
			}
			return nil
		}))
		return len(seen) == 2*n
	})
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s was yielded %d times", id, times)
		}
	}
	pods, err := p.a.Pods(t.Context())
	must(t, err)
	slices.Sort(pods)
	if !slices.Equal(pods, []string{podA, podB}) {
		t.Errorf("pods %q", pods)
	}
}
