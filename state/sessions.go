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
	sessionBatch  = 512                   // registrations sent together
	sessionWindow = 20 * time.Millisecond // the time for which they are collected
)

// sessionWriter holds the pod's sessions and the changes that are not yet in Redis. Its size is bounded by
// the sessions that are open, or were written and not yet deleted.
type sessionWriter struct {
	wake chan struct{} // has a value while changes are pending

	mu       sync.Mutex
	known    map[string]sessionEntry
	dirty    map[string]struct{}       // ids to write
	toDelete map[registration]struct{} // registrations to delete
}

// sessionEntry is a session without its id. It is compact because there are tens of thousands.
type sessionEntry struct {
	app        string
	tokenHash  TokenHash
	created    int64 // Unix milliseconds
	version    unique.Handle[string]
	generation int32        // Session.Generation
	written    bool         // can be in Redis
	taken      bool         // by TakeSession
	tellEnd    bool         // Session.TellEnd
	resume     *resumeParts // nil unless the session is resumable
}

// resumeParts are the fields of resumable sessions only.
type resumeParts struct {
	streams []SessionStream
	rooms   []SessionRoom
}

// newSessionEntry returns the compact form of s.
func newSessionEntry(s Session, written, taken bool) sessionEntry {
	m := sessionEntry{app: s.App, tokenHash: s.TokenHash, created: s.CreatedAt.UnixMilli(), generation: int32(s.Generation), written: written,
		version: unique.Make(s.ClientVersion), taken: taken, tellEnd: s.TellEnd}
	if s.Resumable {
		m.resume = &resumeParts{s.Streams, s.Rooms}
	}
	return m
}

func (m sessionEntry) session(id string) Session {
	s := Session{ID: id, App: m.app, TokenHash: m.tokenHash, CreatedAt: time.UnixMilli(m.created), ClientVersion: m.version.Value(), Generation: int(m.generation), TellEnd: m.tellEnd}
	if m.resume != nil {
		s.Resumable, s.Streams, s.Rooms = true, m.resume.streams, m.resume.rooms
	}
	return s
}

func (m sessionEntry) registration(id string) registration {
	r := registrationOf(id, m.tokenHash)
	r.final = m.taken || m.resume != nil
	return r
}

func (b *sessionWriter) init() {
	b.wake = make(chan struct{}, 1)
	b.known = make(map[string]sessionEntry)
	b.dirty = make(map[string]struct{})
	b.toDelete = make(map[registration]struct{})
}

func (b *sessionWriter) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// PutSession registers a session, or updates its registration. A resumable session that another pod took
// stays that pod's, and an ended one stays ended. It does not wait for Redis.
func (r *Redis) PutSession(s Session) { r.sessions.put(s) }

// DropSession removes a session from the register. It does not wait for Redis.
func (r *Redis) DropSession(id string) { r.sessions.drop(id) }

func (b *sessionWriter) put(s Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.known[s.ID]
	if was.taken && was.tokenHash != s.TokenHash {
		return // stale: this pod has taken the session again since
	}
	b.replace(s.ID, newSessionEntry(s, was.written, was.taken))
	b.dirty[s.ID] = struct{}{}
	b.signal()
}

// replace sets the entry of a session. An earlier registration of it is still in the index.
func (b *sessionWriter) replace(id string, by sessionEntry) {
	if was, known := b.known[id]; known && was.written && was.tokenHash != by.tokenHash {
		b.toDelete[was.registration(id)] = struct{}{}
		b.signal()
	}
	b.known[id] = by
}

func (b *sessionWriter) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.known[id]
	if !known {
		return
	}
	delete(b.known, id)
	delete(b.dirty, id)
	if s.written {
		b.toDelete[s.registration(id)] = struct{}{}
		b.signal()
	}
}

// markAllDirty causes all sessions to be written again.
func (b *sessionWriter) markAllDirty() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.known {
		b.dirty[id] = struct{}{}
	}
	b.signal()
}

func (b *sessionWriter) pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.dirty)+len(b.toDelete) > 0
}

// nextBatch returns up to a batch of sessions to write and registrations to delete.
func (b *sessionWriter) nextBatch() (write []Session, remove []registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.dirty {
		if len(write) == sessionBatch {
			break
		}
		delete(b.dirty, id)
		s := b.known[id]
		s.written = true
		b.known[id] = s
		write = append(write, s.session(id))
	}
	for r := range b.toDelete {
		if len(write)+len(remove) == sessionBatch {
			break
		}
		delete(b.toDelete, r)
		remove = append(remove, r)
	}
	if len(b.dirty)+len(b.toDelete) == 0 {
		b.dirty, b.toDelete = make(map[string]struct{}), make(map[registration]struct{}) // maps do not shrink
	}
	return write, remove
}

// requeue queues the changes again that could not be made.
func (b *sessionWriter) requeue(write []Session, remove []registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range write {
		if _, known := b.known[s.ID]; known {
			b.dirty[s.ID] = struct{}{}
		}
	}
	for _, r := range remove {
		b.toDelete[r] = struct{}{}
	}
}

// writeSessions writes the changes until ctx is done. It sleeps while there are none.
func (r *Redis) writeSessions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.sessions.wake:
		}
		pause := sessionWindow
		for r.sessions.pending() {
			if !Sleep(ctx, pause) {
				return
			}
			pause = sessionWindow
			if err := r.writeSessionBatch(ctx); err != nil {
				pause = r.cfg.Lease / 16
			}
		}
	}
}

// flushSessions writes the pending changes, unless Redis does not answer.
func (r *Redis) flushSessions(ctx context.Context) {
	for r.sessions.pending() {
		if err := r.writeSessionBatch(ctx); err != nil {
			r.log.Warn().Err(err).Msg("sessions not registered before shutdown")
			return
		}
	}
}

func (r *Redis) writeSessionBatch(ctx context.Context) error {
	write, remove := r.sessions.nextBatch()
	err := r.write(ctx, "write_sessions", func(ctx context.Context, owner Owner) error {
		return r.sendSessions(ctx, owner, write, remove)
	})
	if err != nil {
		r.sessions.requeue(write, remove)
	}
	return err
}

// sendSessions lists new sessions in the index before it writes them, and removes old ones from it after it
// deleted them.
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
		resumable := ""
		if s.Resumable {
			resumable = "1"
		}
		puts[b.run(ctx, r.scripts.putSession, []string{r.keys.session(s.ID)}, g.text(owner), s.Generation, record, ms(r.cfg.RecordTTL), resumable)] = s
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
		// Without Resumable this life of the pod was taken over, and the next one registers the session again.
		if status, _, err := put.reply(); err == nil && status == statusLost && s.Resumable {
			r.sessions.forget(s)
			r.sessions.end(s) // removes its name from the index
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return r.client.SRem(ctx, r.keys.sessions(owner), gone...).Err()
}

func (r *Redis) addRemovalOfSession(ctx context.Context, b *batch, owner Owner, g registration) {
	if g.final {
		r.addEnd(ctx, b, owner, g, "")
		return
	}
	b.run(ctx, r.scripts.deleteOwned, []string{r.keys.session(g.id)}, g.text(owner))
}

// addEnd ends a session. keep is keepRecord or "".
func (r *Redis) addEnd(ctx context.Context, b *batch, owner Owner, g registration, keep string) *run {
	return b.run(ctx, r.scripts.endSession, []string{r.keys.session(g.id)}, g.text(owner), ms(voidTTL), keep)
}

// FindSession returns a registered session of any pod, or ErrNotFound.
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
