package rest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// Limits of logins. A bcrypt hash takes about 60 ms of a core at the usual cost: correct passwords are
// cached, and failed logins are limited by address.
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
	users     map[string]string // bcrypt hashes by user; empty: every request is accepted
	dummyHash []byte            // compared for unknown users, so that they take as long
	key       []byte            // of digests
	hashing   chan struct{}     // has an element while a hash is computed

	mu       sync.Mutex
	verified map[[sha256.Size]byte]struct{} // digests of correct logins
	failures map[netip.Addr]*rate.Limiter
}

func newBasicAuth(users map[string]string) *basicAuth {
	d := &basicAuth{
		users: users, key: make([]byte, sha256.Size), hashing: make(chan struct{}, 1),
		verified: make(map[[sha256.Size]byte]struct{}), failures: make(map[netip.Addr]*rate.Limiter),
	}
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
	if d.isVerified(login) {
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
	select {
	case d.hashing <- struct{}{}:
		defer func() { <-d.hashing }()
	case <-ctx.Done():
		return errNoLogin
	}
	switch {
	case d.isVerified(login):
		return nil
	case !d.canTry(from):
		return errTooOften
	case !d.check(user, password):
		d.failed(from)
		return errNoLogin
	}
	d.addVerified(login)
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

func (d *basicAuth) isVerified(login [sha256.Size]byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.verified[login]
	return ok
}

func (d *basicAuth) addVerified(login [sha256.Size]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.verified) >= maxVerified { // with more users than that, passwords are hashed again
		clear(d.verified)
	}
	d.verified[login] = struct{}{}
}

// canTry reports whether an address is allowed another failure.
func (d *basicAuth) canTry(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.failures[from]
	return l == nil || l.Tokens() >= 1
}

func (d *basicAuth) failed(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.failures[from]
	if l == nil {
		if len(d.failures) >= maxAddresses {
			d.prune()
		}
		l = rate.NewLimiter(rate.Every(failureInterval), failureBurst)
		d.failures[from] = l
	}
	l.Allow()
}

// prune drops the addresses whose limiters are full again, or all addresses if none are, because memory is
// bounded. The caller holds mu.
func (d *basicAuth) prune() {
	for from, l := range d.failures {
		if l.Tokens() >= failureBurst {
			delete(d.failures, from)
		}
	}
	if len(d.failures) >= maxAddresses {
		clear(d.failures)
	}
}
