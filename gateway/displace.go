package gateway

import (
	"context"
	"errors"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// Answers to the question whether a client is still there.
const (
	probeAlive = "alive" // its socket answers
	probeGone  = "gone"  // it did not, and has been let go: what it had is free
	probeNone  = ""      // nobody who knows the client has answered
)

const (
	probeWait  = 2 * time.Second        // a browser answers a ping even while the page's script is busy
	probeSlack = 500 * time.Millisecond // for the way to another pod and back, and for letting a dead client go
	dropWait   = 300 * time.Millisecond // until a dead client's streams are released; it takes some 10 ms
)

// displace frees a name that a client of the same application wants again: its network has dropped, and
// the old socket has not timed out yet (design.md §5, last row). A publisher that is alive is never displaced. freed
// tells that the name may be claimed.
func (g *Gateway) displace(ctx context.Context, st *stream) (freed bool, err error) {
	findCtx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	old, err := g.deps.Store.FindStream(findCtx, st.name)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return true, nil
	case err != nil:
		return false, err
	case old.App != st.sess.app.Key:
		return false, nil
	case old.Session == st.sess.id && g.streams.find(translate.Identity(old.Identity)) != nil:
		return false, nil // this very client publishes it; otherwise its release is owed
	}
	switch g.probe(ctx, old.Owner.Pod, state.Event{Kind: state.EventProbe, Name: old.Name, Stream: &old}) {
	case probeAlive:
		return false, nil
	case probeGone:
		return true, nil
	}
	return true, g.evict(ctx, old)
}

// evict takes a stream from a pod that does not answer, with all that its own pod would have done at its end.
func (g *Gateway) evict(ctx context.Context, old state.Stream) error {
	g.log.Warn().Str("room", old.Room).Str("identity", old.Identity).Str("pod_lost", old.Owner.Pod).Msg("stream is taken from a pod that does not answer")
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	pods, err := g.deps.Store.DisplaceStream(ctx, old)
	if errors.Is(err, state.ErrLostOwnership) {
		return nil // it has just ended by itself, or its session was taken by another pod, whose participant it is now
	}
	if err != nil {
		return err
	}
	g.takenOver(state.Orphan{Stream: &old, Pods: pods})
	return nil
}

// probe asks a pod, which may be this one, for the client that publishes the question's stream, or without one whose session it names.
func (g *Gateway) probe(ctx context.Context, pod string, question state.Event) (answer string) {
	if pod == g.cfg.Pod {
		return g.probeHere(question)
	}
	ctx, cancel := context.WithTimeout(ctx, probeWait+probeSlack)
	defer cancel()
	answer, err := g.ask(ctx, pod, question)
	if err != nil {
		g.log.Warn().Err(err).Str("pod", pod).Msg("pod does not say whether a client is there")
		return probeNone
	}
	return answer
}

// probeHere looks for the client at one of this pod's sockets, and lets it go if it does not answer.
func (g *Gateway) probeHere(question state.Event) (answer string) {
	s := g.asked(question)
	if s == nil {
		return probeNone
	}
	if s.conn.alive(probeWait) {
		return probeAlive
	}
	s.dismiss(closedDisplaced)
	limit := time.NewTimer(dropWait)
	defer limit.Stop()
	select {
	case <-s.gone:
		return probeGone
	case <-limit.C:
		return probeNone
	}
}

// asked is the session of the client that is asked for; nil if it is not here.
func (g *Gateway) asked(question state.Event) *session {
	if question.Stream != nil {
		if st := g.streams.find(translate.Identity(question.Stream.Identity)); st != nil {
			return st.sess
		}
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byID[question.Name]
}

// answerProbe answers another pod's question.
func (g *Gateway) answerProbe(e state.Event) {
	answer := g.probeHere(e)
	ctx, cancel := g.withTimeout(g.cfg.Media.StoreTimeout)
	defer cancel()
	g.tell(ctx, []string{e.From}, state.Event{Kind: state.EventAnswered, ID: e.ID, Answer: answer})
}
