package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/redis/go-redis/v9"
)

const (
	sessionBatch  = 512                   // registrations that go to Redis together
	sessionWindow = 20 * time.Millisecond // in which they are collected
)

// sessionBook remembers the pod's sessions and which of them Redis does not know as they are. It is bounded by the sessions that are
// open or were written and not yet deleted.
type sessionBook struct {
	wake chan struct{} // holds one when something is dirty

	mu    sync.Mutex
	known map[string]remembered
	dirty map[string]struct{} // ids to be written, or deleted when they are not known
}

// remembered is a session without what the key says, small because there are tens of thousands.
type remembered struct {
	app       string
	tokenHash TokenHash
	created   int64      // Unix milliseconds
	version   unique.Handle[string]
	tried     bool       // Redis may know it
	kept      *keptParts // nil unless it is a kept session
}

// keptParts are what only a kept session has.
type keptParts struct {
	streams []SessionStream
	rooms   []SessionRoom
}

// remember drops what the key says.
func remember(s Session, tried bool) remembered {
	m := remembered{app: s.App, tokenHash: s.TokenHash, created: s.CreatedAt.UnixMilli(), tried: tried, version: unique.Make(s.ClientVersion)}
	if s.Kept {
		m.kept = &keptParts{s.Streams, s.Rooms}
	}
	return m
}

func (m remembered) session(id string) Session {
	s := Session{ID: id, App: m.app, TokenHash: m.tokenHash, CreatedAt: time.UnixMilli(m.created), ClientVersion: m.version.Value()}
	if m.kept != nil {
		s.Kept, s.Streams, s.Rooms = true, m.kept.streams, m.kept.rooms
	}
	return s
}

func (b *sessionBook) init() {
	b.wake = make(chan struct{}, 1)
	b.known = make(map[string]remembered)
	b.dirty = make(map[string]struct{})
}

func (b *sessionBook) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// PutSession registers a session, or registers it anew; a kept one that another pod has taken stays that pod's. It does not
// wait for Redis.
func (r *Redis) PutSession(s Session) { r.sessions.put(s) }

// DropSession takes a session off the register. It does not wait for Redis.
func (r *Redis) DropSession(id string) { r.sessions.drop(id) }

func (b *sessionBook) put(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[s.ID] = remember(s, b.known[s.ID].tried)
	b.dirty[s.ID] = struct{}{}
	b.signal()
}

func (b *sessionBook) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.known[id]
	if !known {
		return
	}
	delete(b.known, id)
	if !s.tried {
		delete(b.dirty, id)
		return
	}
	b.dirty[id] = struct{}{}
	b.signal()
}

// again has all sessions written again.
func (b *sessionBook) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.known {
		b.dirty[id] = struct{}{}
	}
	b.signal()
}

func (b *sessionBook) pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.dirty) > 0
}

// take gives up to a batch of what is dirty: sessions to be written and ids to be deleted.
func (b *sessionBook) take() (write []Session, remove []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.dirty {
		if len(write)+len(remove) == sessionBatch {
			break
		}
		delete(b.dirty, id)
		s, known := b.known[id]
		if !known {
			remove = append(remove, id)
			continue
		}
		s.tried = true
		b.known[id] = s
		write = append(write, s.session(id))
	}
	if len(b.dirty) == 0 {
		b.dirty = make(map[string]struct{}) // one that was large does not shrink
	}
	return write, remove
}

// putBack makes dirty again what was not written.
func (b *sessionBook) putBack(write []Session, remove []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range write {
		b.dirty[s.ID] = struct{}{}
	}
	for _, id := range remove {
		b.dirty[id] = struct{}{}
	}
}

// writeSessions brings the register up to date until ctx is done. It sleeps while nothing changes.
func (r *Redis) writeSessions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.sessions.wake:
		}
		pause := sessionWindow
		for r.sessions.pending() {
			if !sleep(ctx, pause) {
				return
			}
			pause = sessionWindow
			if err := r.writeSessionBatch(ctx); err != nil {
				pause = r.cfg.Lease / 16
			}
		}
	}
}

// sleep tells whether the time passed before ctx was done.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// flushSessions writes what is pending, unless Redis does not answer.
func (r *Redis) flushSessions(ctx context.Context) {
	for r.sessions.pending() {
		if err := r.writeSessionBatch(ctx); err != nil {
			r.log.Warn().Err(err).Msg("sessions not registered before the end")
			return
		}
	}
}

func (r *Redis) writeSessionBatch(ctx context.Context) error {
	write, remove := r.sessions.take()
	err := r.write(ctx, "write_sessions", func(ctx context.Context, owner Owner) error {
		return r.sendSessions(ctx, owner, write, remove)
	})
	if err != nil {
		r.sessions.putBack(write, remove)
	}
	return err
}

// sendSessions names new sessions before they are written and forgets the names of old ones after they are deleted.
func (r *Redis) sendSessions(ctx context.Context, owner Owner, write []Session, remove []string) error {
	if len(write) > 0 {
		ids := make([]string, len(write))
		for i, s := range write {
			ids[i] = s.ID
		}
		if err := r.enlist(ctx, owner, r.keys.sessions(owner), ids...); err != nil {
			return err
		}
	}
	b := r.batch()
	for _, s := range write {
		s.Owner = owner
		value, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if s.Kept { // another pod may have taken it
			b.run(ctx, r.scripts.putOwned, []string{r.keys.session(s.ID)}, owner.String()+" ", value, ms(r.cfg.RecordTTL))
			continue
		}
		b.pipe.Set(ctx, r.keys.session(s.ID), owner.String()+" "+string(value), r.cfg.RecordTTL)
	}
	gone := make([]any, len(remove))
	for i, id := range remove {
		b.run(ctx, r.scripts.deleteOwned, []string{r.keys.session(id)}, owner.String()+" ")
		gone[i] = id
	}
	if err := b.exec(ctx); err != nil || len(gone) == 0 {
		return err
	}
	return r.client.SRem(ctx, r.keys.sessions(owner), gone...).Err()
}

// FindSession gives a registered session of any pod, or ErrNotFound.
func (r *Redis) FindSession(ctx context.Context, id string) (s Session, err error) {
	err = r.read(ctx, "find_session", func(ctx context.Context) error {
		value, err := r.client.Get(ctx, r.keys.session(id)).Result()
		if errors.Is(err, redis.Nil) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		s, err = parseSession(value)
		return err
	})
	return s, err
}

func parseSession(value string) (s Session, err error) {
	_, record, ok := strings.Cut(value, " ")
	if !ok {
		return Session{}, fmt.Errorf("session without owner")
	}
	err = json.Unmarshal([]byte(record), &s)
	return s, err
}
