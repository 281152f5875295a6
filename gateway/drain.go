package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"wcsgateway/gateway/socket"
	"wcsgateway/state"
)

// DrainConfig is how a pod takes leave of its clients when it is told to end.
type DrainConfig struct {
	Notice time.Duration // serve on, unready, while load balancers take the pod out
	Window time.Duration // then wait for sessions with streams to end by themselves
	Pace   time.Duration // over which the sockets of a group are closed
	// Handover is how long, after the last socket was closed, sessions with keepAlive are held for other pods to take.
	Handover time.Duration
}

// drain ends all sessions: at first the pod is only unready, then it refuses new sockets and closes those
// without streams, and those with streams when the window is over. Sockets are closed one by one at uneven
// distances, because clients come back at once and all to the other pods. A WCS client ends its media with its socket, so
// those that have some are waited for (style.md §8).
func (g *Gateway) drain() {
	cfg := g.cfg.Drain
	g.draining.Store(true)
	g.metrics.draining.Set(1)
	g.log.Info().Int("sessions", len(g.openSessions())).Dur("notice", cfg.Notice).Dur("window", cfg.Window).Msg("draining")
	state.Sleep(g.ctx, cfg.Notice)
	g.refusing.Store(true)

	window, cancel := context.WithTimeout(g.ctx, cfg.Window)
	defer cancel()
	for g.drainIdle() > 0 && window.Err() == nil {
		state.Sleep(window, drainLook)
	}
	g.closePaced(g.openSessions(), func(*session) bool { return true })
}

// drainLook is how often a draining pod looks whose streams have ended.
const drainLook = time.Second

// drainIdle closes the sessions without streams and counts the others.
func (g *Gateway) drainIdle() (busy int) {
	var idle []*session
	for _, s := range g.openSessions() {
		if s.streaming.Load() > 0 {
			busy++
		} else {
			idle = append(idle, s)
		}
	}
	g.closePaced(idle, func(s *session) bool { return s.streaming.Load() == 0 })
	return busy
}

// closePaced closes sessions one by one, those for which it still is due when their turn comes.
func (g *Gateway) closePaced(sessions []*session, due func(*session) bool) {
	for i, s := range sessions {
		if i > 0 {
			state.Sleep(g.ctx, jittered(g.cfg.Drain.Pace/time.Duration(len(sessions))))
		}
		if due(s) {
			s.conn.Close(socket.ClosedShutdown)
			s.loop.Post(func() { s.resume.shortenGrace() })
		}
	}
}

// jittered returns a random duration between 0.5 d and 1.5 d.
func jittered(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}
