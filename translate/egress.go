package translate

// EgressKind is the kind of output that LiveKit's egress service produces of a published stream.
type EgressKind string

// Kinds of egress.
const (
	EgressRecord EgressKind = "record" // writes a file
	EgressRTMP   EgressKind = "rtmp"   // sends to an RTMP server
)

// EgressRequest requests an egress of the tracks of one participant.
type EgressRequest struct {
	Room      RoomName
	Publisher Identity
	Kind      EgressKind
	File      string   // EgressRecord: path of the MP4 file, or its key if the egress service uploads it
	URL       string   // EgressRTMP: the address. Usually a secret: it ends with the stream key
	Not       []string // ids of the publisher's earlier egresses, which must not be returned
}

// EgressState is the progress of an egress. It only grows.
type EgressState int

// States of an egress.
const (
	EgressStarting EgressState = iota + 1
	EgressActive               // media is written
	EgressComplete             // ended normally, or at a limit of the egress service; the output is kept
	EgressFailed               // failed, or stopped before it wrote any media
)

// Egress is LiveKit's description of one participant's egress.
type Egress struct {
	ID    string
	Kind  EgressKind
	State EgressState
	File  string // EgressRecord: the egress service's name; "" until known
	// Error is the egress service's text about a failure. It can contain the address of an output.
	Error string
}

// ListedEgress is an egress with what it is of.
type ListedEgress struct {
	Egress
	Room      RoomName
	Publisher Identity
	Address   string // EgressRTMP: as LiveKit shows it, with the stream key masked
}

// Over reports whether the egress has ended.
func (s EgressState) Over() bool { return s >= EgressComplete }
