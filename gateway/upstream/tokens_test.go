package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
)

// fakeTokenStore keeps tokens for all pods.
type fakeTokenStore struct {
	mu      sync.Mutex
	fail    error
	block   chan struct{} // not nil: a write waits for it
	tokens  map[state.TokenHash]state.UpstreamToken
	largest int // write
	writes  int
}

func (f *fakeTokenStore) PutUpstreamTokens(_ context.Context, tokens []state.UpstreamToken) error {
	f.mu.Lock()
	block := f.block
	f.mu.Unlock()
	if block != nil {
		<-block
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.fail != nil {
		return f.fail
	}
	f.largest = max(f.largest, len(tokens))
	for _, t := range tokens {
		f.tokens[t.Hash] = t
	}
	return nil
}

func (f *fakeTokenStore) FindUpstreamToken(_ context.Context, h state.TokenHash) (state.UpstreamToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, ok := f.tokens[h]; ok {
		return t, nil
	}
	return state.UpstreamToken{}, state.ErrNotFound
}

// set changes the store under its lock.
func (f *fakeTokenStore) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

// all returns the recorded tokens, and the number of writes since the last call.
func (f *fakeTokenStore) all() (hashes []state.TokenHash, writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	writes, f.writes = f.writes, 0
	return slices.Collect(maps.Keys(f.tokens)), writes
}

// keeping returns a Links that records tokens in a store until the end of the test.
func keeping(t *testing.T) (*Links, *fakeTokenStore) {
	t.Helper()
	store := &fakeTokenStore{tokens: make(map[state.TokenHash]state.UpstreamToken)}
	ls := NewLinks(Deps{Tokens: store, Recovered: func() {}, Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { ls.KeepTokens(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return ls, store
}

// linkTo returns a link that looks for its token, without connections.
func (ls *Links) linkTo(t *testing.T, name, url string) *Link {
	t.Helper()
	to, err := NewServer(ServerConfig{Name: name, URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return &Link{app: "shop", to: to, issued: ls.issued, greeting: newGreeting()}
}

func userData(token string) []byte {
	return frame(opText, true, 0, fmt.Appendf(nil, `{"message":"getUserData","data":[{"authToken":%q,"status":"ESTABLISHED"}]}`, token))
}

func TestTokenIsFoundInPiecesOfAnySize(t *testing.T) {
	text := `{"message":"getUserData","data":[{"custom":{"x":"<&>"},"authToken":"/a/b\u002dc"}]}`
	stream := slices.Concat(
		frame(opText, true, 0, []byte(`{"message":"getVersion","data":["getUserData"]}`)),
		frame(2, true, 0, []byte(text)), // binary
		frame(opText, false, 0, []byte(text[:20])), frame(9, true, 0, []byte("ping")), frame(0, true, 0, []byte(text[20:])),
		userData("second"),
	)
	for _, size := range []int{1, 3, 64, len(stream)} {
		g, found := newGreeting(), ""
		for part := range slices.Chunk(stream, size) {
			if token, done := g.take(part); done {
				found = token
				break
			}
		}
		if found != "/a/b-c" {
			t.Errorf("pieces of %d: token %q", size, found)
		}
	}
}

// What is read of a session is bounded, whatever the server sends.
func TestSearchForTokenEnds(t *testing.T) {
	endless := append([]byte{0x81, 127, 0, 0, 0, 0xff, 0, 0, 0, 0}, make([]byte, 4096)...)
	for name, tt := range map[string]struct {
		sent  []byte // again and again
		calls int
	}{
		"many messages":      {frame(opText, true, 0, []byte(`{"message":"ping"}`)), maxGreetings},
		"a message too long": {userData(strings.Repeat("x", maxGreeting)), maxGreetings},
		"a frame too long":   {endless, maxGreetingBytes/4096 + 1},
		"pings":              {frame(9, true, 0, make([]byte, 125)), maxGreetingBytes/127 + 1},
		"fragments":          {frame(0, false, 0, make([]byte, 4096)), maxGreetingBytes/4096 + 1},
		"no token":           {frame(opText, true, 0, []byte(`{"message":"getUserData","data":[{}]}`)), 1},
		"no text":            {frame(opText, true, 0, []byte(`{"message":"getUserData","data":[{"authToken":[1]}]}`)), 1},
		"no object":          {frame(opText, true, 0, []byte(`{"message":"getUserData","data":7}`)), 1},
		"garbage":            {frame(opText, true, 0, []byte(`getUserData {"message":"getUserData"`)), maxGreetings},
		"nesting":            {frame(opText, true, 0, []byte(`{"message":"getUserData","data":[`+strings.Repeat("[", 1000)+`]}`)), maxGreetings},
	} {
		g := newGreeting()
		for i := 1; ; i++ {
			token, done := g.take(tt.sent)
			if token != "" || i > tt.calls || len(g.text) > maxGreeting {
				t.Errorf("%s: token %q after %d calls, %d bytes kept", name, token, i, len(g.text))
				break
			}
			if done {
				break
			}
		}
	}
}

func TestTokenIsRecordedWhileItsSessionLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls, store := keeping(t)
		l := ls.linkTo(t, "old", "ws://old")
		l.greet(userData("secret"))
		l.greet(userData("another")) // is not looked at
		synctest.Wait()
		h := sha256.Sum256([]byte("secret"))
		want := state.UpstreamToken{Hash: h, Upstream: "old", Server: l.to.Fingerprint(), App: "shop"}
		got, err := store.FindUpstreamToken(t.Context(), h)
		if hashes, writes := store.all(); len(hashes) != 1 || got != want || err != nil || writes != 1 {
			t.Fatalf("recorded %+v, %v in %d writes", got, err, writes)
		}
		time.Sleep(2 * state.UpstreamTokenTTL)
		synctest.Wait()
		if _, writes := store.all(); writes != 4 {
			t.Errorf("renewed %d times in 20 min", writes)
		}
		store.set(func() { clear(store.tokens) })
		ls.RenewTokens()
		synctest.Wait()
		if hashes, _ := store.all(); len(hashes) != 1 {
			t.Error("the token is not recorded again")
		}

		ls.issued.drop(l.token, l)
		time.Sleep(2 * state.UpstreamTokenTTL)
		synctest.Wait()
		if hashes, writes := store.all(); len(hashes) != 1 || writes != 0 {
			t.Errorf("after the session: %d records, %d writes", len(hashes), writes)
		}
	})
}

func TestServerIsFoundByTokenOfAnyPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls, store := keeping(t)
		other := NewLinks(Deps{Tokens: store, Recovered: func() {}, Log: zerolog.Nop()})
		first, later := ls.linkTo(t, "old", "ws://old"), ls.linkTo(t, "old", "ws://old")
		first.greet(userData("secret"))
		later.greet(userData("secret")) // the client has reconnected
		ls.issued.drop(first.token, first)
		synctest.Wait()
		store.set(func() { store.fail = errors.New("away") })
		for pod, links := range map[string]*Links{"own": ls, "other": other} {
			if got, err := links.IssuedBy(t.Context(), "secret"); err != nil || got.Upstream != "old" || got.App != "shop" {
				t.Errorf("%s pod: %+v, %v", pod, got, err)
			}
			for _, token := range []string{"", "secret2", strings.Repeat("x", MaxToken+1)} {
				if got, err := links.IssuedBy(t.Context(), token); !errors.Is(err, state.ErrNotFound) {
					t.Errorf("%s pod: token %.10q is of %+v, %v", pod, token, got, err)
				}
			}
		}
		ls.linkTo(t, "old", "ws://old").greet(userData(strings.Repeat("x", MaxToken+1)))
		if n := len(ls.issued.take(true)); n != 1 {
			t.Errorf("%d tokens are known", n)
		}
	})
}

// A link adds its token while a write of others takes long, and is not held up.
func TestTokensThatCannotBeRecordedAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls, store := keeping(t)
		block := make(chan struct{})
		store.set(func() { store.fail, store.block = errors.New("away"), block })
		var links []*Link
		for i := range 3 * maxTokens {
			l := ls.linkTo(t, "old", "ws://old")
			l.greet(userData(fmt.Sprint(i)))
			links = append(links, l)
		}
		close(block)
		time.Sleep(4500 * time.Millisecond)
		if _, writes := store.all(); writes < 4 || writes > 8 {
			t.Errorf("%d attempts in 4.5 s", writes)
		}
		for _, l := range links[:maxTokens] { // their clients can reconnect
			ls.issued.drop(l.token, l)
		}
		store.set(func() { store.fail, store.block = nil, nil })
		time.Sleep(5 * time.Second)
		hashes, writes := store.all()
		store.set(func() {
			if len(hashes) != len(links) || writes != 3 || store.largest != maxTokens {
				t.Errorf("%d tokens are recorded in %d writes of at most %d", len(hashes), writes, store.largest)
			}
		})
	})
}

func TestWaitingTokensAreBounded(t *testing.T) {
	i := newIssued()
	l := &Link{to: new(Server)}
	for n := range maxWaitingTokens + 10 {
		i.add(sha256.Sum256(fmt.Append(nil, n)), l)
	}
	if waiting := i.take(false); len(waiting) != maxWaitingTokens {
		t.Errorf("%d tokens wait", len(waiting))
	}
	if all := i.take(true); len(all) != maxWaitingTokens+10 {
		t.Errorf("%d tokens are renewed", len(all))
	}
}

// Whatever a server sends, at most one message is kept, and the search ends.
func FuzzGreeting(f *testing.F) {
	f.Add(userData("token"), uint8(3))
	f.Add(slices.Concat(frame(opText, false, 7, []byte(`{"message":"getUser`)), frame(0, true, 9, []byte(`Data","data":[{"authToken":"x"}]}`))), uint8(1))
	f.Fuzz(func(t *testing.T, sent []byte, size uint8) {
		if len(sent) > maxGreetingBytes {
			return
		}
		g, whole := newGreeting(), newGreeting()
		want, _ := whole.take(sent)
		for part := range slices.Chunk(sent, int(size)+1) {
			token, done := g.take(part)
			if len(g.text) > maxGreeting {
				t.Errorf("%d bytes are kept", len(g.text))
			}
			if done {
				if token != want {
					t.Errorf("token %q, in one piece %q", token, want)
				}
				break
			}
		}
	})
}
