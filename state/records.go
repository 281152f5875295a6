// Package state keeps what any pod of a deployment may need of sessions, streams and
// players in Redis, and carries events between pods. It knows nothing of WCS messages,
// sockets or LiveKit, and imports nothing of this project.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Owner is a pod in one of its lives. A pod that lost its lease goes on under a new epoch.
type Owner struct {
	Pod   string `json:"pod"`
	Epoch int64  `json:"epoch"` // Unix milliseconds of the life's start; greater than that of the pod's earlier lives
}

// String is the owner as keys and records in Redis name it: pod/epoch.
func (o Owner) String() string { return o.Pod + "/" + strconv.FormatInt(o.Epoch, 10) }

// ParseOwner reads what Owner.String wrote.
func ParseOwner(s string) (Owner, error) {
	pod, epoch, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(epoch, 10, 64)
	if !ok || pod == "" || err != nil {
		return Owner{}, fmt.Errorf("owner %q is not pod/epoch", s)
	}
	return Owner{Pod: pod, Epoch: n}, nil
}

// Phase is how far a publisher has come.
type Phase string

// Phases of a published stream.
const (
	PhaseStarting   Phase = "starting"   // the name is claimed, media has not arrived yet
	PhasePublishing Phase = "publishing" // media flows
)

// Track is a media track of a published stream.
type Track struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // audio or video
	Mime   string `json:"mime"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
}

// Stream is a published stream. Its Name is unique in the deployment while it is claimed.
type Stream struct {
	Name       string  `json:"name"`
	MediaID    string  `json:"mediaId"`
	App        string  `json:"app"`
	Session    string  `json:"session"`
	Room       string  `json:"room"`
	Identity   string  `json:"identity"`
	Phase      Phase   `json:"phase"`
	Tracks     []Track `json:"tracks,omitempty"`
	AudioMuted bool    `json:"audioMuted,omitempty"`
	VideoMuted bool    `json:"videoMuted,omitempty"`
	// Mutes counts the changes of AudioMuted and VideoMuted: what has more of them is newer.
	Mutes     int       `json:"mutes,omitempty"`
	MinKbps   int       `json:"minKbps,omitempty"` // as the publisher has asked for
	MaxKbps   int       `json:"maxKbps,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	Era       int       `json:"era,omitempty"` // of its session, while it was written
	Owner     Owner     `json:"owner"`         // set by the store
}

// Said is what the publisher of a stream tells its players: data, or a change of its mute state.
type Said struct {
	Type    string `json:"type"`              // of the WCS stream event
	Payload []byte `json:"payload,omitempty"` // of data: JSON, byte for byte as it came; nil without one
	// AudioMuted and VideoMuted are what they are after the change that Mutes counts last; 0 for data.
	AudioMuted bool `json:"audioMuted,omitempty"`
	VideoMuted bool `json:"videoMuted,omitempty"`
	Mutes      int  `json:"mutes,omitempty"`
}

// Player is one player of a stream. Native players are of streams that a native LiveKit participant
// publishes: such a stream has no record of its own.
type Player struct {
	MediaID   string    `json:"mediaId"`
	Stream    string    `json:"stream"`
	App       string    `json:"app"`
	Session   string    `json:"session"`
	Room      string    `json:"room"`
	Identity  string    `json:"identity"`
	CreatedAt time.Time `json:"createdAt"`
	Native    bool      `json:"native,omitempty"`
	Playing   bool      `json:"playing,omitempty"` // its media has come up
	Tracks    []Track   `json:"tracks,omitempty"`  // what it plays, once it is Playing; the sizes may be old
	Era       int       `json:"era,omitempty"`     // of its session, while it was written
	Owner     Owner     `json:"owner"`             // set by the store
}

// TokenHash is the SHA-256 of an authToken. As text it is hexadecimal.
type TokenHash [sha256.Size]byte

// MarshalText implements encoding.TextMarshaler.
func (h TokenHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *TokenHash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("token hash has %d hex digits", len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Session is an established client session.
type Session struct {
	ID        string    `json:"id"` // public session id; grants nothing
	App       string    `json:"app"`
	TokenHash TokenHash `json:"tokenHash"`
	CreatedAt time.Time `json:"createdAt"` // to the millisecond
	Owner     Owner     `json:"owner"`     // set by the store
	// ClientVersion is what the client calls itself: few different texts in a deployment, or memory goes into them.
	ClientVersion string `json:"clientVersion,omitempty"`
	// Era is how often the session was taken. Of pods that have it, one after the other, it tells whose word is the last, also when Redis
	// has come back empty and all register what they have.
	Era int `json:"era,omitempty"`
	// Kept says that the client asked for keepAlive: the session outlives its socket for a while, and any pod may take it.
	Kept bool `json:"kept,omitempty"`
	// TellEnd says that the application's backend wants to hear when the session ends, also if its pod has died.
	TellEnd bool `json:"tellEnd,omitempty"`
	// Streams are what whoever takes a kept session needs to know of its streams that are up, and of those that
	// ended when nobody was there to be told.
	Streams []SessionStream `json:"streams,omitempty"`
	// Rooms are what it is a member of, if it is a kept one.
	Rooms []SessionRoom `json:"rooms,omitempty"`
}

// SessionStream is a published or played stream of a kept session.
type SessionStream struct {
	MediaID    string    `json:"mediaId"`
	Name       string    `json:"name"`
	Published  bool      `json:"published,omitempty"`
	Room       string    `json:"room"`
	Identity   string    `json:"identity"`
	Publisher  string    `json:"publisher,omitempty"` // identity, of a player
	Native     bool      `json:"native,omitempty"`    // a player, and Publisher is a native participant
	Provider   string    `json:"provider"`
	MinKbps    int       `json:"minKbps,omitempty"`
	MaxKbps    int       `json:"maxKbps,omitempty"`
	Audio      bool      `json:"audio,omitempty"` // it has an audio m-line
	Video      bool      `json:"video,omitempty"`
	AudioMuted bool      `json:"audioMuted,omitempty"`
	VideoMuted bool      `json:"videoMuted,omitempty"`
	Tracks     []Track   `json:"tracks,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	Egresses   []Egress  `json:"egresses,omitempty"`
	Status     string    `json:"status,omitempty"` // how it ended; empty while it lives
	Info       string    `json:"info,omitempty"`   // of Status
	InRoom     string    `json:"inRoom,omitempty"` // of the room API, in which it is published
}

// Egress is a recording or republishing of a published stream by LiveKit's egress service.
type Egress struct {
	Kind  string `json:"kind"`
	ID    string `json:"id,omitempty"` // LiveKit's; empty until it is known
	State int    `json:"state"`
	File  string `json:"file,omitempty"` // of a recording
	// Stopping says that it shall end while the stream goes on.
	Stopping bool `json:"stopping,omitempty"`
	// Replaced are the ids of those that it has taken the place of.
	Replaced []string `json:"replaced,omitempty"`
}

// Orphan is a record that this pod has taken over from a dead pod and released: exactly one of Stream, Player, Session and Room is set.
// Its participant is to be removed from LiveKit, the pods with players of a Stream are to be told that it ended, and the pods with
// members of a Room that others have left it.
type Orphan struct {
	Stream  *Stream
	Room    *Room
	Pods    []string // with players of Stream or members of Room, without the dead one
	Player  *Player
	Session *Session
}

// Handlers are told what happens outside the store's calls. They are called from the store's own goroutines, hold up its
// work while they run, and so must return quickly. A nil one is not called.
type Handlers struct {
	// Event takes what another pod, or this one, has published for this pod.
	Event func(Event)
	// TakenOver takes what this pod has released in place of a dead one, each record once.
	TakenOver func(Orphan)
	// Reset says that Redis was away, or came back without this pod's lease: it may have lost
	// records. The gateway claims again what it holds (ClaimStream, AddPlayer with the same records); sessions are
	// registered again without its doing.
	Reset func()
	// Lost says that another pod has taken over everything that this pod held. It goes on in a new life, and
	// what it claims again, it claims anew; sessions are registered again without the gateway's doing.
	Lost func()
	// Describe tells what other pods may know of this one; it is asked at each renewal of the lease.
	Describe func() Peer
}

// EventKind tells what a pod is told about a stream.
type EventKind string

// Events between pods.
const (
	EventChanged    EventKind = "changed"     // the stream is publishing, or its size or mute state changed, or its publisher has Said something; Stream is set
	EventEnded      EventKind = "ended"       // the stream's publisher is gone
	EventWebhook    EventKind = "webhook"     // a LiveKit webhook about a participant of the receiving pod; Body is set
	EventAliveCheck EventKind = "alive-check" // a request: does the client answer that publishes Stream, or without Stream the client of the session Name?
	// EventResumed is a request: the sending pod has taken the kept session Name; Body says what it has taken.
	EventResumed   EventKind = "resumed"
	EventReply     EventKind = "reply"      // the reply to the request ID; Answer is set unless an acknowledgement is enough
	EventWantRates EventKind = "want-rates" // From wants to be told the video rate of what Identity publishes, for a while
	EventRates     EventKind = "rates"      // the video rate of what Identity publishes: Body is set
	EventRoom      EventKind = "room"       // something about the members of a room has changed; Body is the Room
	EventMessage   EventKind = "message"    // a member of a room sends a text to one on the receiving pod; Body is set
	EventAdmin     EventKind = "admin"      // a question or order of the kind Name, of an operator or backend, with Body; ID names the question
)

// Event is told once to each pod that is concerned, which fans it out from memory.
type Event struct {
	Kind     EventKind `json:"kind"`
	From     string    `json:"from"`               // pod
	Name     string    `json:"name,omitempty"`     // stream name
	Room     string    `json:"room,omitempty"`     // LiveKit room
	Identity string    `json:"identity,omitempty"` // of a publisher at LiveKit
	Stream   *Stream   `json:"stream,omitempty"`   // the record after the change
	Said     []Said    `json:"said,omitempty"`     // in this order
	Body     []byte    `json:"body,omitempty"`     // by kind
	ID       string    `json:"id,omitempty"`       // of a question
	Answer   string    `json:"answer,omitempty"`   // by kind
}

// Errors of the store, to be tested with errors.Is.
var (
	// ErrNotFound: there is no such stream.
	ErrNotFound = errors.New("not found")
	// ErrNameTaken: the stream name is claimed by somebody else.
	ErrNameTaken = errors.New("stream name is taken")
	// ErrMediaIDTaken: the media id is claimed by another stream or player.
	ErrMediaIDTaken = errors.New("media id is taken")
	// ErrAdopted: another pod has taken the session, and the stream or player with it.
	ErrAdopted = errors.New("adopted by another pod")
	// ErrLostOwnership: the record is not, or no longer, this pod's in this epoch. Nothing was written.
	ErrLostOwnership = errors.New("lost ownership")
	// ErrLeaseStale: this pod has not renewed its lease for so long that it may not write. Nothing was sent.
	ErrLeaseStale = errors.New("lease is stale")
	// ErrUnavailable: Redis did not answer in time, or with an error.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrNotSent is an ErrUnavailable: Redis could not be connected to, so nothing was sent, and nothing is to be undone.
	ErrNotSent = fmt.Errorf("%w: nothing was sent", ErrUnavailable)
)
