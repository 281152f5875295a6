package gateway

import "wcsgateway/translate"

// answers is what LiveKit says about a stream: about its own participant, and a player's publisher.
type answers struct {
	self      translate.Participant
	here      bool
	publisher translate.Participant
	there     bool
	mutes     translate.Mutes // of the publisher, as far as LiveKit has stored them
}

// askRound asks about the streams of one room once. LiveKit's list of a room is cheap, but shows what is stored: it serves for
// what goes on as it was, with one call for all players. What must be known, that is whether media is there, sizes, and
// that somebody has really gone, is asked of the node that has the room, once for each participant concerned.
type askRound struct {
	g    *Gateway
	room translate.RoomName

	exact  bool                                   // ask the node about players that are up, too
	list   map[translate.Identity]translate.Mutes // of who is there; nil until it was needed
	looked map[translate.Identity]*translate.Participant
}

func newAskRound(g *Gateway, room translate.RoomName) *askRound {
	return &askRound{g: g, room: room, looked: make(map[translate.Identity]*translate.Participant)}
}

func (r *askRound) about(st *stream) (a answers, err error) {
	if st.published || !st.settled.Load() || r.exact {
		a.self, a.here, err = r.look(st.identity)
	} else {
		a.here, err = r.stillThere(st.identity)
	}
	if err != nil || st.published {
		return a, err
	}
	publisher := st.publisher // does not change once the stream is watched
	switch {
	case r.g.streams.find(publisher) != nil: // its end is this pod's to tell
		a.there = true
	case publisher.Native(): // nobody tells us of its sizes and its end
		a.publisher, a.there, err = r.look(publisher)
	default:
		a.there, err = r.stillThere(publisher)
		a.mutes = r.list[publisher]
	}
	return a, err
}

// stillThere believes the list when it has the participant, and asks for it when not.
func (r *askRound) stillThere(id translate.Identity) (bool, error) {
	if err := r.getList(); err != nil {
		return false, err
	}
	if _, here := r.list[id]; here {
		return true, nil
	}
	_, here, err := r.look(id)
	return here, err
}

func (r *askRound) getList() error {
	if r.list != nil {
		return nil
	}
	ctx, cancel := r.g.withTimeout(askTimeout)
	defer cancel()
	all, err := r.g.deps.SFU.Participants(ctx, r.room)
	if err != nil {
		return err
	}
	r.list = make(map[translate.Identity]translate.Mutes, len(all))
	for _, p := range all {
		r.list[p.Identity] = p.Mutes
	}
	return nil
}

// elsewhereAlive tells whether LiveKit answers what does not need the room's node.
func (r *askRound) elsewhereAlive() bool { return r.getList() == nil }

// look asks for one participant.
func (r *askRound) look(id translate.Identity) (translate.Participant, bool, error) {
	if p, ok := r.looked[id]; ok {
		if p == nil {
			return translate.Participant{}, false, nil
		}
		return *p, true, nil
	}
	ctx, cancel := r.g.withTimeout(askTimeout)
	defer cancel()
	p, err := r.g.deps.SFU.Participant(ctx, r.room, id)
	switch {
	case translate.KindOf(err) == translate.ErrKindNotFound:
		r.looked[id] = nil
		return translate.Participant{}, false, nil
	case err != nil:
		return translate.Participant{}, false, err
	}
	r.looked[id] = &p
	return p, true, nil
}
