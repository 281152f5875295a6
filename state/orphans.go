package state

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// orphanBatch is the number of a dead pod's records that are released together.
const orphanBatch = 128

// releaseAllOf releases all records in a dead owner's indexes that are still its own, streams and players
// first. It passes each to the handler, and returns their number.
func (r *Redis) releaseAllOf(ctx context.Context, dead Owner) (n int, err error) {
	steps := []struct {
		index   string
		release func(context.Context, Owner, []string) (orphans []Orphan, done []any, err error)
	}{
		{r.keys.index(dead), r.releaseEntries},
		{r.keys.sessions(dead), r.releaseSessions},
		{r.keys.rooms(dead), r.releaseRooms},
	}
	for _, step := range steps {
		for more := true; more; {
			var orphans []Orphan
			err := r.write(ctx, "release_orphans", func(ctx context.Context, _ Owner) error {
				names, err := r.client.SRandMemberN(ctx, step.index, orphanBatch).Result()
				if err != nil {
					return err
				}
				more = len(names) > 0
				if !more {
					return nil
				}
				var done []any
				orphans, done, err = step.release(ctx, dead, names)
				if len(done) > 0 {
					err = errors.Join(err, r.client.SRem(ctx, step.index, done...).Err())
				}
				return err
			})
			r.handOver(orphans) // also after a failure: these are released
			n += len(orphans)
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (r *Redis) handOver(orphans []Orphan) {
	if r.handlers.TakenOver == nil {
		return
	}
	for _, o := range orphans {
		r.handlers.TakenOver(o)
	}
}

// releaseEntries releases streams and players. It returns those that still existed, and the entries that are
// done.
func (r *Redis) releaseEntries(ctx context.Context, dead Owner, names []string) (orphans []Orphan, done []any, err error) {
	b := r.batch()
	type pending struct {
		entry  entry
		name   string
		record *run
		media  *run
	}
	var all []pending
	for _, name := range names {
		e, err := parseEntry(name)
		if err != nil {
			r.log.Warn().Err(err).Msg("unreadable entry of a dead pod")
			done = append(done, name)
			continue
		}
		p := pending{entry: e, name: name, media: r.addReleaseMedia(ctx, b, dead, e)}
		if e.kind == streamEntry {
			p.record = r.addRelease(ctx, b, dead, e, voidTTL)
		} else {
			p.record = r.addRemoval(ctx, b, dead, e)
		}
		all = append(all, p)
	}
	err = b.exec(ctx)
	for _, p := range all {
		status, rest, failed := p.record.reply()
		if failed != nil {
			continue
		}
		if p.media.cmd.Err() == nil {
			done = append(done, p.name)
		}
		if status != statusOK {
			continue
		}
		o, bad := orphanOf(dead, p.entry, rest)
		if bad != nil {
			r.log.Warn().Err(bad).Str("entry", p.name).Msg("unreadable record of a dead pod")
			continue
		}
		orphans = append(orphans, o)
	}
	return orphans, done, err
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
func (r *Redis) releaseSessions(ctx context.Context, dead Owner, names []string) (orphans []Orphan, done []any, err error) {
	b := r.batch()
	runs := make(map[string]*run)
	for _, name := range names {
		g, err := parseRegistration(name)
		if err != nil {
			r.log.Warn().Err(err).Msg("unreadable session of a dead pod")
			done = append(done, name)
			continue
		}
		runs[name] = r.addEnd(ctx, b, dead, g)
	}
	err = b.exec(ctx)
	for name, run := range runs {
		status, rest, failed := run.reply()
		if failed != nil {
			continue
		}
		done = append(done, name)
		if status != statusOK || rest[0] == "" {
			continue
		}
		s, bad := parseSession(rest[0])
		if bad != nil {
			r.log.Warn().Err(bad).Str("session", name).Msg("unreadable session of a dead pod")
			continue
		}
		orphans = append(orphans, Orphan{Session: &s})
	}
	return orphans, done, err
}
