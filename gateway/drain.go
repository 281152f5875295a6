package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"wcsgateway/gateway/session"
	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

// DrainConfig configures the shutdown of a pod (docs/operations.md).
type DrainConfig struct {
	Notice time.Duration // the pod is unready and serves on, while load balancers take it out
	Window time.Duration // then sessions with streams can end on their own
	Pace   time.Duration // the time over which the sockets of a group are closed
}

// drain ends all sessions. At first the pod is only unready. Then it rejects new sockets and closes those
// without streams, and those with streams at the end of the window. Sockets are closed one by one at uneven
// intervals, because clients reconnect at once to the other pods. Sessions with streams get the window
// because the media of a WCS client ends with its socket.
func (g *Gateway) drain() {
	cfg := g.cfg.Drain
	g.draining.Store(true)
	g.metrics.draining.Set(1)
	g.env.Log.Info().Int("sessions", len(g.table.All())).Dur("notice", cfg.Notice).Dur("window", cfg.Window).Int("spliced", g.links.Len()).Msg("draining")
	state.Sleep(g.env.Context, cfg.Notice)
	g.table.Refuse()

	window, cancel := context.WithTimeout(g.env.Context, cfg.Window)
	defer cancel()
	for g.drainIdle() > 0 && window.Err() == nil {
		state.Sleep(window, drainLook)
	}
	var spliced sync.WaitGroup
	spliced.Go(func() {
		closePaced(g, g.links.All(), func(l *upstream.Link) { l.Close(socket.ClosedShutdown) })
	})
	closePaced(g, g.table.All(), closeSession)
	spliced.Wait()
}

// drainLook is the interval at which a draining pod looks for sessions whose streams ended.
const drainLook = time.Second

// drainIdle closes the sessions without streams and returns the number of the others. Spliced sessions are
// among these, because it is not known whether they have streams.
func (g *Gateway) drainIdle() (busy int) {
	var idle []*session.Session
	for _, s := range g.table.All() {
		if s.HasStreams() {
			busy++
		} else {
			idle = append(idle, s)
		}
	}
	closePaced(g, idle, func(s *session.Session) {
		if !s.HasStreams() { // still, when its turn comes
			closeSession(s)
		}
	})
	return busy + g.links.Len()
}

func closeSession(s *session.Session) {
	s.Close(socket.ClosedShutdown)
	s.ShortenGrace()
}

// closePaced closes sessions one by one.
func closePaced[S any](g *Gateway, sessions []S, closeOne func(S)) {
	for i, s := range sessions {
		if i > 0 {
			state.Sleep(g.env.Context, jittered(g.cfg.Drain.Pace/time.Duration(len(sessions))))
		}
		closeOne(s)
	}
}

// jittered returns a random duration between 0.5 d and 1.5 d.
func jittered(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}
