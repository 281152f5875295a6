package reconcile

import (
	"context"

	"wcsgateway/translate"
)

// Observation is what LiveKit knows about a stream.
type Observation struct {
	Self        translate.Participant // the zero value if the list was enough
	SelfPresent bool

	// for a player
	Asked            translate.Identity    // its publisher
	Publisher        translate.Participant // set for native publishers only
	PublisherPresent bool
	PublisherMutes   translate.Mutes // as LiveKit's list has them
}

// round is one poll of a room. LiveKit's list is cheap, but served from storage: it is only used to confirm
// that nothing changed, with one call for all players. Media, sizes and departures are confirmed by the node
// that hosts the room, with one call for each participant concerned. The list does not need that node, so a
// round with a publisher also finds out whether the node is alive; a round with players only does not, but
// the publisher's pod does.
type round struct {
	deps Deps
	room translate.RoomName

	list    map[translate.Identity]translate.Mutes        // nil until it is needed
	fetched map[translate.Identity]*translate.Participant // nil for participants that are not in the room
}

func newRound(d Deps, room translate.RoomName) *round {
	return &round{deps: d, room: room, fetched: make(map[translate.Identity]*translate.Participant)}
}

func (r *round) observe(s Stream, publisher translate.Identity) (o Observation, err error) {
	if s.Published() || !s.Up() {
		o.Self, o.SelfPresent, err = r.fetch(s.Identity())
	} else {
		o.SelfPresent, err = r.present(s.Identity())
	}
	if err != nil || s.Published() {
		return o, err
	}
	o.Asked = publisher
	switch {
	case r.deps.Local(publisher): // its own stream notifies the players of its end
		o.PublisherPresent = true
	case publisher.Native(): // no pod reports its sizes and its end
		o.Publisher, o.PublisherPresent, err = r.fetch(publisher)
	default:
		o.PublisherPresent, err = r.present(publisher)
		o.PublisherMutes = r.list[publisher]
	}
	return o, err
}

// present reports whether a participant is in the room. If the list does not have it, the node is asked.
func (r *round) present(id translate.Identity) (bool, error) {
	if err := r.fetchList(); err != nil {
		return false, err
	}
	if _, ok := r.list[id]; ok {
		return true, nil
	}
	_, ok, err := r.fetch(id)
	return ok, err
}

func (r *round) fetchList() error {
	if r.list != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.deps.Context, callTimeout)
	defer cancel()
	all, err := r.deps.Rooms.Participants(ctx, r.room)
	if err != nil {
		return err
	}
	r.list = make(map[translate.Identity]translate.Mutes, len(all))
	for _, p := range all {
		r.list[p.Identity] = p.Mutes
	}
	return nil
}

// listed reports whether LiveKit answers calls that do not need the room's node.
func (r *round) listed() bool { return r.fetchList() == nil }

// fetch returns a participant as the room's node knows it, and whether it is in the room.
func (r *round) fetch(id translate.Identity) (translate.Participant, bool, error) {
	if p, ok := r.fetched[id]; ok {
		if p == nil {
			return translate.Participant{}, false, nil
		}
		return *p, true, nil
	}
	ctx, cancel := context.WithTimeout(r.deps.Context, callTimeout)
	defer cancel()
	p, err := r.deps.Rooms.Participant(ctx, r.room, id)
	switch {
	case translate.KindOf(err) == translate.ErrKindNotFound:
		r.fetched[id] = nil
		return translate.Participant{}, false, nil
	case err != nil:
		return translate.Participant{}, false, err
	}
	r.fetched[id] = &p
	return p, true, nil
}
