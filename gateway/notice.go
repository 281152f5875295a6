package gateway

import "time"

// stage is a part of the time in which players learn that their publisher has ended. The clocks of pods differ, so each is measured by
// the clock of one pod: to players of other pods it takes the sum of the last three.
type stage string

const (
	stageLocal    stage = "local"    // on the publisher's pod: from its end until its own players' sockets have it
	stageAnnounce stage = "announce" // there: until Redis has it, with the participant removed and the name released
	stageTransit  stage = "transit"  // through Redis from pod to pod, as a message takes that a pod sends itself
	stageDeliver  stage = "deliver"  // on another pod: from there until its players' sockets have it
)

// notice is where and since when this pod knows of an end that its players are told of. The zero value is of one that it has found out
// by asking, or from LiveKit: nobody knows how long that took.
type notice struct {
	stage stage
	since time.Time
}

// noticed measures how long it takes until the client has what it was just sent.
func (s *session) noticed(n notice) {
	if n.stage != "" {
		s.conn.whenWritten(func() { s.g.metrics.notified(n) })
	}
}

// announced measures how long it took to tell other pods of a publisher's end.
func (st *stream) announced() {
	if e := st.ending; !e.moved { // else it was another pod's meanwhile
		st.sess.g.metrics.notified(notice{stageAnnounce, e.since})
	}
}

func (m *Metrics) notified(n notice) {
	m.notices.WithLabelValues(string(n.stage)).Observe(time.Since(n.since).Seconds())
}
