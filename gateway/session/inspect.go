package session

import (
	"context"

	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Inspector shows the inside of a Table to tests of the layers above, which drive sessions through sockets on
// two pods. The program does not use it.
type Inspector struct{ t *Table }

// Inspect returns the table's Inspector.
func (t *Table) Inspect() Inspector { return Inspector{t} }

// Players returns the participants of this pod's players of a stream, by media id.
func (i Inspector) Players(name string) map[string]translate.Identity {
	players := make(map[string]translate.Identity)
	for _, st := range i.t.streams.playersOf(name) {
		players[st.id] = st.identity
	}
	return players
}

// ID returns the session's public id, "" before the session is established.
func (i Inspector) ID(s *Session) string { return s.id }

// Closed reports whether the end of the session's socket is decided.
func (i Inspector) Closed(s *Session) bool { return s.conn.Ended() }

// OnLoop posts f to the loop of the session that has the participant. It reports whether there is one.
func (i Inspector) OnLoop(id translate.Identity, f func()) bool {
	st := i.t.streams.find(id)
	if st == nil {
		return false
	}
	st.sess.loop.Post(f)
	return true
}

// Timers returns the number of timers that a stream holds. Call it on the session's loop.
func (i Inspector) Timers(id translate.Identity) int { return len(i.t.streams.find(id).timers) }

// HandOver hands a session over to a pod that took the session with the given token.
func (i Inspector) HandOver(ctx context.Context, id string, token state.TokenHash, to string) (ok bool) {
	return i.t.handOver(ctx, id, handOverRequest{Was: token}, to) != nil
}

// RequestHandOver requests a session from its pod and returns the rooms that the pod names.
func (i Inspector) RequestHandOver(ctx context.Context, was state.Session) []state.SessionRoom {
	return i.t.requestHandOver(ctx, was).Rooms
}

// Evict takes a stream from a pod that does not reply.
func (i Inspector) Evict(ctx context.Context, old state.Stream) error { return i.t.evict(ctx, old) }

// LockMoves delays the adoption and release of a session's streams until unlock is called.
func (i Inspector) LockMoves(ctx context.Context, session string) (unlock func()) {
	return i.t.moving.Lock(ctx, session)
}

// DelayClose keeps the session from learning that its socket closes, until the returned function is called.
func (i Inspector) DelayClose(s *Session) (onClose func(socket.Reason)) {
	defer func(h socket.Handlers) { s.conn.Handlers = unclosed{h} }(s.conn.Handlers)
	return s.conn.OnClose
}

type unclosed struct{ socket.Handlers }

func (unclosed) OnClose(socket.Reason) {}
