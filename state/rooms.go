package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Room is a room of the room API (protocol.md §7). Each application has rooms of its own.
type Room struct {
	App  string `json:"app"`
	Name string `json:"name"`
}

// entry names the room in its members' owners' indexes and, as it has no braces, in keys.
func (r Room) entry() string { return url.QueryEscape(r.App) + "/" + url.QueryEscape(r.Name) }

func parseRoom(entry string) (r Room, err error) {
	app, name, ok := strings.Cut(entry, "/")
	if !ok {
		return r, fmt.Errorf("room %q", entry)
	}
	var bad error
	r.App, err = url.QueryUnescape(app)
	r.Name, bad = url.QueryUnescape(name)
	return r, errors.Join(err, bad)
}

// Member is somebody in a room. A room has one member of a login.
type Member struct {
	Login    string       `json:"login"`
	ID       string       `json:"id"`      // of this membership: whoever leaves and comes back has another
	Session  string       `json:"session"` // public session id
	JoinedAt time.Time    `json:"joinedAt"`
	Streams  []RoomStream `json:"streams,omitempty"` // that it publishes in the room
	Failed   []string     `json:"failed,omitempty"`  // media ids of the last streams that have failed
	Owner    Owner        `json:"owner"`             // set by the store
	// From is the owner that had the member before its session was taken over; only in RoomUpdate.
	From Owner `json:"-"`
}

// RoomStream is a stream that a member publishes in a room.
type RoomStream struct {
	Name    string `json:"name"`
	MediaID string `json:"mediaId"`
}

// SessionRoom is a room that a kept session is a member of.
type SessionRoom struct {
	Name   string   `json:"name"`
	Member Member   `json:"member"`
	Told   []Member `json:"told"`           // the room as the client was told
	Anew   bool     `json:"anew,omitempty"` // it may not have read anything of that
	// Doubt are logins of which the client may not have read what it was told last.
	Doubt []string `json:"doubt,omitempty"`
}

// RoomUpdate is what a pod has to say about its own members of a room.
type RoomUpdate struct {
	Room       Room
	Put        []Member // as they are now; others of its members stay as they are
	Remove     []Member // by Login and ID
	MaxMembers int      // of all pods, for those who come anew
}

// Outcome is what became of a member that was put.
type Outcome string

// Outcomes of a RoomUpdate.
const (
	OutcomeHad   Outcome = "had"   // it was in the room before
	OutcomeNew   Outcome = "new"   // it was not
	OutcomeTaken Outcome = "taken" // it is not in the room: another member has its login, or another pod has it
	OutcomeFull  Outcome = "full"  // it is not in the room: there are MaxMembers
)

// RoomState is a room after a RoomUpdate.
type RoomState struct {
	Members  []Member           // of all pods, in the order in which they have joined
	Changed  bool               // by the update
	Self     Owner              // who has made it
	Outcomes map[string]Outcome // of Put, by ID
}

// SyncRoom writes what a pod has to say about its own members of a room, and reads the room: in one step, so that all pods see the same
// changes in the same order. It may be repeated. It fails with ErrLostOwnership when this pod was taken over, ErrLeaseStale or
// ErrUnavailable; then it may have been done.
func (r *Redis) SyncRoom(ctx context.Context, u RoomUpdate) (s RoomState, err error) {
	err = r.write(ctx, "sync_room", func(ctx context.Context, owner Owner) error {
		args := []any{owner.String(), ms(r.cfg.RecordTTL), u.MaxMembers, len(u.Remove)}
		for _, m := range u.Remove {
			args = append(args, m.Login, m.ID)
		}
		for _, m := range u.Put {
			from := ""
			if m.From != (Owner{}) {
				from = m.From.String()
			}
			m.Owner = owner
			record, err := json.Marshal(m)
			if err != nil {
				return err
			}
			args = append(args, m.Login, m.ID, from, record)
		}
		if len(u.Put) > 0 {
			if err := r.enlist(ctx, owner, r.keys.rooms(owner), u.Room.entry()); err != nil {
				return err
			}
		}
		status, rest, err := r.script(ctx, r.scripts.syncRoom, []string{r.keys.members(u.Room), r.keys.roomVoid(u.Room, owner)}, args...)
		if err != nil {
			return err
		}
		if status != statusOK {
			return ErrLostOwnership
		}
		if s, err = parseRoomState(u.Put, rest); err != nil {
			return err
		}
		s.Self = owner
		if slices.ContainsFunc(s.Members, func(m Member) bool { return m.Owner == owner }) {
			return nil
		}
		return r.client.SRem(ctx, r.keys.rooms(owner), u.Room.entry()).Err()
	})
	return s, err
}

// parseRoomState reads what sync_room.lua gives.
func parseRoomState(put []Member, reply []string) (s RoomState, err error) {
	if len(reply) < 1+len(put) {
		return s, fmt.Errorf("room: reply of %d words", len(reply))
	}
	s = RoomState{Changed: reply[0] != "", Outcomes: make(map[string]Outcome, len(put))}
	for i, m := range put {
		s.Outcomes[m.ID] = Outcome(reply[1+i])
	}
	for _, value := range reply[1+len(put):] {
		var m Member
		fields := strings.SplitN(value, " ", 3) // owner, id, record
		if err := json.Unmarshal([]byte(fields[len(fields)-1]), &m); err != nil {
			return s, fmt.Errorf("member of a room: %w", err)
		}
		s.Members = append(s.Members, m)
	}
	SortMembers(s.Members)
	return s, nil
}

// SortMembers puts members into the order in which they have joined.
func SortMembers(members []Member) {
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(a.JoinedAt.Compare(b.JoinedAt), strings.Compare(a.Login, b.Login))
	})
}

// releaseRooms takes a dead owner's members out of rooms, as releaseEntries does streams and players.
func (r *Redis) releaseRooms(ctx context.Context, dead Owner, names []string) (orphans []Orphan, done []any, err error) {
	b := r.batch()
	var rooms []Room
	var runs []*run
	for _, name := range names {
		room, err := parseRoom(name)
		if err != nil {
			r.log.Warn().Err(err).Msg("room of a dead pod not understood")
			done = append(done, name)
			continue
		}
		rooms = append(rooms, room)
		runs = append(runs, b.run(ctx, r.scripts.releaseRoom, []string{r.keys.members(room), r.keys.roomVoid(room, dead)}, dead.String(), ms(voidTTL)))
	}
	err = b.exec(ctx)
	for i, run := range runs {
		status, owners, failed := run.reply()
		if failed != nil {
			continue
		}
		done = append(done, rooms[i].entry())
		if status != statusOK {
			continue
		}
		pods, bad := podsOf(owners)
		if bad != nil {
			r.log.Warn().Err(bad).Str("room", rooms[i].Name).Msg("room of a dead pod not understood")
			continue
		}
		orphans = append(orphans, Orphan{Room: &rooms[i], Pods: pods})
	}
	return orphans, done, err
}
