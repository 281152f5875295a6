package wcs

import "math"

// Types of getStats reports that ClientStats reads. The remote ones carry what the server reported by RTCP.
const (
	outboundRTP       = "outbound-rtp"
	inboundRTP        = "inbound-rtp"
	remoteInboundRTP  = "remote-inbound-rtp"
	remoteOutboundRTP = "remote-outbound-rtp"
)

const (
	// maxVideoRate and maxFrameRate are above those of any video. A counter that grows faster was reset.
	maxVideoRate = 1e9 / 8 // byte/s
	maxFrameRate = 1000
	// minMeterTime is the shortest span for a rate. Over less, sampling jitter dominates.
	minMeterTime = 200 // ms
	// maxRepeats is the number of unchanged rows after which a report is stale. LiveKit sends a sender report
	// every 3 s, and receiver reports at most once a second.
	maxRepeats = 10
	// senderReportWrap is the modulus of a sender report's octet count (32 bits, RFC 3550 §6.4.1). A stream
	// of 2 Mbit/s wraps it in five hours.
	senderReportWrap = 1 << 32
)

// report is one getStats report, that is one RTP stream, as of the last row that contained it.
type report struct {
	typ, id string
	listed  bool // in the current description
	video   bool

	// Columns. A column that is not described keeps its last value.
	at            float64 // ms: the time of the other columns
	bytes, frames float64 // negative until described
	again         float64 // the retransmitted part of bytes
	width, height float64
	nack, pli     float64
	lost          float64 // cumulative, and can fall when late packets arrive
	fractionLost  float64

	counted   float64 // bytes included in the sum of the stream
	seenAt    float64
	repeats   int // rows in which at has not changed
	rate, fps meter
}

func newReport(typ, id string) *report {
	r := &report{typ: typ, id: id, bytes: -1, frames: -1, rate: meter{limit: maxVideoRate}, fps: meter{limit: maxFrameRate}}
	// The other two types occur for audio as well; they are video once a column about pictures is described.
	r.video = typ == remoteInboundRTP || typ == remoteOutboundRTP
	if typ == remoteOutboundRTP {
		r.rate.wrap = senderReportWrap
	}
	return r
}

// column returns the storage for a metric's values, nil if the metric is not used. bytesReceived is unused on
// purpose: a player that is sent its own figure back would always find its connection perfect.
func (r *report) column(metric string) *float64 {
	clock := "timestamp"
	if r.typ == remoteOutboundRTP {
		clock = "remoteTimestamp" // the server's clock, from the sender report
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

// take updates the rates after the columns received the values of a new row.
func (r *report) take() {
	if r.at == r.seenAt {
		r.repeats++
		return
	}
	r.seenAt, r.repeats = r.at, 0
	r.rate.read(r.at, r.bytes-r.again)
	r.fps.read(r.at, r.frames)
}

// growth returns the growth of bytes since the last call. A counter that fell was reset.
func (r *report) growth() float64 {
	grown := r.bytes - r.counted
	if grown < 0 {
		grown = max(r.bytes, 0)
	}
	r.counted = max(r.bytes, 0)
	return grown
}

// present reports whether the report is current.
func (r *report) present() bool { return r.listed && r.repeats < maxRepeats }

// meter turns readings of a counter into a rate.
type meter struct {
	limit float64 // upper bound of perSecond
	wrap  float64 // the modulus of the counter; 0 = it never wraps

	at, count float64 // ms: the last reading; at is 0 before the first
	perSecond float64
	known     bool
}

// read takes a reading. When the counter or the clock goes backwards, there is no rate until the next
// reading.
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

// whole rounds a count for the wire and limits it to 32 bits, which some clients read it into.
func whole(v float64) int { return int(math.Round(min(max(v, 0), maxInt))) }
