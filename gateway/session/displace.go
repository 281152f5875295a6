package session

import (
	"context"
	"errors"
	"time"

	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Results of a liveness check. The first two are sent as replies.
const (
	clientAlive     = "alive" // the client answered
	clientReleased  = "gone"  // it did not answer; its session was closed, and what it held is released
	checkUnknown    = ""      // the pod does not have the client, or could not close the session in time
	checkUnanswered = "-"     // the pod has not replied
)

const (
	maxChecks     = 4                      // of a pod that does not reply: they last longer than the default lease of a dead one
	aliveWait     = 2 * time.Second        // a browser answers a ping even while the page's script is busy
	aliveOverhead = 500 * time.Millisecond // for the way to another pod and back, and for closing a dead client's session
	releaseWait   = 300 * time.Millisecond // until a dead client's streams are released, which takes about 10 ms
)

// displace frees a name that is claimed again by a client of the same application whose network dropped and
// whose old socket has not timed out yet. A publisher whose client answers is never displaced, nor one whose
// pod does not reply but lives: the event or its reply can have been lost. freed reports whether the name may
// be claimed.
func (t *Table) displace(ctx context.Context, st *stream) (freed bool, err error) {
	old, err := t.Store.FindStream(ctx, st.name)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return true, nil
	case err != nil:
		return false, err
	case old.App != st.sess.app.Key:
		return false, nil
	case old.Session == st.sess.id && t.streams.find(translate.Identity(old.Identity)) != nil:
		return false, nil // this client publishes it; if this pod no longer has the stream, its release is pending
	}
	request := state.Event{Kind: state.EventAliveCheck, Name: old.Name, Stream: &old}
	for asked := 1; ; asked++ {
		result := t.checkAlive(ctx, old.Owner.Pod, request)
		switch {
		case result == clientAlive:
			return false, nil
		case result == clientReleased:
			return true, nil
		case result == checkUnanswered && asked == 1: // the event or its reply can have been lost
			continue
		}
		dead, err := t.isDead(ctx, old, result)
		switch {
		case err != nil:
			return false, err
		case dead:
			old.TellEnd = old.TellEnd && result == checkUnanswered // a pod that replies notifies the backend itself
			return true, t.evict(ctx, old)
		case result != checkUnanswered || asked == maxChecks || ctx.Err() != nil:
			return false, nil
		}
	}
}

// isDead reports whether a stream may be taken from its pod, whose reply is known: it has no client any more,
// the pod's lease has ended, or its participant has gone or sends nothing. A stream whose session another pod
// has just taken is about to be adopted.
func (t *Table) isDead(ctx context.Context, old state.Stream, reply string) (bool, error) {
	kept, err := t.Sessions.FindSession(ctx, old.Session)
	if err == nil && kept.Owner != old.Owner || err != nil && !errors.Is(err, state.ErrNotFound) {
		return false, err
	}
	if reply == checkUnknown {
		return true, nil
	}
	if leased, err := t.Store.Leased(ctx, old.Owner); err != nil || !leased {
		return err == nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Config.Media.SFUTimeout)
	defer cancel()
	p, err := t.SFU.Participant(ctx, translate.RoomName(old.Room), translate.Identity(old.Identity))
	if translate.KindOf(err) == translate.ErrKindNotFound {
		return true, nil
	}
	return err == nil && (!p.Active || len(p.Tracks) == 0), err
}

// evict releases a stream of a pod that is dead or does not have it, and does all that its own pod would have
// done at its end.
func (t *Table) evict(ctx context.Context, old state.Stream) error {
	t.Log.Warn().Str("room", old.Room).Str("identity", old.Identity).Str("pod_lost", old.Owner.Pod).Msg("stream taken from unreachable pod")
	pods, err := t.Store.DisplaceStream(ctx, old)
	if errors.Is(err, state.ErrUnavailable) {
		pods, err = t.Store.DisplaceStream(ctx, old) // the reply can have been lost
	}
	if errors.Is(err, state.ErrLostOwnership) {
		return nil // it has just ended, or another pod has taken its session and now owns the participant
	}
	if err != nil {
		return err
	}
	t.TakenOver(state.Orphan{Stream: &old, Pods: pods})
	return nil
}

// checkAlive asks a pod, which may be this one, whether a client answers: the publisher of the request's
// stream, or without a stream the client of the session that the request names.
func (t *Table) checkAlive(ctx context.Context, pod string, request state.Event) (result string) {
	if pod == t.Config.Pod {
		return t.checkAliveLocal(request)
	}
	ctx, cancel := context.WithTimeout(ctx, aliveWait+aliveOverhead)
	defer cancel()
	result, err := t.Bus.Request(ctx, pod, request)
	if err != nil {
		t.Log.Warn().Err(err).Str("pod", pod).Msg("liveness check failed: no reply from pod")
		return checkUnanswered
	}
	return result
}

// checkAliveLocal pings the client if it has a socket on this pod, and closes its session if it does not
// answer.
func (t *Table) checkAliveLocal(request state.Event) (result string) {
	s := t.sessionToCheck(request)
	if s == nil {
		return checkUnknown
	}
	if s.conn.Alive(aliveWait) {
		return clientAlive
	}
	s.Terminate(socket.ClosedDisplaced)
	limit := time.NewTimer(releaseWait)
	defer limit.Stop()
	select {
	case <-s.Done():
		return clientReleased
	case <-limit.C:
		return checkUnknown
	}
}

// sessionToCheck returns the session that a liveness check is about, or nil if it is not on this pod.
func (t *Table) sessionToCheck(request state.Event) *Session {
	if request.Stream != nil {
		if st := t.streams.find(translate.Identity(request.Stream.Identity)); st != nil {
			return st.sess
		}
		return nil
	}
	return t.sessionByID(request.Name)
}

// ReplyAlive replies to another pod's liveness check.
func (t *Table) ReplyAlive(request state.Event) {
	result := t.checkAliveLocal(request)
	ctx, cancel := t.timeout(t.Config.Media.StoreTimeout)
	defer cancel()
	t.Bus.Reply(ctx, request, result)
}
