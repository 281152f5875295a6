package translate

// EgressKind is what LiveKit's egress service does with a published stream.
type EgressKind string

// Kinds of egress.
const (
	EgressRecord EgressKind = "record" // writes a file
	EgressRTMP   EgressKind = "rtmp"   // sends to an RTMP server
)

// EgressRequest asks for an egress of what one participant publishes.
type EgressRequest struct {
	Room      RoomName
	Publisher Identity
	Kind      EgressKind
	File      string // EgressRecord: path of the MP4 file, or its key where the egress service uploads
	URL       string // EgressRTMP: where to. A secret as a rule, because it ends with the stream key
	Not       []string // ids of earlier ones of the publisher, which are not meant
}

// EgressState is how far an egress has come. It only grows.
type EgressState int

// States of an egress.
const (
	EgressStarting EgressState = iota + 1
	EgressActive               // media is written
	EgressComplete             // ended as it should, or at a limit of the egress service; what was written stays
	EgressFailed               // or stopped before anything was written
)

// Egress is what LiveKit tells of an egress of one participant.
type Egress struct {
	ID    string
	Kind  EgressKind
	State EgressState
	File  string // EgressRecord: as the egress service names it; "" before it does
	// Error is the egress service's text about a failure. It may quote the address of an output.
	Error string
}

// Over tells whether nothing is written any more.
func (s EgressState) Over() bool { return s >= EgressComplete }
