package state

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// listPage is the number of entries of an index that are read together.
const listPage = 256

// Listed is a published stream, or a player with the stream that it plays.
type Listed struct {
	Stream Stream  // zero for a player whose stream has no record
	Player *Player // nil: the entry is the published stream
}

// StreamQuery selects streams and players. The zero value selects all.
type StreamQuery struct {
	MediaIDs []string // any of these
	Name     string   // of the stream, published or played; ignored with MediaIDs
}

// EachStream yields the streams and players of the deployment in pages, whichever pod has them; those of dead
// pods until they are taken over. Streams that begin or end during the call can be missing. It returns
// yield's first error, or ErrUnavailable: then the listing is incomplete.
func (r *Redis) EachStream(ctx context.Context, q StreamQuery, yield func([]Listed) error) error {
	switch {
	case len(q.MediaIDs) > 0:
		return r.eachOf(ctx, q.MediaIDs, yield)
	case q.Name != "":
		return r.eachNamed(ctx, q.Name, yield)
	}
	return r.eachOwner(ctx, func(o Owner) error {
		return r.eachEntry(ctx, r.keys.index(o), func(names []string) error {
			var entries []ownedEntry
			for _, name := range names {
				if e, err := parseEntry(name); err == nil {
					entries = append(entries, ownedEntry{o, e})
				}
			}
			return r.yieldStreams(ctx, entries, yield)
		})
	})
}

// EachSession yields the sessions of the deployment, as EachStream does streams.
func (r *Redis) EachSession(ctx context.Context, yield func([]Session) error) error {
	return r.eachOwner(ctx, func(o Owner) error {
		return r.eachEntry(ctx, r.keys.sessions(o), func(names []string) error {
			page, err := r.readSessions(ctx, o, names)
			if err != nil || len(page) == 0 {
				return err
			}
			return yield(page)
		})
	})
}

// Pods returns the pods of the deployment that have a lease, each once. It fails with ErrUnavailable.
func (r *Redis) Pods(ctx context.Context) ([]string, error) {
	entries, err := r.listPods(ctx)
	owners := slices.Collect(maps.Keys(entries))
	var pods []string
	for i, l := range r.lookAtLeases(ctx, owners) {
		if l.left > 0 && !slices.Contains(pods, owners[i].Pod) {
			pods = append(pods, owners[i].Pod)
		}
	}
	return pods, err
}

func (r *Redis) eachOwner(ctx context.Context, do func(Owner) error) error {
	entries, err := r.listPods(ctx)
	if err != nil {
		return err
	}
	for o := range entries {
		if err := do(o); err != nil {
			return err
		}
	}
	return nil
}

// eachEntry reads an index, each entry once: Redis can return one twice while the index changes.
func (r *Redis) eachEntry(ctx context.Context, index string, do func([]string) error) error {
	seen, seed := make(map[uint64]struct{}), maphash.MakeSeed() // hashes, because there can be a hundred thousand entries
	for cursor := uint64(0); ; {
		var names []string
		err := r.read(ctx, "list", func(ctx context.Context) (err error) {
			names, cursor, err = r.scanIndex(ctx, index, cursor, listPage)
			return err
		})
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			h := maphash.String(seed, name)
			_, twice := seen[h]
			seen[h] = struct{}{}
			return twice
		})
		for page := range slices.Chunk(names, listPage) {
			if err := do(page); err != nil {
				return err
			}
		}
		if cursor == 0 {
			return nil
		}
	}
}

// scanIndex returns about n entries of an index from a cursor on, and the next cursor.
func (r *Redis) scanIndex(ctx context.Context, index string, cursor uint64, n int64) (names []string, next uint64, err error) {
	fields, next, err := r.client.HScan(ctx, index, cursor, "", n).Result()
	for pair := range slices.Chunk(fields, 2) { // entry and generation
		names = append(names, pair[0])
	}
	return names, next, err
}

// ownedEntry is an entry in the index of an owner.
type ownedEntry struct {
	owner Owner
	entry entry
}

// yieldStreams reads the records of entries and yields the existing ones: an index can list too much.
func (r *Redis) yieldStreams(ctx context.Context, entries []ownedEntry, yield func([]Listed) error) error {
	var page []Listed
	err := r.read(ctx, "list", func(ctx context.Context) error {
		b := r.batch()
		streams, players := make(map[string]*redis.StringCmd), make([]*redis.StringCmd, len(entries))
		for i, o := range entries {
			name := o.entry.stream
			if streams[name] == nil { // once for all players
				streams[name] = b.pipe.HGet(ctx, r.keys.record(name), "json")
			}
			if o.entry.kind == playerEntry {
				players[i] = b.pipe.HGet(ctx, r.keys.playersOf(name, o.owner), o.entry.claim())
			}
		}
		if err := b.exec(ctx); err != nil {
			return err
		}
		for i, o := range entries {
			l, err := readListed(o, streams[o.entry.stream].Val(), players[i])
			switch {
			case err == nil:
				page = append(page, l)
			case !errors.Is(err, ErrNotFound):
				r.log.Warn().Err(err).Str("entry", o.entry.String()).Msg("unreadable record")
			}
		}
		return nil
	})
	if err != nil || len(page) == 0 {
		return err
	}
	return yield(page)
}

// readListed parses the records of an entry: the stream's, and for a player the player's.
func readListed(o ownedEntry, stream string, player *redis.StringCmd) (l Listed, err error) {
	if err := unmarshalStream(stream, &l.Stream); err != nil {
		return l, err
	}
	if player == nil {
		if l.Stream.Owner != o.owner || entryOfStream(l.Stream) != o.entry {
			return l, ErrNotFound
		}
		return l, nil
	}
	if player.Val() == "" {
		return l, ErrNotFound
	}
	l.Player = new(Player)
	return l, json.Unmarshal([]byte(player.Val()), l.Player)
}

// eachOf yields the streams and players of media ids.
func (r *Redis) eachOf(ctx context.Context, media []string, yield func([]Listed) error) error {
	for ids := range slices.Chunk(media, listPage) {
		var entries []ownedEntry
		err := r.read(ctx, "list", func(ctx context.Context) error {
			b := r.batch()
			holders := make([]*redis.StringCmd, len(ids))
			for i, id := range ids {
				holders[i] = b.pipe.Get(ctx, r.keys.media(id))
			}
			if err := b.exec(ctx); err != nil {
				return err
			}
			for _, h := range holders {
				if o, ok := parseOwned(h.Val()); ok {
					entries = append(entries, o)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := r.yieldStreams(ctx, entries, yield); err != nil {
			return err
		}
	}
	return nil
}

// eachNamed yields the stream of a name and its players.
func (r *Redis) eachNamed(ctx context.Context, name string, yield func([]Listed) error) error {
	s, err := r.FindStream(ctx, name)
	switch {
	case err == nil:
		if err := yield([]Listed{{Stream: s}}); err != nil {
			return err
		}
	case !errors.Is(err, ErrNotFound):
		return err
	}
	var owners []string
	err = r.read(ctx, "list", func(ctx context.Context) (err error) {
		owners, err = r.client.SMembers(ctx, r.keys.players(name)).Result()
		return err
	})
	if err != nil {
		return err
	}
	for _, text := range owners {
		o, err := parseOwner(text)
		if err != nil {
			r.log.Warn().Err(err).Msg("unreadable owner of players")
			continue
		}
		if err := r.eachPlayer(ctx, o, name, s, yield); err != nil {
			return err
		}
	}
	return nil
}

// eachPlayer yields an owner's players of the stream name, with the stream's record.
func (r *Redis) eachPlayer(ctx context.Context, o Owner, name string, s Stream, yield func([]Listed) error) error {
	for cursor := uint64(0); ; {
		var page []Listed
		err := r.read(ctx, "list", func(ctx context.Context) error {
			fields, next, err := r.client.HScan(ctx, r.keys.playersOf(name, o), cursor, "", listPage).Result()
			if err != nil {
				return err
			}
			cursor = next
			for i := 1; i < len(fields); i += 2 { // claim, player, claim, player …
				var p Player
				if err := json.Unmarshal([]byte(fields[i]), &p); err != nil {
					r.log.Warn().Err(err).Msg("unreadable player")
					continue
				}
				page = append(page, Listed{Stream: s, Player: &p})
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(page) > 0 {
			if err := yield(page); err != nil {
				return err
			}
		}
		if cursor == 0 {
			return nil
		}
	}
}

func (r *Redis) readSessions(ctx context.Context, o Owner, names []string) (page []Session, err error) {
	err = r.read(ctx, "list", func(ctx context.Context) error {
		b := r.batch()
		values := make(map[registration]*redis.StringCmd, len(names))
		for _, name := range names {
			if g, err := parseRegistration(name); err == nil { // otherwise another version wrote it
				values[g] = b.pipe.Get(ctx, r.keys.session(g.id))
			}
		}
		if err := b.exec(ctx); err != nil {
			return err
		}
		for g, v := range values {
			if !strings.HasPrefix(v.Val(), g.text(o)) {
				continue // dropped or taken since
			}
			if s, err := parseSession(v.Val()); err == nil {
				page = append(page, s)
			}
		}
		return nil
	})
	return page, err
}
