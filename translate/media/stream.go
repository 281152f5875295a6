package media

import (
	"fmt"
	"slices"

	"github.com/pion/rtp"
)

// recentFrames is the number of frames by which a packet can be late and still be attributed to its frame.
const recentFrames = 16

// Stream counts the packets of one RTP stream, in any order of arrival. The zero value is ready. It is not
// safe for concurrent use.
type Stream struct {
	packet rtp.Packet // reused to save allocations
	gaps   gaps
	frames [recentFrames]uint32 // RTP timestamps
	known  int                  // number of valid timestamps
	next   int                  // index of the next to be replaced
}

// Arrival is the contribution of one packet.
type Arrival struct {
	// Payload is what getStats counts as bytes: neither RTP header nor padding. It aliases the packet, and is
	// empty for a packet of padding only.
	Payload []byte
	// Begins reports the first packet to arrive of a frame, that is of an RTP timestamp.
	Begins bool
}

// Arrive takes a packet. A packet that is not RTP is an error and counts for nothing.
func (s *Stream) Arrive(packet []byte) (Arrival, error) {
	if err := s.packet.Unmarshal(packet); err != nil {
		return Arrival{}, fmt.Errorf("rtp: %w", err)
	}
	s.gaps.arrive(s.packet.SequenceNumber)
	a := Arrival{Payload: s.packet.Payload}
	if s.packet.Padding && isPadding(a.Payload) {
		a.Payload = nil
	}
	if len(a.Payload) > 0 {
		a.Begins = s.begins(s.packet.Timestamp)
	}
	return a, nil
}

// isPadding reports whether a payload is padding again: zeros, and their number. LiveKit's packets of padding
// only have such a payload (observed with 1.13.5, which passes padding to pion as payload and as padding).
func isPadding(payload []byte) bool {
	last := len(payload) - 1
	return last >= 0 && int(payload[last]) == len(payload) && !slices.ContainsFunc(payload[:last], func(b byte) bool { return b != 0 })
}

func (s *Stream) begins(timestamp uint32) bool {
	if slices.Contains(s.frames[:s.known], timestamp) {
		return false
	}
	s.frames[s.next] = timestamp
	s.next = (s.next + 1) % recentFrames
	s.known = min(s.known+1, recentFrames)
	return true
}

// TakeLost returns the number of packets found lost since the last call: those that were missing at the last
// call and did not arrive since. Called once a second, it allows a packet to be one to two seconds late.
func (s *Stream) TakeLost() (lost int) { return s.gaps.takeLost() }
