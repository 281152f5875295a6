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

// What logins may cost. A hash of bcrypt is slow on purpose, some 60 ms of a core at the usual cost, which is the gateway's: passwords that
// were right are remembered, and those that were wrong are limited by address.
const (
	failuresAtOnce  = 10
	failuresEvery   = 6 * time.Second // one more
	maxAddresses    = 10_000          // that are remembered for their failures
	maxKnown        = 1000            // right passwords that are remembered
	maxPasswordSize = 72              // of bcrypt, in bytes
)

// door lets users in by HTTP Basic.
type door struct {
	users map[string]string // bcrypt hashes; empty: everybody is let in
	decoy []byte            // is compared with for users that do not exist, so that they take as long
	key   []byte            // of known
	busy  chan struct{}     // has the one place for who calculates a hash

	mu       sync.Mutex
	known    map[[sha256.Size]byte]struct{} // HMACs of users with passwords that were right
	failures map[netip.Addr]*rate.Limiter
}

func newDoor(users map[string]string) *door {
	d := &door{
		users: users, key: make([]byte, sha256.Size), busy: make(chan struct{}, 1),
		known: make(map[[sha256.Size]byte]struct{}), failures: make(map[netip.Addr]*rate.Limiter),
	}
	_, _ = rand.Read(d.key) // never fails since Go 1.24
	for _, hash := range users {
		d.decoy = []byte(hash) // of the same cost; whom it belongs to does not matter
	}
	return d
}

// enter gives the user of a request, "" where nobody is asked. It fails with errNoLogin or errTooOften.
func (d *door) enter(r *http.Request, from netip.Addr) (user string, err error) {
	if len(d.users) == 0 {
		return "", nil
	}
	user, password, sent := r.BasicAuth()
	if !sent {
		return "", errNoLogin
	}
	login := d.mark(user, password)
	if d.remembers(login) {
		return user, nil
	}
	if !d.mayTry(from) { // without waiting for others
		return "", errTooOften
	}
	if err := d.try(r.Context(), from, login, user, password); err != nil {
		return "", err
	}
	return user, nil
}

// try hashes a password when it is its turn. What was found out meanwhile counts: of the attempts that an address has waiting, those after its
// last failure are refused at once, so that who waits behind them does not wait for long.
func (d *door) try(ctx context.Context, from netip.Addr, login [sha256.Size]byte, user, password string) error {
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return errNoLogin
	}
	switch {
	case d.remembers(login):
		return nil
	case !d.mayTry(from):
		return errTooOften
	case !d.check(user, password):
		d.failed(from)
		return errNoLogin
	}
	d.remember(login)
	return nil
}

// mark stands for a user with a password; it is of no use outside this process.
func (d *door) mark(user, password string) (m [sha256.Size]byte) {
	h := hmac.New(sha256.New, d.key)
	_, _ = h.Write([]byte(user + "\x00" + password)) // never fails
	h.Sum(m[:0])
	return m
}

// check compares a password, as slowly for users that do not exist as for those that do.
func (d *door) check(user, password string) (right bool) {
	hash, exists := d.users[user]
	if !exists {
		hash = string(d.decoy)
	}
	if len(password) > maxPasswordSize {
		password = ""
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && exists
}

func (d *door) remembers(login [sha256.Size]byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[login]
	return ok
}

func (d *door) remember(login [sha256.Size]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxKnown { // there are no more users than that, or their passwords would be hashed again
		clear(d.known)
	}
	d.known[login] = struct{}{}
}

// mayTry tells whether an address has any failures left.
func (d *door) mayTry(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.failures[from]
	return l == nil || l.Tokens() >= 1
}

func (d *door) failed(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.failures[from]
	if l == nil {
		if len(d.failures) >= maxAddresses {
			d.forget()
		}
		l = rate.NewLimiter(rate.Every(failuresEvery), failuresAtOnce)
		d.failures[from] = l
	}
	l.Allow()
}

// forget drops addresses that have all their failures again; if there are none, all, because memory is bounded. It needs mu.
func (d *door) forget() {
	for from, l := range d.failures {
		if l.Tokens() >= failuresAtOnce {
			delete(d.failures, from)
		}
	}
	if len(d.failures) >= maxAddresses {
		clear(d.failures)
	}
}
