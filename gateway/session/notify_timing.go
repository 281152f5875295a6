package session

import "time"

// stage is a part of the time until players are notified that their publisher ended. The clocks of pods
// differ, so each stage is measured by the clock of one pod. For players on other pods, the latency is the
// sum of the last three stages.
type stage string

const (
	stageLocal    stage = "local"    // publisher's pod: from the end of the publisher until its own players' messages are queued
	stageAnnounce stage = "announce" // publisher's pod: until Redis has the event, with participant and name released
	stageTransit  stage = "transit"  // through Redis from pod to pod, measured with a message of a pod to itself
	stageDeliver  stage = "deliver"  // another pod: from the event until its players' messages are queued
)

// notifyTiming is the start of a stage. The zero value is for ends whose start is unknown, because the pod
// learned of them by polling or from LiveKit; these are not measured.
type notifyTiming struct {
	stage stage
	since time.Time
}

// observeDelivered records that the client's message about the end is queued.
func (s *Session) observeDelivered(n notifyTiming) {
	if n.stage != "" {
		s.table.Metrics.observeNotification(n)
	}
}

// observeAnnounced records that Redis has the event for the other pods. The end of a stream that was handed
// over is not measured, because it may have happened on another pod.
func (st *stream) observeAnnounced() {
	if e := st.ending; !e.handedOver {
		st.sess.table.Metrics.observeNotification(notifyTiming{stageAnnounce, e.since})
	}
}

func (m *Metrics) observeNotification(n notifyTiming) {
	m.Notifications.WithLabelValues(string(n.stage)).Observe(time.Since(n.since).Seconds())
}
