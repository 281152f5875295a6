package wcs

import "math"

// Types of reports of getStats that ClientStats reads. Remote ones are what the server reported by RTCP.
const (
	outboundRTP       = "outbound-rtp"
	inboundRTP        = "inbound-rtp"
	remoteInboundRTP  = "remote-inbound-rtp"
	remoteOutboundRTP = "remote-outbound-rtp"
)

const (
	// maxVideoRate and maxFrameRate are what no video has. A counter that grows faster has begun anew.
	maxVideoRate = 1e9 / 8 // byte/s
	maxFrameRate = 1000
	// minMeterTime: over less, a rate says more about the sampling than about the stream.
	minMeterTime = 200 // ms
	// maxRepeats is how many rows a report may stay the same until it says nothing about the present any more. LiveKit
	// sends a sender report every 3 s, and receiver reports for what arrives, at most one a second.
	maxRepeats = 10
	// senderReportWrap: the octet count of a sender report has 32 bits (RFC 3550 §6.4.1), which a stream of 2 Mbit/s
	// fills in five hours.
	senderReportWrap = 1 << 32
)

// report is one report of getStats: a stream of packets, as it was in the last row that had it.
type report struct {
	typ, id string
	listed  bool // in the present description
	video   bool

	// Columns. What is not described keeps its last value.
	at            float64 // ms: when the rest was true
	bytes, frames float64 // below 0 while they have not been described
	again         float64 // of bytes, those that were sent before
	width, height float64
	nack, pli     float64
	lost          float64 // cumulative, and may fall when late packets come
	fractionLost  float64

	counted   float64 // bytes, in the sum of the stream
	seenAt    float64
	repeats   int // rows in which at has not changed
	rate, fps meter
}

func newReport(typ, id string) *report {
	r := &report{typ: typ, id: id, bytes: -1, frames: -1, rate: meter{limit: maxVideoRate}, fps: meter{limit: maxFrameRate}}
	// The other two come for audio as well, and are video's once there is a column about pictures.
	r.video = typ == remoteInboundRTP || typ == remoteOutboundRTP
	if typ == remoteOutboundRTP {
		r.rate.wrap = senderReportWrap
	}
	return r
}

// column gives the place of a metric's values, nil if they are not needed. bytesReceived is not, on purpose: a player that is
// told what it has received would always find its connection perfect.
func (r *report) column(metric string) *float64 {
	clock := "timestamp"
	if r.typ == remoteOutboundRTP {
		clock = "remoteTimestamp" // the server's, of the sender report
	}
	switch metric {
	case clock:
		return &r.at
	case "bytesSent":
		return &r.bytes
	case "retransmittedBytesSent":
		return &r.again
	case "nackCount":
		return &r.nack
	case "pliCount":
		return &r.pli
	case "packetsLost":
		return &r.lost
	case "fractionLost":
		return &r.fractionLost
	case "framesEncoded", "framesDecoded":
		r.video = true
		return &r.frames
	case "frameWidth":
		r.video = true
		return &r.width
	case "frameHeight":
		r.video = true
		return &r.height
	}
	return nil
}

// take is for when the columns have the values of a new row.
func (r *report) take() {
	if r.at == r.seenAt {
		r.repeats++
		return
	}
	r.seenAt, r.repeats = r.at, 0
	r.rate.read(r.at, r.bytes-r.again)
	r.fps.read(r.at, r.frames)
}

// growth is what bytes have grown by since the last call. A counter that fell has begun anew.
func (r *report) growth() float64 {
	grown := r.bytes - r.counted
	if grown < 0 {
		grown = max(r.bytes, 0)
	}
	r.counted = max(r.bytes, 0)
	return grown
}

// present: the report is of now.
func (r *report) present() bool { return r.listed && r.repeats < maxRepeats }

// meter turns readings of a counter into a rate.
type meter struct {
	limit float64 // of perSecond
	wrap  float64 // what the counter begins anew at; 0 = never

	at, count float64 // ms: the last reading; at is 0 before the first
	perSecond float64
	known     bool
}

// read takes a reading. A counter or a clock that goes backwards gives no rate, but a beginning for the next.
func (m *meter) read(at, count float64) {
	passed, grown := at-m.at, count-m.count
	if count < 0 || m.at != 0 && passed >= 0 && passed < minMeterTime {
		return
	}
	if grown < 0 {
		grown += m.wrap
	}
	first := m.at == 0
	m.at, m.count, m.perSecond = at, count, grown*1000/passed
	m.known = !first && passed > 0 && m.perSecond >= 0 && m.perSecond <= m.limit
}

// whole makes a count for the wire, which other clients read into 32 bits.
func whole(v float64) int { return int(math.Round(min(max(v, 0), maxInt))) }
