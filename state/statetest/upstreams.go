package statetest

import (
	"context"

	"wcsgateway/state"
)

// PutUpstreamNames is state.Redis' method. The names do not expire.
func (p *Pod) PutUpstreamNames(ctx context.Context, names []state.UpstreamName) error {
	return p.call(ctx, "put_upstream_names", true, func() error {
		for _, n := range names {
			p.f.upstreamNames[n] = p.owner
		}
		return nil
	})
}

// DropUpstreamNames is state.Redis' method.
func (p *Pod) DropUpstreamNames(ctx context.Context, names []state.UpstreamName) error {
	return p.call(ctx, "drop_upstream_names", true, func() error {
		for _, n := range names {
			if p.f.upstreamNames[n] == p.owner {
				delete(p.f.upstreamNames, n)
			}
		}
		return nil
	})
}

// HasUpstreamName is state.Redis' method.
func (p *Pod) HasUpstreamName(ctx context.Context, n state.UpstreamName) (bool, error) {
	return call(ctx, p, "has_upstream_name", false, func() (bool, error) {
		_, has := p.f.upstreamNames[n]
		return has, nil
	})
}

// PutUpstreamTokens is state.Redis' method. The tokens do not expire.
func (p *Pod) PutUpstreamTokens(ctx context.Context, tokens []state.UpstreamToken) error {
	return p.call(ctx, "put_upstream_tokens", false, func() error {
		for _, t := range tokens {
			p.f.upstreamTokens[t.Hash] = t
		}
		return nil
	})
}

// FindUpstreamToken is state.Redis' method.
func (p *Pod) FindUpstreamToken(ctx context.Context, h state.TokenHash) (state.UpstreamToken, error) {
	return call(ctx, p, "find_upstream_token", false, func() (state.UpstreamToken, error) {
		t, found := p.f.upstreamTokens[h]
		if !found {
			return t, state.ErrNotFound
		}
		return t, nil
	})
}

func testUpstreamNames(p *pair) {
	one, other := state.UpstreamName{Upstream: "old", Name: "a:b {c}"}, state.UpstreamName{Upstream: "old:a", Name: "b {c}"}
	ctx := p.t.Context()
	want := func(n state.UpstreamName, want bool) {
		p.t.Helper()
		for _, pod := range []node{p.a, p.b} {
			if has, err := pod.HasUpstreamName(ctx, n); err != nil || has != want {
				p.t.Errorf("%+v is recorded: %v, %v", n, has, err)
			}
		}
	}
	want(one, false)
	wantErr(p.t, p.a.PutUpstreamNames(ctx, []state.UpstreamName{one}), nil)
	want(one, true)
	want(other, false)
	wantErr(p.t, p.b.DropUpstreamNames(ctx, []state.UpstreamName{one}), nil) // is not its own
	want(one, true)
	wantErr(p.t, p.b.PutUpstreamNames(ctx, []state.UpstreamName{one, other}), nil)
	wantErr(p.t, p.a.DropUpstreamNames(ctx, []state.UpstreamName{one}), nil) // not any more
	want(one, true)
	want(other, true)
	wantErr(p.t, p.b.DropUpstreamNames(ctx, []state.UpstreamName{one}), nil)
	want(one, false)
	want(other, true)
}

func testUpstreamTokens(p *pair) {
	ctx := p.t.Context()
	one := state.UpstreamToken{Hash: state.TokenHash{1}, Upstream: "old", Server: "0011", App: "an app"}
	other := state.UpstreamToken{Hash: state.TokenHash{2}, Upstream: "older", Server: "2233", App: "a+b"}
	_, err := p.a.FindUpstreamToken(ctx, one.Hash)
	wantErr(p.t, err, state.ErrNotFound)
	wantErr(p.t, p.a.PutUpstreamTokens(ctx, []state.UpstreamToken{one, other}), nil)
	moved := one
	moved.Upstream = "older"
	for _, want := range []state.UpstreamToken{one, other, moved} {
		if want == moved {
			wantErr(p.t, p.b.PutUpstreamTokens(ctx, []state.UpstreamToken{moved}), nil)
		}
		for _, pod := range []node{p.a, p.b} {
			if got, err := pod.FindUpstreamToken(ctx, want.Hash); err != nil || got != want {
				p.t.Errorf("recorded %+v, %v; want %+v", got, err, want)
			}
		}
	}
}
