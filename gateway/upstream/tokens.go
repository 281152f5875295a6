package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate/wcs"
)

// TokenStore records for all pods which server issued a token. It bounds the time of a call. The gateway's is
// state.Redis.
type TokenStore interface {
	// PutUpstreamTokens records tokens for state.UpstreamTokenTTL.
	PutUpstreamTokens(ctx context.Context, tokens []state.UpstreamToken) error
	// FindUpstreamToken returns what is recorded of a token, or state.ErrNotFound.
	FindUpstreamToken(ctx context.Context, h state.TokenHash) (state.UpstreamToken, error)
}

// Bounds of what is read of a spliced session.
const (
	// MaxToken is the size of the longest token of a server that is remembered, in bytes.
	MaxToken = 1024

	maxGreetings     = 16       // messages until the one with the token
	maxGreeting      = 16 << 10 // bytes of that one
	maxGreetingBytes = 64 << 10 // bytes until its end
	maxGreetingDepth = 200      // of its nesting
)

// greeting looks for the token in what a server sends at first.
type greeting struct {
	*assembler
	messages, bytes int // seen
}

func newGreeting() *greeting { return &greeting{assembler: newAssembler(maxGreeting)} }

// take looks at what the server has sent. done reports whether that was the last: the token, "" if there is
// none, is known.
func (g *greeting) take(b []byte) (token string, done bool) {
	g.bytes += len(b)
	for rest := b; len(rest) > 0; {
		n, _, ended := g.next(rest)
		rest = rest[n:]
		if !ended || !g.complete() {
			continue
		}
		g.messages++
		if !g.binary && g.length <= maxGreeting {
			if token, ok := tokenOf(g.text); ok {
				return token, true
			}
		}
		if g.messages == maxGreetings {
			return "", true
		}
	}
	return "", g.bytes > maxGreetingBytes
}

// tokenOf returns the token in a getUserData, "" without one. ok is false for another message.
func tokenOf(message []byte) (token string, ok bool) {
	if !bytes.Contains(message, []byte(wcs.NoteGetUserData)) || wcs.Deeper(message, maxGreetingDepth) {
		return "", false
	}
	m, err := wcs.Decode(message)
	if err != nil || m.Name != wcs.NoteGetUserData {
		return "", false
	}
	var user struct {
		AuthToken string `json:"authToken"`
	}
	_ = m.Bind(&user) // without a text as token there is none
	return user.AuthToken, true
}

// issued are the tokens that servers have issued to the spliced sessions of this pod. A token stays in the
// store for a while after its session, so that the client can reconnect.
type issued struct {
	wake  chan struct{} // has a value while tokens wait for the store
	again chan struct{} // has a value while all are to be written again

	mu      sync.Mutex
	links   map[state.TokenHash]*Link
	waiting map[state.TokenHash]state.UpstreamToken // for the store
}

func newIssued() *issued {
	return &issued{wake: make(chan struct{}, 1), again: make(chan struct{}, 1), links: make(map[state.TokenHash]*Link), waiting: make(map[state.TokenHash]state.UpstreamToken)}
}

const (
	maxWaitingTokens = 10_000 // beyond them a token is recorded at the next renewal
	maxTokens        = 256    // that are written at a time
	retryTokens      = time.Second
)

// add records the token of a link's session.
func (i *issued) add(h state.TokenHash, l *Link) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.links[h] = l
	i.wait(l.record(h))
	signal(i.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will be looked at
	}
}

// drop forgets a link that has ended. A server can have issued its token to a later session again.
func (i *issued) drop(h state.TokenHash, l *Link) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.links[h] == l {
		delete(i.links, h)
	}
}

// find returns the record of a token of this pod.
func (i *issued) find(h state.TokenHash) (t state.UpstreamToken, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	l := i.links[h]
	if l == nil {
		return t, false
	}
	return l.record(h), true
}

// wait needs mu.
func (i *issued) wait(t state.UpstreamToken) {
	if len(i.waiting) < maxWaitingTokens {
		i.waiting[t.Hash] = t
	}
}

// take returns the tokens that wait, or all. It holds the links up only while it copies the map of them.
func (i *issued) take(all bool) (tokens []state.UpstreamToken) {
	var links map[state.TokenHash]*Link
	i.mu.Lock()
	waiting := i.waiting
	i.waiting = make(map[state.TokenHash]state.UpstreamToken)
	if all {
		links = maps.Clone(i.links)
	}
	i.mu.Unlock()
	tokens = make([]state.UpstreamToken, 0, len(waiting)+len(links))
	for h, t := range waiting {
		if links[h] == nil {
			tokens = append(tokens, t)
		}
	}
	for h, l := range links {
		tokens = append(tokens, l.record(h))
	}
	return tokens
}

// keep lets tokens that could not be written wait for longer.
func (i *issued) keep(tokens []state.UpstreamToken) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range tokens {
		if _, later := i.waiting[t.Hash]; !later {
			i.wait(t)
		}
	}
}

// record is what is recorded of the link's token.
func (l *Link) record(h state.TokenHash) state.UpstreamToken {
	return state.UpstreamToken{Hash: h, Upstream: l.to.Name(), Server: l.to.Fingerprint(), App: l.app}
}

// greet looks for the token in what the server has sent. It needs mu.
func (l *Link) greet(b []byte) {
	if l.greeting == nil {
		return
	}
	token, done := l.greeting.take(b)
	if !done {
		return
	}
	l.greeting = nil
	if token != "" && len(token) <= MaxToken {
		l.token = sha256.Sum256([]byte(token))
		l.issued.add(l.token, l)
	}
}

// IssuedBy returns the server that issued a token to a spliced session of any pod, or state.ErrNotFound.
func (ls *Links) IssuedBy(ctx context.Context, token string) (state.UpstreamToken, error) {
	if ls.Tokens == nil || token == "" || len(token) > MaxToken {
		return state.UpstreamToken{}, state.ErrNotFound
	}
	h := sha256.Sum256([]byte(token))
	if t, ok := ls.issued.find(h); ok {
		return t, nil
	}
	return ls.Tokens.FindUpstreamToken(ctx, h)
}

// RenewTokens records the tokens of all spliced sessions again, because the store has lost its records.
func (ls *Links) RenewTokens() { signal(ls.issued.again) }

// KeepTokens records the tokens of spliced sessions for all pods until ctx is done.
func (ls *Links) KeepTokens(ctx context.Context) {
	defer ls.Recovered()
	renew := time.NewTicker(state.UpstreamTokenTTL / 2)
	defer renew.Stop()
	retry := time.NewTimer(retryTokens)
	defer retry.Stop()
	for {
		kept := true
		select {
		case <-ls.issued.wake:
			kept = ls.writeTokens(ctx, false)
		case <-retry.C:
			kept = ls.writeTokens(ctx, false)
		case <-renew.C:
			kept = ls.writeTokens(ctx, true)
		case <-ls.issued.again:
			kept = ls.writeTokens(ctx, true)
		case <-ctx.Done():
			ls.writeTokens(context.WithoutCancel(ctx), false)
			return
		}
		if !kept {
			retry.Reset(retryTokens)
		}
	}
}

// writeTokens writes the tokens that wait, or all, in parts. After a failure it keeps what was not written
// and returns false.
func (ls *Links) writeTokens(ctx context.Context, all bool) bool {
	for tokens := ls.issued.take(all); len(tokens) > 0; {
		part := tokens[:min(maxTokens, len(tokens))]
		if err := ls.Tokens.PutUpstreamTokens(ctx, part); err != nil {
			ls.issued.keep(tokens)
			ls.Log.Debug().Err(err).Int("tokens", len(tokens)).Msg("tokens of upstreams not recorded")
			return false
		}
		tokens = tokens[len(part):]
	}
	return true
}
