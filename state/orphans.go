package state

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
)

// orphanBatch is the number of a dead pod's records that are released together.
const orphanBatch = 128

// release is what a taker learned of one entry of a dead owner's indexes.
type release struct {
	entry  string
	done   bool // nothing is left of it: the entry can be removed
	orphan *Orphan
}

// releaseAllOf releases all records in a dead owner's indexes that are still its own, streams and players
// first. It passes each to the handler, and returns their number. An entry is removed from its index last: if
// a reply is lost, or this pod dies, the entry is released again, with the same result.
func (r *Redis) releaseAllOf(ctx context.Context, dead Owner) (n int, err error) {
	steps := []struct {
		index   string
		release func(context.Context, Owner, []string) ([]release, error)
	}{
		{r.keys.index(dead), r.releaseEntries},
		{r.keys.sessions(dead), r.releaseSessions},
		{r.keys.rooms(dead), r.releaseRooms},
	}
	for _, step := range steps {
		for more := true; more; {
			err := r.write(ctx, "release_orphans", func(ctx context.Context, _ Owner) error {
				names, err := r.client.SRandMemberN(ctx, step.index, orphanBatch).Result()
				if err != nil {
					return err
				}
				more = len(names) > 0
				if !more {
					r.handedOver.forget(step.index)
					return nil
				}
				released, err := step.release(ctx, dead, names)
				n += r.handOver(step.index, released) // also after a failure: these are released
				return errors.Join(err, r.removeReleased(ctx, step.index, released))
			})
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// handOver passes orphans to the handler, each once, and returns their number.
func (r *Redis) handOver(index string, released []release) (n int) {
	for _, e := range released {
		if e.orphan == nil || !r.handedOver.add(index, e.entry) {
			continue
		}
		n++
		if r.handlers.TakenOver != nil {
			r.handlers.TakenOver(*e.orphan)
		}
	}
	return n
}

// removeReleased removes the entries that are done from a dead owner's index.
func (r *Redis) removeReleased(ctx context.Context, index string, released []release) error {
	var done []any
	for _, e := range released {
		if e.done {
			done = append(done, e.entry)
		}
	}
	if len(done) == 0 {
		return nil
	}
	if err := r.client.SRem(ctx, index, done...).Err(); err != nil {
		return err
	}
	r.handedOver.remove(index, done)
	return nil
}

// handedOver has the entries of dead owners' indexes that were handed over and that Redis has not confirmed
// to be removed. Its size is bounded by those indexes.
type handedOver struct {
	mu      sync.Mutex
	entries map[string]map[string]struct{} // by index
}

// add reports whether the entry is new.
func (h *handedOver) add(index, entry string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.entries[index][entry]; known {
		return false
	}
	if h.entries == nil {
		h.entries = make(map[string]map[string]struct{})
	}
	if h.entries[index] == nil {
		h.entries[index] = make(map[string]struct{})
	}
	h.entries[index][entry] = struct{}{}
	return true
}

func (h *handedOver) remove(index string, entries []any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range entries {
		delete(h.entries[index], e.(string))
	}
}

// forget drops an index that is empty.
func (h *handedOver) forget(index string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.entries, index)
}

// releaseEntries releases streams and players. It returns what it learned of each also if it fails.
func (r *Redis) releaseEntries(ctx context.Context, dead Owner, names []string) (all []release, err error) {
	b := r.batch()
	type pending struct {
		entry  entry
		name   string
		record *run
		media  *run
	}
	var runs []pending
	for _, name := range names {
		e, err := parseEntry(name)
		if err != nil {
			r.log.Warn().Err(err).Msg("unreadable entry of a dead pod")
			all = append(all, release{entry: name, done: true})
			continue
		}
		p := pending{entry: e, name: name, media: r.addReleaseMedia(ctx, b, dead, e)}
		if e.kind == streamEntry {
			p.record = r.addRelease(ctx, b, dead, e, voidTTL, keepRecord)
		} else {
			p.record = r.addRemoval(ctx, b, dead, e, voidTTL)
		}
		runs = append(runs, p)
	}
	err = b.exec(ctx)
	for _, p := range runs {
		status, rest, failed := p.record.reply()
		if failed != nil {
			continue
		}
		one := release{entry: p.name, done: p.media.cmd.Err() == nil}
		if status == statusOK {
			o, bad := orphanOf(dead, p.entry, rest)
			if bad != nil {
				r.log.Warn().Err(bad).Str("entry", p.name).Msg("unreadable record of a dead pod")
			} else {
				one.orphan = &o
			}
		}
		all = append(all, one)
	}
	return all, err
}

// orphanOf parses the reply of the release of a stream, or of the removal of a player. The dead owner's own
// players are released as well and need no event.
func orphanOf(dead Owner, e entry, reply []string) (o Orphan, err error) {
	if e.kind == playerEntry {
		o.Player = new(Player)
		return o, json.Unmarshal([]byte(reply[0]), o.Player)
	}
	o.Stream = new(Stream)
	if err := json.Unmarshal([]byte(reply[0]), o.Stream); err != nil {
		return o, err
	}
	o.Pods, err = podsOf(slices.DeleteFunc(reply[1:], func(owner string) bool { return owner == dead.String() }))
	return o, err
}

// releaseSessions ends sessions, as releaseEntries releases streams and players.
func (r *Redis) releaseSessions(ctx context.Context, dead Owner, names []string) (all []release, err error) {
	b := r.batch()
	runs := make(map[string]*run)
	for _, name := range names {
		g, err := parseRegistration(name)
		if err != nil {
			r.log.Warn().Err(err).Msg("unreadable session of a dead pod")
			all = append(all, release{entry: name, done: true})
			continue
		}
		runs[name] = r.addEnd(ctx, b, dead, g, keepRecord)
	}
	err = b.exec(ctx)
	for name, run := range runs {
		status, rest, failed := run.reply()
		if failed != nil {
			continue
		}
		one := release{entry: name, done: true}
		if status == statusOK && rest[0] != "" {
			s, bad := parseSession(rest[0])
			if bad != nil {
				r.log.Warn().Err(bad).Str("session", name).Msg("unreadable session of a dead pod")
			} else {
				one.orphan = &Orphan{Session: &s}
			}
		}
		all = append(all, one)
	}
	return all, err
}
