package hybrid

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"

	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

// Tokens keeps the tokens of upstreams with their sessions, because a media socket of a session can reach any
// pod.
type Tokens interface {
	// PutUpstream replaces what is kept with the session that has an id and token; nil: nothing is kept. It does
	// not wait for Redis.
	PutUpstream(session string, h state.TokenHash, u *state.SessionUpstream)
	// FindUpstream returns the session that has an id and token, or state.ErrNotFound. Of a session without an
	// upstream it reads little, and returns the id only.
	FindUpstream(ctx context.Context, session string, h state.TokenHash) (state.Session, error)
	Names
}

// keepToken keeps the upstream's token with the session while there is a link and the client can have media
// sockets. It can be read only with the client's own token.
func (c *Client) keepToken() {
	if !c.media {
		return
	}
	var kept *state.SessionUpstream
	if c.link != nil && c.link.token != "" && len(c.link.token) <= upstream.MaxToken {
		to := c.app.Upstream
		kept = &state.SessionUpstream{Name: to.Name(), Server: to.Fingerprint(), Token: sealer(c.token).Seal(nil, nil, []byte(c.link.token), nil)}
	}
	c.all.Tokens.PutUpstream(c.id, sha256.Sum256([]byte(c.token)), kept)
}

// ErrToken is the fault of a token of an upstream that was not kept for a session.
var ErrToken = errors.New("the upstream's token is not of this session")

// OpenToken returns the upstream's token that is kept with the session of an authToken.
func OpenToken(kept *state.SessionUpstream, authToken string) (string, error) {
	token, err := sealer(authToken).Open(nil, nil, kept.Token, nil)
	if err != nil {
		return "", ErrToken
	}
	return string(token), nil
}

// sealer encrypts with a session's authToken.
func sealer(authToken string) cipher.AEAD {
	key := sha256.Sum256([]byte("token of upstream\x00" + authToken))
	block, _ := aes.NewCipher(key[:])              // fails only for another size of the key
	aead, _ := cipher.NewGCMWithRandomNonce(block) // fails only for another cipher than AES
	return aead
}
