package gateway

import (
	"slices"
	"strings"
	"sync"
	"time"

	"wcsgateway/translate"
)

// roomWatch asks LiveKit who is in the rooms of this pod's streams: soon and often while a stream starts,
// every askInterval afterwards. Webhooks are faster, but may be late, lost or sent to nobody (design.md §1):
// everything learnt from one is also learnt here. A room is asked once, however many players it has.
type roomWatch struct {
	g     *Gateway
	slots chan struct{} // bounds how many rooms are asked at a time

	mu    sync.Mutex
	rooms map[translate.RoomName]*watchedRoom
}

type watchedRoom struct {
	name    translate.RoomName
	streams map[*stream]struct{}
	asked   int // times since the last stream came
	timer   *time.Timer

	// the timer's goroutine
	pause   time.Duration // after the turn, in a settled room
	strikes int
}

const (
	askInterval = 5 * time.Second
	askTimeout  = 2 * time.Second // of one call
	askParallel = 32
	strikesOut  = 2
	// A room's players on its publisher's pod have their turn one by one, as long as they are few. More of them are looked for in
	// LiveKit's list, at every listTurn-th turn, and the turns are a little longer apart, which makes up for that call.
	fewPlayers    = 6
	listTurn      = 12
	crowdInterval = askInterval + askInterval/listTurn
)

// askSoon are the pauses before the first times a room is asked for a new stream: media is up in 100 ms as a
// rule, and LiveKit knows the picture size within a second of it.
var askSoon = []time.Duration{
	300 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
	time.Second, time.Second, time.Second, time.Second,
}

func newRoomWatch(g *Gateway) *roomWatch {
	return &roomWatch{g: g, slots: make(chan struct{}, askParallel), rooms: make(map[translate.RoomName]*watchedRoom)}
}

// add watches the room for the stream and starts over with askSoon.
func (w *roomWatch) add(room translate.RoomName, st *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rooms[room]
	if r == nil {
		r = &watchedRoom{name: room, streams: make(map[*stream]struct{})}
		r.timer = time.AfterFunc(askSoon[0], func() { w.ask(r) })
		w.rooms[room] = r
	} else if r.asked > 0 && r.timer.Stop() {
		r.timer.Reset(askSoon[0])
	}
	r.asked = 0
	r.streams[st] = struct{}{}
}

func (w *roomWatch) remove(room translate.RoomName, st *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rooms[room]
	if r == nil {
		return
	}
	delete(r.streams, st)
	if len(r.streams) == 0 {
		r.timer.Stop()
		delete(w.rooms, room)
	}
}

// in gives this pod's streams in a room.
func (w *roomWatch) in(room translate.RoomName) []*stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rooms[room]
	if r == nil {
		return nil
	}
	all := make([]*stream, 0, len(r.streams))
	for st := range r.streams {
		all = append(all, st)
	}
	return all
}

// ask runs on the room's timer and sets it again.
func (w *roomWatch) ask(r *watchedRoom) {
	pause := time.Duration(-1) // the usual one
	defer func() { w.again(r, pause) }()
	defer w.g.recovered()
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-w.g.ctx.Done():
		return
	}
	streams, round := w.turn(r)
	for _, st := range streams {
		a, err := round.about(st)
		if err != nil {
			if w.strike(r, round, err) {
				pause = 0
			}
			return // the others would not fare better
		}
		st.sess.loop.Post(func() { st.onAsked(a) })
	}
	r.strikes = 0
}

// turn gives the streams to ask about, such that a settled room costs one call every askInterval. Asking the node about anybody tells,
// too, whether it lives, and LiveKit's list does not; a node that has died shall be noticed within 10 s (design.md §5), of which strikesOut
// times askTimeout pass after the turn. So every turn asks the node where the publisher is here. Where only players are, the list does
// for all: the publisher's pod notices.
func (w *roomWatch) turn(r *watchedRoom) ([]*stream, *askRound) {
	r.pause = askInterval
	all := w.in(r.name)
	w.mu.Lock()
	asked := r.asked
	w.mu.Unlock()
	round := newAskRound(w.g, r.name)
	if asked < len(askSoon) {
		return all, round
	}
	var players, others []*stream
	for _, st := range all {
		if !st.published && st.settled.Load() {
			players = append(players, st)
		} else {
			others = append(others, st)
		}
	}
	switch {
	case len(others) == 0:
		return players, round
	case len(players) > fewPlayers:
		r.pause = crowdInterval
		if asked%listTurn == 0 {
			return append(others, players...), round
		}
	case len(players) > 0 && asked%2 == 0:
		round.exact = true
		slices.SortFunc(players, func(a, b *stream) int { return strings.Compare(a.id, b.id) })
		return players[asked/2%len(players):][:1], round
	}
	return others, round
}

// strike counts that LiveKit's node does not answer for the room while the rest of LiveKit does. A node that was
// killed sends no webhook, and its participants stay in LiveKit's list (feasibility.md §3): the second time in a
// row, its streams are given up. again tells that the room is to be asked at once.
func (w *roomWatch) strike(r *watchedRoom, round *askRound, err error) (again bool) {
	w.g.log.Debug().Err(err).Str("room", string(r.name)).Msg("asking LiveKit about a room failed")
	if translate.KindOf(err) != translate.ErrKindUnavailable || !round.elsewhereAlive() {
		r.strikes = 0
		return false
	}
	r.strikes++
	if r.strikes < strikesOut {
		return true
	}
	streams := w.in(r.name)
	w.g.log.Error().Err(err).Str("room", string(r.name)).Int("streams", len(streams)).Msg("the LiveKit node of the room is dead")
	for _, st := range streams {
		st.sess.loop.Post(func() { st.lost(translate.EndShutdown) })
	}
	return false
}

// again sets the timer for the next time; a negative pause stands for the usual one.
func (w *roomWatch) again(r *watchedRoom, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rooms[r.name] != r || w.g.ctx.Err() != nil {
		return
	}
	if pause < 0 {
		r.asked++
		pause = r.pause
		if r.asked < len(askSoon) {
			pause = askSoon[r.asked]
		}
	}
	r.timer.Reset(pause)
}
