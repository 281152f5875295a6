package state

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	sessionBatch      = 512                   // registrations sent together
	sessionBatchBytes = 1 << 20               // of their records; what exceeds it is sent with the next batch
	sessionWindow     = 20 * time.Millisecond // the time for which they are collected
	maxSessionRecord  = 64 << 10              // bytes; a larger record is written without memberships
	sessionTries      = 3                     // a session that failed alone so often is written after all others
)

// sessionWriter holds the pod's sessions and the changes that are not yet in Redis. Its size is bounded by
// the sessions that are open, or were written and not yet deleted.
type sessionWriter struct {
	wake chan struct{} // has a value while changes are pending

	mu       sync.Mutex
	version  string                    // of the last client
	known    map[string]*sessionEntry  // as pointers: a table of large values has much room that is not used
	dirty    map[string]struct{}       // ids to write
	limit    int                       // sessions in the next batch: fewer after a failed one
	failed   map[string]int            // by id: how often it could not be written although others could
	toDelete map[registration]struct{} // registrations to delete
}

// sessionEntry is a session without its id. It is compact because there are tens of thousands.
type sessionEntry struct {
	app        string
	tokenHash  TokenHash
	created    int64 // Unix milliseconds
	version    string
	generation int32        // Session.Generation
	written    bool         // can be in Redis
	taken      bool         // by TakeSession
	tellEnd    bool         // Session.TellEnd
	resume     *resumeParts // nil unless the session is resumable
	upstream   *SessionUpstream
}

// resumeParts are the fields of resumable sessions only.
type resumeParts struct {
	streams []SessionStream
	rooms   []SessionRoom
}

// newSessionEntry returns the compact form of s.
func newSessionEntry(s *Session, written, taken bool) *sessionEntry {
	m := &sessionEntry{app: s.App, tokenHash: s.TokenHash, created: s.CreatedAt.UnixMilli(), generation: int32(s.Generation), written: written,
		version: s.ClientVersion, taken: taken, tellEnd: s.TellEnd}
	if s.Resumable {
		m.resume = &resumeParts{s.Streams, s.Rooms}
	}
	return m
}

func (m *sessionEntry) session(id string) Session {
	s := Session{ID: id, App: m.app, TokenHash: m.tokenHash, CreatedAt: time.UnixMilli(m.created), ClientVersion: m.version, Generation: int(m.generation), TellEnd: m.tellEnd, Upstream: m.upstream}
	if m.resume != nil {
		s.Resumable, s.Streams, s.Rooms = true, m.resume.streams, m.resume.rooms
	}
	return s
}

func (m *sessionEntry) registration(id string) registration {
	r := registrationOf(id, m.tokenHash)
	r.final = m.taken || m.resume != nil
	return r
}

func (b *sessionWriter) init() {
	b.wake = make(chan struct{}, 1)
	b.known = make(map[string]*sessionEntry)
	b.dirty = make(map[string]struct{})
	b.limit, b.failed = sessionBatch, make(map[string]int)
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
func (r *Redis) PutSession(s Session) { r.sessions.put(&s) }

// DropSession removes a session from the register. It does not wait for Redis.
func (r *Redis) DropSession(id string) { r.sessions.drop(id) }

func (b *sessionWriter) put(s *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := cmp.Or(b.known[s.ID], &sessionEntry{})
	if was.taken && was.tokenHash != s.TokenHash {
		return // stale: this pod has taken the session again since
	}
	entry := newSessionEntry(s, was.written, was.taken)
	if was.tokenHash == s.TokenHash {
		entry.upstream = was.upstream
	}
	if entry.version == b.version {
		entry.version = b.version // most clients have the same one, which then takes memory once
	}
	b.version = entry.version
	b.replace(s.ID, entry)
	b.dirty[s.ID] = struct{}{}
	b.signal()
}

// PutUpstream adds an upstream to the registration of a session of this pod, or removes it with nil. A
// session with another token is not changed. It does not wait for Redis.
func (r *Redis) PutUpstream(id string, h TokenHash, u *SessionUpstream) {
	r.sessions.putUpstream(id, h, u)
}

func (b *sessionWriter) putUpstream(id string, h TokenHash, u *SessionUpstream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.known[id]
	if !known || s.tokenHash != h {
		return
	}
	s.upstream = u
	b.dirty[id] = struct{}{}
	b.signal()
}

// replace sets the entry of a session. An earlier registration of it is still in the index.
func (b *sessionWriter) replace(id string, by *sessionEntry) {
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
	delete(b.failed, id)
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

// nextBatch returns up to a batch of sessions to write and registrations to delete. A session that has failed
// too often is in a batch of its own, when there is nothing else.
func (b *sessionWriter) nextBatch() (write []Session, remove []registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	write = make([]Session, 0, min(len(b.dirty), b.limit))
	for id := range ordered(b.dirty, strings.Compare) {
		if len(write) == b.limit {
			break
		}
		if b.failed[id] < sessionTries {
			write = append(write, b.take(id))
		}
	}
	for r := range ordered(b.toDelete, registration.compare) {
		if len(write)+len(remove) == sessionBatch {
			break
		}
		delete(b.toDelete, r)
		remove = append(remove, r)
	}
	for id := range ordered(b.dirty, strings.Compare) {
		if len(write)+len(remove) > 0 {
			break
		}
		write = append(write, b.take(id))
	}
	if len(b.dirty)+len(b.toDelete) == 0 {
		b.dirty, b.toDelete = make(map[string]struct{}), make(map[registration]struct{}) // maps do not shrink
	}
	return write, remove
}

// ordered returns the keys of a map, those of a small one in order: a schedule of the model can then be
// repeated.
func ordered[K comparable](m map[K]struct{}, compare func(a, b K) int) iter.Seq[K] {
	if len(m) > sessionBatch {
		return maps.Keys(m)
	}
	return slices.Values(slices.SortedFunc(maps.Keys(m), compare))
}

// take needs mu.
func (b *sessionWriter) take(id string) Session {
	delete(b.dirty, id)
	s := b.known[id]
	s.written = true
	return s.session(id)
}

// wrote adapts the next batches to the result of one: half as many sessions after a failed one, until what
// fails is alone. It reports whether the only session that failed has now failed too often.
func (b *sessionWriter) wrote(written, unwritten []Session, err error) (tooOften bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.limit = min(2*b.limit, sessionBatch)
		for _, s := range written {
			delete(b.failed, s.ID)
		}
	case len(unwritten) > 1:
		b.limit = len(unwritten) / 2
	case len(unwritten) == 1:
		id := unwritten[0].ID
		if _, known := b.known[id]; known {
			b.failed[id]++
		}
		return b.failed[id] == sessionTries
	}
	return false
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
	var written []Session
	unwritten, remove := r.sessions.nextBatch()
	err := r.write(ctx, "write_sessions", func(ctx context.Context, owner Owner) (err error) {
		write, records := encodeSessions(owner, unwritten)
		r.sessions.requeue(unwritten[len(write):], nil)
		if unwritten, err = r.sendSessions(ctx, owner, write, records, remove); err == nil {
			written = write
		}
		return err
	})
	if err != nil {
		r.sessions.requeue(unwritten, remove)
	}
	if !errors.Is(err, ErrLeaseStale) && r.sessions.wrote(written, unwritten, err) {
		r.log.Warn().Err(err).Str("session", unwritten[0].ID).Msg("session cannot be registered")
	}
	return err
}

// encodeSessions returns the records of the first sessions that fit into a batch.
func encodeSessions(owner Owner, all []Session) (some []Session, records [][]byte) {
	bytes := 0
	for i := range all {
		all[i].Owner = owner
		record := encodeSession(all[i])
		if bytes += len(record); bytes > sessionBatchBytes && i > 0 {
			return all[:i], records
		}
		records = append(records, record)
	}
	return all, records
}

// encodeSession returns a session's record. One that is too large names only the rooms, whose memberships
// then end at a resume after the pod's death.
func encodeSession(s Session) []byte {
	record, _ := encode(s) // text, numbers and times: cannot fail
	if len(record) <= maxSessionRecord {
		return record
	}
	rooms := make([]SessionRoom, len(s.Rooms))
	for i, room := range s.Rooms {
		rooms[i].Name = room.Name
	}
	s.Rooms = rooms
	record, _ = encode(s)
	return record
}

// sendSessions lists new sessions in the index before it writes them, and removes old ones from it after it
// deleted them. It returns the sessions that were not written.
func (r *Redis) sendSessions(ctx context.Context, owner Owner, write []Session, records [][]byte, remove []registration) (unwritten []Session, err error) {
	if len(write) > 0 {
		names := make([]string, len(write))
		for i, s := range write {
			names[i] = s.registration().String()
		}
		if err := r.enlist(ctx, owner, r.keys.sessions(owner), unstamped, names...); err != nil {
			return write, err
		}
	}
	b := r.batch()
	puts := make([]*run, len(write))
	for i, s := range write {
		g := s.registration()
		puts[i] = b.run(ctx, r.scripts.putSession, []string{r.keys.session(s.ID)}, g.text(owner), s.Generation, records[i], ms(r.cfg.RecordTTL), s.Resumable)
	}
	var gone []string
	for _, g := range remove {
		r.addRemovalOfSession(ctx, b, owner, g)
		gone = append(gone, g.String())
	}
	err = b.exec(ctx)
	for i, put := range puts {
		s := write[i]
		// Without Resumable this life of the pod was taken over, and the next one registers the session again.
		switch status, _, failed := put.reply(); {
		case failed != nil:
			unwritten = append(unwritten, s)
		case status == statusLost && s.Resumable:
			r.sessions.forget(s)
			r.sessions.end(s) // removes its name from the index
		}
	}
	if err != nil || len(gone) == 0 {
		return unwritten, err
	}
	return nil, r.unlist(ctx, owner, r.keys.sessions(owner), r.stamp(0), gone...)
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

// headBytes of a session's value have its owner and claim.
const headBytes = 512

// FindSessionOf is FindSession for a session with a token. It reads a record only if the token fits, so that
// clients cannot have large records read with tokens that they invent.
func (r *Redis) FindSessionOf(ctx context.Context, id string, h TokenHash) (Session, error) {
	if _, err := r.headOf(ctx, id, h); err != nil {
		return Session{}, err
	}
	return r.FindSession(ctx, id)
}

// FindUpstream is FindSessionOf, but reads only the head of a record without an upstream. It then returns the
// session's id only.
func (r *Redis) FindUpstream(ctx context.Context, id string, h TokenHash) (Session, error) {
	head, err := r.headOf(ctx, id, h)
	if err != nil {
		return Session{}, err
	}
	if _, record, _ := strings.Cut(head, " "); !strings.HasPrefix(record, `{"upstream":`) {
		return Session{ID: id}, nil
	}
	return r.FindSession(ctx, id)
}

// headOf returns the head of the value of a session with a token, from the generation on.
func (r *Redis) headOf(ctx context.Context, id string, h TokenHash) (head string, err error) {
	err = r.query(ctx, "find_session", func(ctx context.Context) (err error) {
		head, err = r.client.GetRange(ctx, r.keys.session(id), 0, headBytes-1).Result()
		return err
	})
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(head, " ")
	head, ours := strings.CutPrefix(rest, registrationOf(id, h).claim+" ")
	if !ours {
		return "", ErrNotFound
	}
	return head, nil
}

// FindSession returns a registered session of any pod, or ErrNotFound.
func (r *Redis) FindSession(ctx context.Context, id string) (s Session, err error) {
	err = r.query(ctx, "find_session", func(ctx context.Context) error {
		value, err := r.client.Get(ctx, r.keys.session(id)).Result()
		if err != nil {
			return err
		}
		s, err = parseSession(value)
		return err
	})
	return s, err
}
