package state

import (
	"context"
	"encoding/json"
	"errors"
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
	dirty map[string]struct{}       // ids to be written
	gone  map[registration]struct{} // to be taken off
}

// remembered is a session without what the key says, small because there are tens of thousands.
type remembered struct {
	app       string
	tokenHash TokenHash
	created   int64 // Unix milliseconds
	version   unique.Handle[string]
	era       int32      // Session.Era
	tried     bool       // Redis may know it
	taken     bool       // by TakeSession
	tellEnd   bool       // Session.TellEnd
	kept      *keptParts // nil unless it is a kept session
}

// keptParts are what only a kept session has.
type keptParts struct {
	streams []SessionStream
	rooms   []SessionRoom
}

// remember drops what the key says.
func remember(s Session, tried, taken bool) remembered {
	m := remembered{app: s.App, tokenHash: s.TokenHash, created: s.CreatedAt.UnixMilli(), era: int32(s.Era), tried: tried,
		version: unique.Make(s.ClientVersion), taken: taken, tellEnd: s.TellEnd}
	if s.Kept {
		m.kept = &keptParts{s.Streams, s.Rooms}
	}
	return m
}

func (m remembered) session(id string) Session {
	s := Session{ID: id, App: m.app, TokenHash: m.tokenHash, CreatedAt: time.UnixMilli(m.created), ClientVersion: m.version.Value(), Era: int(m.era), TellEnd: m.tellEnd}
	if m.kept != nil {
		s.Kept, s.Streams, s.Rooms = true, m.kept.streams, m.kept.rooms
	}
	return s
}

func (m remembered) registration(id string) registration {
	r := registrationOf(id, m.tokenHash)
	r.final = m.taken || m.kept != nil
	return r
}

func (b *sessionBook) init() {
	b.wake = make(chan struct{}, 1)
	b.known = make(map[string]remembered)
	b.dirty = make(map[string]struct{})
	b.gone = make(map[registration]struct{})
}

func (b *sessionBook) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// PutSession registers a session, or registers it anew; a kept one that another pod has taken stays that pod's, and one that has ended
// stays ended. It does not wait for Redis.
func (r *Redis) PutSession(s Session) { r.sessions.put(s) }

// DropSession takes a session off the register. It does not wait for Redis.
func (r *Redis) DropSession(id string) { r.sessions.drop(id) }

func (b *sessionBook) put(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.known[s.ID]
	if was.taken && was.tokenHash != s.TokenHash {
		return // this pod has taken it again since, and who puts it does not know yet
	}
	b.replace(s.ID, remember(s, was.tried, was.taken))
	b.dirty[s.ID] = struct{}{}
	b.signal()
}

// replace notes a session. An earlier registration of it is still in the index.
func (b *sessionBook) replace(id string, by remembered) {
	if was, known := b.known[id]; known && was.tried && was.tokenHash != by.tokenHash {
		b.gone[was.registration(id)] = struct{}{}
		b.signal()
	}
	b.known[id] = by
}

func (b *sessionBook) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.known[id]
	if !known {
		return
	}
	delete(b.known, id)
	delete(b.dirty, id)
	if s.tried {
		b.gone[s.registration(id)] = struct{}{}
		b.signal()
	}
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
	return len(b.dirty)+len(b.gone) > 0
}

// take gives up to a batch of what is to be written and to be taken off.
func (b *sessionBook) take() (write []Session, remove []registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.dirty {
		if len(write) == sessionBatch {
			break
		}
		delete(b.dirty, id)
		s := b.known[id]
		s.tried = true
		b.known[id] = s
		write = append(write, s.session(id))
	}
	for r := range b.gone {
		if len(write)+len(remove) == sessionBatch {
			break
		}
		delete(b.gone, r)
		remove = append(remove, r)
	}
	if len(b.dirty)+len(b.gone) == 0 {
		b.dirty, b.gone = make(map[string]struct{}), make(map[registration]struct{}) // what was large does not shrink
	}
	return write, remove
}

// putBack has done again what was not done.
func (b *sessionBook) putBack(write []Session, remove []registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range write {
		if _, known := b.known[s.ID]; known {
			b.dirty[s.ID] = struct{}{}
		}
	}
	for _, r := range remove {
		b.gone[r] = struct{}{}
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
func (r *Redis) sendSessions(ctx context.Context, owner Owner, write []Session, remove []registration) error {
	if len(write) > 0 {
		names := make([]string, len(write))
		for i, s := range write {
			names[i] = s.registration().String()
		}
		if err := r.enlist(ctx, owner, r.keys.sessions(owner), names...); err != nil {
			return err
		}
	}
	b := r.batch()
	puts := make(map[*run]Session)
	for _, s := range write {
		s.Owner = owner
		record, err := json.Marshal(s)
		if err != nil {
			return err
		}
		g := s.registration()
		if s.Kept { // another pod may have taken it
			puts[b.run(ctx, r.scripts.putSession, []string{r.keys.session(s.ID)}, g.text(owner), s.Era, record, ms(r.cfg.RecordTTL))] = s
			continue
		}
		b.pipe.Set(ctx, r.keys.session(s.ID), g.value(owner, s.Era, record), r.cfg.RecordTTL)
	}
	var gone []any
	for _, g := range remove {
		r.addRemovalOfSession(ctx, b, owner, g)
		gone = append(gone, g.String())
	}
	if err := b.exec(ctx); err != nil {
		return err
	}
	for put, s := range puts {
		if status, _, err := put.reply(); err == nil && status == statusLost {
			r.sessions.forget(s)
			r.sessions.end(s) // which takes its name out of the index
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return r.client.SRem(ctx, r.keys.sessions(owner), gone...).Err()
}

func (r *Redis) addRemovalOfSession(ctx context.Context, b *batch, owner Owner, g registration) {
	if g.final {
		r.addEnd(ctx, b, owner, g)
		return
	}
	b.run(ctx, r.scripts.deleteOwned, []string{r.keys.session(g.id)}, g.text(owner))
}

func (r *Redis) addEnd(ctx context.Context, b *batch, owner Owner, g registration) *run {
	return b.run(ctx, r.scripts.endSession, []string{r.keys.session(g.id)}, g.text(owner), endedSession, ms(voidTTL))
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
