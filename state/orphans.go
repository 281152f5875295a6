package state

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
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
		index string
		add   func(context.Context, *batch, Owner, string) (pendingRelease, error)
	}{
		{r.keys.index(dead), r.addReleaseEntry},
		{r.keys.sessions(dead), r.addReleaseSession},
		{r.keys.rooms(dead), r.addReleaseRoom},
	}
	for _, step := range steps {
		for more := true; more; {
			err := r.write(ctx, "release_orphans", func(ctx context.Context, _ Owner) error {
				names, err := r.client.HRandField(ctx, step.index, orphanBatch).Result()
				if err != nil {
					return err
				}
				more = len(names) > 0
				if !more {
					r.handedOver.forget(step.index)
					return nil
				}
				released, err := r.releaseTogether(ctx, names, func(b *batch, name string) (pendingRelease, error) {
					return step.add(ctx, b, dead, name)
				})
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
	var done []string
	for _, e := range released {
		if e.done {
			done = append(done, e.entry)
		}
	}
	if len(done) == 0 {
		return nil
	}
	if err := r.client.HDel(ctx, index, done...).Err(); err != nil {
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

func (h *handedOver) remove(index string, entries []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range entries {
		delete(h.entries[index], e)
	}
}

// forget drops an index that is empty.
func (h *handedOver) forget(index string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.entries, index)
}

// pendingRelease is the release of an entry of a dead owner's index, as part of a batch.
type pendingRelease struct {
	entry  string
	run    *run
	media  *run                                  // the release of a media id; nil for other entries
	orphan func(reply []string) (*Orphan, error) // of run's reply; nil without an error: nothing was released
}

// releaseTogether releases entries of a dead owner's index. It returns what it learned of each also if it
// fails. An unreadable entry is done.
func (r *Redis) releaseTogether(ctx context.Context, names []string, add func(b *batch, name string) (pendingRelease, error)) (all []release, err error) {
	b := r.batch()
	var pending []pendingRelease
	for _, name := range names {
		p, err := add(b, name)
		if err != nil {
			r.log.Warn().Err(err).Msg("unreadable entry of a dead pod")
			all = append(all, release{entry: name, done: true})
			continue
		}
		p.entry = name
		pending = append(pending, p)
	}
	err = b.exec(ctx)
	for _, p := range pending {
		status, reply, failed := p.run.reply()
		if failed != nil {
			continue
		}
		one := release{entry: p.entry, done: p.media == nil || p.media.cmd.Err() == nil}
		if status == statusOK {
			if one.orphan, failed = p.orphan(reply); failed != nil {
				one.orphan = nil
				r.log.Warn().Err(failed).Str("entry", p.entry).Msg("unreadable record of a dead pod")
			}
		}
		all = append(all, one)
	}
	return all, err
}

// addReleaseEntry releases a stream or player.
func (r *Redis) addReleaseEntry(ctx context.Context, b *batch, dead Owner, name string) (p pendingRelease, err error) {
	e, err := parseEntry(name)
	if err != nil {
		return p, err
	}
	p.media = r.addReleaseMedia(ctx, b, dead, e)
	p.orphan = func(reply []string) (*Orphan, error) { return orphanOf(dead, e, reply) }
	if e.kind == streamEntry {
		p.run = r.addRelease(ctx, b, dead, e, voidTTL, keepForTaker)
	} else {
		p.run = r.addRemoval(ctx, b, dead, e, allGenerations, voidTTL)
	}
	return p, nil
}

// orphanOf parses the reply of the release of a stream, or of the removal of a player. The dead owner's own
// players are released as well and need no event.
func orphanOf(dead Owner, e entry, reply []string) (*Orphan, error) {
	if e.kind == playerEntry {
		o := &Orphan{Player: new(Player)}
		return o, json.Unmarshal([]byte(reply[0]), o.Player)
	}
	o := &Orphan{Stream: new(Stream)}
	if err := json.Unmarshal([]byte(reply[0]), o.Stream); err != nil {
		return nil, err
	}
	var err error
	o.Pods, err = podsOf(slices.DeleteFunc(reply[1:], func(owner string) bool { return owner == dead.String() }))
	return o, err
}

// addReleaseSession ends a session.
func (r *Redis) addReleaseSession(ctx context.Context, b *batch, dead Owner, name string) (p pendingRelease, err error) {
	g, err := parseRegistration(name)
	if err != nil {
		return p, err
	}
	return pendingRelease{run: r.addEnd(ctx, b, dead, g, keepRecord), orphan: func(reply []string) (*Orphan, error) {
		if reply[0] == "" {
			return nil, nil
		}
		s, err := parseSession(reply[0])
		return &Orphan{Session: &s}, err
	}}, nil
}

// addReleaseRoom takes the members of a dead owner out of a room.
func (r *Redis) addReleaseRoom(ctx context.Context, b *batch, dead Owner, name string) (p pendingRelease, err error) {
	room, err := parseRoom(name)
	if err != nil {
		return p, err
	}
	run := b.run(ctx, r.scripts.releaseRoom, []string{r.keys.members(room), r.keys.roomVoid(room, dead), r.keys.departures(room)},
		dead.String(), ms(voidTTL), time.Now().UnixMilli(), ms(r.cfg.DepartureTTL), maxDepartures)
	return pendingRelease{run: run, orphan: func(owners []string) (*Orphan, error) {
		pods, err := podsOf(owners)
		return &Orphan{Room: &room, Pods: pods}, err
	}}, nil
}
