package rest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Limits of logins. A bcrypt hash takes about 60 ms of a core at the usual cost: correct passwords are
// cached, and failed logins are limited by address. A cached address is replaced after maxAddresses other
// failures, which take ten minutes: its limiter is full again after one.
const (
	failureBurst    = 10              // failures of an address in a row
	failureInterval = 6 * time.Second // until another failure is allowed
	maxAddresses    = 10_000          // addresses whose failures are stored
	maxVerified     = 1000            // cached logins
	maxPasswordSize = 72              // limit of bcrypt in bytes
)

// basicAuth authenticates users by HTTP Basic.
type basicAuth struct {
	// set once
	users     map[string]string   // bcrypt hashes by user; empty: every request is accepted
	dummyHash []byte              // compared for unknown users, so that they take as long
	key       []byte              // of digests
	hashing   *semaphore.Weighted // of one hash

	verified *lru.Cache[[sha256.Size]byte, struct{}] // digests of correct logins
	failures *lru.Cache[netip.Addr, *rate.Limiter]
}

func newBasicAuth(users map[string]string) *basicAuth {
	d := &basicAuth{users: users, key: make([]byte, sha256.Size), hashing: semaphore.NewWeighted(1)}
	d.verified, _ = lru.New[[sha256.Size]byte, struct{}](maxVerified) // fails only for a size of 0
	d.failures, _ = lru.New[netip.Addr, *rate.Limiter](maxAddresses)
	_, _ = rand.Read(d.key) // never fails since Go 1.24
	for _, hash := range users {
		d.dummyHash = []byte(hash) // any hash of the same cost
	}
	return d
}

// authenticate returns the user of a request, or "" if no users are configured. It fails with errNoLogin or
// errTooOften.
func (d *basicAuth) authenticate(r *http.Request, from netip.Addr) (user string, err error) {
	if len(d.users) == 0 {
		return "", nil
	}
	user, password, sent := r.BasicAuth()
	if !sent {
		return "", errNoLogin
	}
	login := d.digest(user, password)
	if _, verified := d.verified.Get(login); verified {
		return user, nil
	}
	if !d.canTry(from) { // reject without queueing
		return "", errTooOften
	}
	if err := d.verify(r.Context(), from, login, user, password); err != nil {
		return "", err
	}
	return user, nil
}

// verify waits until no other hash is computed and then checks the password. It repeats the cheap checks
// first: queued attempts of an address whose failures are used up are rejected at once and do not delay the
// attempts behind them.
func (d *basicAuth) verify(ctx context.Context, from netip.Addr, login [sha256.Size]byte, user, password string) error {
	if d.hashing.Acquire(ctx, 1) != nil {
		return errNoLogin
	}
	defer d.hashing.Release(1)
	switch {
	case d.verified.Contains(login):
		return nil
	case !d.canTry(from):
		return errTooOften
	case !d.check(user, password):
		d.failed(from)
		return errNoLogin
	}
	d.verified.Add(login, struct{}{})
	return nil
}

// digest returns an HMAC of user and password under a key of this process.
func (d *basicAuth) digest(user, password string) (m [sha256.Size]byte) {
	h := hmac.New(sha256.New, d.key)
	_, _ = h.Write([]byte(user + "\x00" + password)) // never fails
	h.Sum(m[:0])
	return m
}

// check compares a password. It takes equally long for existing and unknown users.
func (d *basicAuth) check(user, password string) (correct bool) {
	hash, exists := d.users[user]
	if !exists {
		hash = string(d.dummyHash)
	}
	if len(password) > maxPasswordSize {
		password = ""
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && exists
}

// canTry reports whether an address is allowed another failure.
func (d *basicAuth) canTry(from netip.Addr) bool {
	l, known := d.failures.Peek(from)
	return !known || l.Tokens() >= 1
}

// failed counts a failure. Only one call runs at a time, while a hash is computed.
func (d *basicAuth) failed(from netip.Addr) {
	l, known := d.failures.Get(from)
	if !known {
		l = rate.NewLimiter(rate.Every(failureInterval), failureBurst)
		d.failures.Add(from, l)
	}
	l.Allow()
}
