package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
)

// fakeUsageStore keeps each write.
type fakeUsageStore struct {
	mu          sync.Mutex
	fail        error
	writes      []map[state.UpstreamUse]int64
	transcripts []string
}

func (f *fakeUsageStore) AddTranscript(_ context.Context, app string, keep int, text []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.transcripts = append(f.transcripts, fmt.Sprintf("%s %d %s", app, keep, text))
	return f.fail
}

func (f *fakeUsageStore) CountUpstreamUse(_ context.Context, counts map[state.UpstreamUse]int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, counts)
	return f.fail
}

func (f *fakeUsageStore) take() []map[state.UpstreamUse]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.writes
	f.writes = nil
	return w
}

func TestCountsAreWrittenTogetherAndLostWithFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeUsageStore{}
		ls := NewLinks(Deps{Usage: store, Recovered: func() {}, Log: zerolog.Nop()})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { ls.Run(ctx) })
		call, session := state.UpstreamUse{App: "a", Upstream: "old", Command: "call"}, state.UpstreamUse{App: "a", Upstream: "old", ClientVersion: "2.0"}
		want := func(what string, counts ...map[state.UpstreamUse]int64) {
			t.Helper()
			synctest.Wait()
			got := store.take()
			if len(got) != len(counts) {
				t.Fatalf("%s: writes %v", what, got)
			}
			for i := range got {
				if !maps.Equal(got[i], counts[i]) {
					t.Errorf("%s: writes %v, want %v", what, got, counts)
				}
			}
		}
		for range 1000 {
			ls.usage.add(call)
		}
		ls.usage.add(session)
		time.Sleep(usageInterval - time.Millisecond)
		want("before the interval ends")
		time.Sleep(2 * time.Millisecond)
		want("after it", map[state.UpstreamUse]int64{call: 1000, session: 1})
		time.Sleep(10 * usageInterval)
		want("without use")

		store.fail = errors.New("redis is down")
		ls.usage.add(call)
		time.Sleep(usageInterval)
		want("while Redis is down", map[state.UpstreamUse]int64{call: 1})
		store.fail = nil
		ls.usage.add(session)
		cancel()
		running.Wait()
		want("at the end", map[state.UpstreamUse]int64{session: 1})
	})
}

func TestVersionsThatWaitAreBounded(t *testing.T) {
	store := &fakeUsageStore{}
	u := usage{store: store, log: zerolog.Nop(), counts: make(map[state.UpstreamUse]int64)}
	use := state.UpstreamUse{App: "a", Upstream: "old"}
	for i := range 10 * maxUses {
		use.ClientVersion = fmt.Sprint(i)
		u.add(use)
	}
	u.add(state.UpstreamUse{App: "a", Upstream: "old", Command: "call"})
	use.ClientVersion = "0"
	u.add(use)
	u.write(t.Context())
	counts := store.take()[0]
	if n := len(counts); n != maxUses+2 { // with other, and the command
		t.Errorf("%d counts waited", n)
	}
	if counts[use] != 2 {
		t.Errorf("a version that waited is counted %d times", counts[use])
	}
	use.ClientVersion = state.OtherVersion
	if counts[use] != 9*maxUses {
		t.Errorf("%d sessions of further versions", counts[use])
	}
}

func TestVersionOfClientIsShortText(t *testing.T) {
	for arg, want := range map[string]string{
		`{"clientVersion":"2.0.180"}`: "2.0.180", `{}`: "", `{"clientVersion":null}`: "", `{"clientVersion":2.5}`: "2.5",
		`{"clientVersion":"1.1.0_rc-2+b"}`: "1.1.0_rc-2+b", `{"clientVersion":"<b>"}`: "other", `{"clientVersion":"a\u001b[31m"}`: "other",
		`{"clientVersion":"123456789012345678901234567890123"}`: "other", `{"clientVersion":"ü"}`: "other", `{"clientVersion":["2"]}`: "",
	} {
		if got := client(t, arg, "192.0.2.1").Version(); got != want {
			t.Errorf("version of %s is %q, want %q", arg, got, want)
		}
	}
}
