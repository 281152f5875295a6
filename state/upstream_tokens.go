package state

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// UpstreamToken says which WCS server issued a token to a client of the deployment.
type UpstreamToken struct {
	Hash     TokenHash // of the token
	Upstream string    // the server's name
	Server   string    // identifies the server's address
	App      string    // the client's application
}

// UpstreamTokenTTL is how long PutUpstreamTokens records a token: a client can reconnect for so long, or for
// half of it, after its session has ended.
const UpstreamTokenTTL = 10 * time.Minute

// PutUpstreamTokens records tokens for UpstreamTokenTTL, or for so much longer.
func (r *Redis) PutUpstreamTokens(ctx context.Context, tokens []UpstreamToken) error {
	return r.read(ctx, "put_upstream_tokens", func(ctx context.Context) error {
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, t := range tokens {
				p.Set(ctx, r.keys.upstreamToken(t.Hash), t.text(), UpstreamTokenTTL) // Pipelined returns the error
			}
			return nil
		})
		return err
	})
}

// FindUpstreamToken returns what is recorded of a token, or ErrNotFound.
func (r *Redis) FindUpstreamToken(ctx context.Context, h TokenHash) (t UpstreamToken, err error) {
	err = r.query(ctx, "find_upstream_token", func(ctx context.Context) error {
		value, err := r.client.Get(ctx, r.keys.upstreamToken(h)).Result()
		if err != nil {
			return err
		}
		t, err = parseUpstreamToken(h, value)
		return err
	})
	return t, err
}

func (t UpstreamToken) text() string {
	return t.Upstream + " " + t.Server + " " + url.QueryEscape(t.App)
}

func parseUpstreamToken(h TokenHash, text string) (UpstreamToken, error) {
	words := strings.Split(text, " ")
	if len(words) != 3 {
		return UpstreamToken{}, ErrNotFound // another version wrote it
	}
	app, err := url.QueryUnescape(words[2])
	if err != nil {
		return UpstreamToken{}, ErrNotFound
	}
	return UpstreamToken{Hash: h, Upstream: words[0], Server: words[1], App: app}, nil
}
