package source

import (
	"iter"
	"time"
)

const (
	// orderWait is how long a missing packet is waited for. Longer, and sound would stop for each that is lost.
	orderWait = 50 * time.Millisecond
	// orderHeld is how many packets are kept meanwhile.
	orderHeld = 512
	// orderJump is by how much numbers may differ before the sender counts as started again.
	orderJump = 1024
)

// inOrder puts numbered packets into order. The zero value takes any first number.
type inOrder struct {
	started bool
	next    uint16
	held    map[uint16]heldPacket // from next on
}

type heldPacket struct {
	data []byte
	came time.Time
}

// put takes a packet. One that is late, or was there before, is dropped.
func (o *inOrder) put(number uint16, data []byte, now time.Time) {
	ahead := int(int16(number - o.next))
	if !o.started || ahead > orderJump || ahead < -orderJump {
		o.started, o.next, o.held, ahead = true, number, make(map[uint16]heldPacket), 0
	}
	if ahead >= 0 && len(o.held) < orderHeld {
		o.held[number] = heldPacket{data, now}
	}
}

// first returns the number of the next packet that there is. There must be one.
func (o *inOrder) first() uint16 {
	number := o.next
	for {
		if _, ok := o.held[number]; ok {
			return number
		}
		number++
	}
}

// due returns when ready has more to return without another packet; never if zero.
func (o *inOrder) due() time.Time {
	if len(o.held) == 0 {
		return time.Time{}
	}
	return o.held[o.first()].came.Add(orderWait)
}

// ready returns the packets whose turn it is: those without a gap before them, and those for whose
// predecessors nothing can be done any more.
func (o *inOrder) ready(now time.Time) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(o.held) > 0 {
			number := o.first()
			packet := o.held[number]
			if number != o.next && len(o.held) < orderHeld && now.Sub(packet.came) < orderWait {
				return
			}
			delete(o.held, number)
			o.next = number + 1
			if !yield(packet.data) {
				return
			}
		}
	}
}
