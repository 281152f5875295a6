package media

import (
	"fmt"
	"slices"

	"github.com/pion/rtp"
)

// recentFrames is how many frames back a packet may come late and still be known for one of an old frame.
const recentFrames = 16

// Stream counts the packets of one RTP stream, in whatever order they come. The zero value is ready. It is not safe for
// concurrent use.
type Stream struct {
	packet rtp.Packet // reused for what it allocates
	gaps   gaps
	frames [recentFrames]uint32 // RTP timestamps
	known  int                  // how many of them are set
	next   int                  // the one to be replaced
}

// Arrival is what one packet adds.
type Arrival struct {
	// Payload is what getStats counts as bytes: neither RTP header nor padding. It is a part of the packet, and empty for a
	// packet of padding only.
	Payload []byte
	// Begins is true for the packet that is the first to come of its frame: of those with one RTP timestamp.
	Begins bool
}

// Arrive takes a packet. One that is no RTP is an error and counts for nothing.
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

// isPadding tells whether a payload is padding once more: zeros, and their number. LiveKit's packets of padding only are so
// (seen in 1.13.5, which hands padding to pion as payload and as padding).
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

// Settle gives how many packets have turned out to be lost since it was last called: those that were missing already at
// the call before and have not come since. Called once a second, it grants a packet one to two seconds to be late.
func (s *Stream) Settle() (lost int) { return s.gaps.settle() }
