package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDepartures bounds the departures that are kept of a room.
const maxDepartures = 200

// Room identifies a room of the room API. Each application has its own rooms.
type Room struct {
	App  string `json:"app"`
	Name string `json:"name"`
}

// entry identifies the room in the indexes of its members' owners and, as it has no braces, in keys.
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

// Member is a session in a room. A login can be in a room only once.
type Member struct {
	Login    string       `json:"login"`
	ID       string       `json:"id"`      // of this membership: a login that leaves and comes back has another ID
	Session  string       `json:"session"` // public session id
	JoinedAt time.Time    `json:"joinedAt"`
	Streams  []RoomStream `json:"streams,omitempty"` // that it publishes in the room
	Failed   []string     `json:"failed,omitempty"`  // media ids of its last streams that failed
	Owner    Owner        `json:"owner"`             // set by the store
	// From is the owner that had the member before its session was resumed; only in RoomUpdate.
	From Owner `json:"-"`
}

// RoomStream is a stream that a member publishes in a room.
type RoomStream struct {
	Name    string `json:"name"`
	MediaID string `json:"mediaId"`
}

// SessionRoom is a room that a resumable session is a member of.
type SessionRoom struct {
	Name   string `json:"name"`
	Member Member `json:"member"` // without Streams and Failed: the session's streams tell them
	// MissedFrom is until when the client has certainly received the room's events, MissedTo from when
	// nothing was sent to it. Zero means unknown, as for a session whose pod died.
	MissedFrom time.Time `json:"missedFrom,omitzero"`
	MissedTo   time.Time `json:"missedTo,omitzero"`
}

// Departure is a login that left a room. It may have joined again since.
type Departure struct {
	Login    string
	JoinedAt time.Time // of the earliest of its memberships that ended in the time for which departures are kept
	At       time.Time // when the last of them ended
}

// RoomUpdate is a pod's change to its own members of a room.
type RoomUpdate struct {
	Room           Room
	Put            []Member // their present state; the pod's other members stay as they are
	Remove         []Member // by Login and ID
	MaxMembers     int      // of all pods; limits new members only
	ReadDepartures bool     // fill RoomState.Departures
}

// Outcome is the result for one member of RoomUpdate.Put.
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
	Members  []Member           // of all pods, in the order in which they joined
	Changed  bool               // by the update
	Self     Owner              // the owner that made the update
	Outcomes map[string]Outcome // of Put, by ID

	// Departures are the last logins that left, oldest first: at most 200, of the last Config.DepartureTTL.
	Departures []Departure
	// DroppedUntil is the time of the latest departure that was dropped because there were more; zero if none
	// was.
	DroppedUntil time.Time
}

// SyncRoom changes a pod's own members of a room and reads the room in one step, so that all pods see the
// same changes in the same order. It can be repeated. It fails with ErrLostOwnership if this pod was taken
// over, or with ErrUnavailable; in these cases the change may have been made. It fails with ErrLeaseStale if
// nothing was sent.
func (r *Redis) SyncRoom(ctx context.Context, u RoomUpdate) (s RoomState, err error) {
	err = r.write(ctx, "sync_room", func(ctx context.Context, owner Owner) error {
		stamp := r.stamp(0)
		if len(u.Put) > 0 {
			if err := r.enlist(ctx, owner, r.keys.rooms(owner), stamp, u.Room.entry()); err != nil {
				return err
			}
		}
		keys := []string{r.keys.members(u.Room), r.keys.roomVoid(u.Room, owner), r.keys.departures(u.Room)}
		status, rest, err := r.script(ctx, r.scripts.syncRoom, keys, r.syncArgs(owner, u)...)
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
		return r.unlist(ctx, owner, r.keys.rooms(owner), stamp, u.Room.entry())
	})
	return s, err
}

// syncArgs returns the arguments of sync_room.lua.
func (r *Redis) syncArgs(owner Owner, u RoomUpdate) []any {
	args := []any{
		owner.String(), ms(r.cfg.RecordTTL), u.MaxMembers, time.Now().UnixMilli(), ms(r.cfg.DepartureTTL), maxDepartures, u.ReadDepartures, len(u.Remove),
	}
	for _, m := range u.Remove {
		args = append(args, m.Login, m.ID)
	}
	for _, m := range u.Put {
		from := ""
		if m.From != (Owner{}) {
			from = m.From.String()
		}
		m.Owner = owner
		args = append(args, m.Login, m.ID, from, asJSON{m})
	}
	return args
}

// parseRoomState reads the reply of sync_room.lua without its status.
func parseRoomState(put []Member, reply []string) (s RoomState, err error) {
	const fixed = 2 // words before the outcomes
	members := 0
	if len(reply) >= fixed {
		members, err = strconv.Atoi(reply[1])
	}
	if err != nil || len(reply) < fixed+len(put)+members {
		return s, fmt.Errorf("room: reply of %d words", len(reply))
	}
	s = RoomState{Changed: reply[0] != "", Outcomes: make(map[string]Outcome, len(put))}
	reply = reply[fixed:]
	for i, m := range put {
		s.Outcomes[m.ID] = Outcome(reply[i])
	}
	reply = reply[len(put):]
	for _, value := range reply[:members] {
		var m Member
		fields := strings.SplitN(value, " ", 3) // owner, id, record
		if err := json.Unmarshal([]byte(fields[len(fields)-1]), &m); err != nil {
			return s, fmt.Errorf("member of a room: %w", err)
		}
		s.Members = append(s.Members, m)
	}
	SortMembers(s.Members)
	return s, s.parseDepartures(reply[members:])
}

// parseDepartures reads pairs of login and value, as departures.lua describes them.
func (s *RoomState) parseDepartures(words []string) error {
	for pair := range slices.Chunk(words, 2) {
		at, joined, _ := strings.Cut(pair[1], " ")
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return fmt.Errorf("departure from a room: %w", err)
		}
		d := Departure{Login: pair[0], At: time.UnixMilli(n)}
		if d.Login == "" {
			s.DroppedUntil = d.At
			continue
		}
		if d.JoinedAt, err = time.Parse(time.RFC3339Nano, joined); err != nil {
			return fmt.Errorf("departure from a room: %w", err)
		}
		s.Departures = append(s.Departures, d)
	}
	SortDepartures(s.Departures)
	return nil
}

// SortDepartures sorts departures by time, oldest first.
func SortDepartures(all []Departure) {
	slices.SortFunc(all, func(a, b Departure) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Login, b.Login)) })
}

// SortMembers sorts members by the time at which they joined.
func SortMembers(members []Member) {
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(a.JoinedAt.Compare(b.JoinedAt), strings.Compare(a.Login, b.Login))
	})
}
