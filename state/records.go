// Package state is the store that the pods of a deployment share in Redis: records of sessions, streams,
// players and rooms, the leases of pods, the take-over of dead pods' records, and events between pods. It
// owns all Redis keys (docs/architecture.md#redis).
//
// Package gateway and its services use it, through interfaces of their own. It knows nothing of WCS messages,
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

// Owner is a pod in one of its lives. A pod whose records were taken over continues with a new epoch.
type Owner struct {
	Pod   string `json:"pod"`
	Epoch int64  `json:"epoch"` // start of the life in Unix milliseconds; greater than those of earlier lives
}

// String returns the owner as in keys and records in Redis: pod/epoch.
func (o Owner) String() string { return o.Pod + "/" + strconv.FormatInt(o.Epoch, 10) }

// parseOwner parses the result of Owner.String.
func parseOwner(s string) (Owner, error) {
	pod, epoch, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(epoch, 10, 64)
	if !ok || pod == "" || err != nil {
		return Owner{}, fmt.Errorf("owner %q is not pod/epoch", s)
	}
	return Owner{Pod: pod, Epoch: n}, nil
}

// Phase is the progress of a publisher.
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
	// Mutes counts the changes of AudioMuted and VideoMuted: the record with the larger number is newer.
	Mutes      int       `json:"mutes,omitempty"`
	MinKbps    int       `json:"minKbps,omitempty"` // requested by the publisher
	MaxKbps    int       `json:"maxKbps,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	Generation int       `json:"gen,omitempty"` // of its session at the time of writing
	// TellEnd: the application's backend must be notified of the stream's end, also if its pod died.
	TellEnd bool  `json:"tellEnd,omitempty"`
	Owner   Owner `json:"owner"` // set by the store
}

// Player is one player of a stream. Native players play streams that a native LiveKit participant publishes;
// such a stream has no record.
type Player struct {
	MediaID    string    `json:"mediaId"`
	Stream     string    `json:"stream"`
	App        string    `json:"app"`
	Session    string    `json:"session"`
	Room       string    `json:"room"`
	Identity   string    `json:"identity"`
	CreatedAt  time.Time `json:"createdAt"`
	Native     bool      `json:"native,omitempty"`
	Playing    bool      `json:"playing,omitempty"` // its media is up
	Tracks     []Track   `json:"tracks,omitempty"`  // the played tracks, once Playing; sizes can be outdated
	Generation int       `json:"gen,omitempty"`     // of its session at the time of writing
	TellEnd    bool      `json:"tellEnd,omitempty"` // as Stream.TellEnd
	Owner      Owner     `json:"owner"`             // set by the store
}

// TokenHash is the SHA-256 of an authToken. Its text form is hexadecimal.
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
	// Upstream is set by PutUpstream only. It is the first member, so that FindUpstream finds it in the head of
	// a record.
	Upstream *SessionUpstream `json:"upstream,omitempty"`

	ID        string    `json:"id"` // public session id; grants nothing
	App       string    `json:"app"`
	TokenHash TokenHash `json:"tokenHash"`
	CreatedAt time.Time `json:"createdAt"` // to the millisecond
	Owner     Owner     `json:"owner"`     // set by the store
	// ClientVersion is the client's own version text. A deployment should have few different ones: each takes
	// memory.
	ClientVersion string `json:"clientVersion,omitempty"`
	// Generation counts take-overs. Writes with a lower generation lose, even if Redis came back empty and
	// every pod registers its records again.
	Generation int `json:"gen,omitempty"`
	// Resumable: the client requested keepAlive. The session outlives its socket for a while, and any pod can
	// take it.
	Resumable bool `json:"resumable,omitempty"`
	// TellEnd: the application's backend must be notified of the session's end, also if its pod died.
	TellEnd bool `json:"tellEnd,omitempty"`
	// Streams is what a resuming pod needs to restore the session's streams that are up, and to report those
	// that ended while the client was disconnected.
	Streams []SessionStream `json:"streams,omitempty"`
	// Rooms are the memberships of a resumable session.
	Rooms []SessionRoom `json:"rooms,omitempty"`
}

// SessionUpstream is what a pod needs to connect a further socket of a session's client to another WCS
// server.
type SessionUpstream struct {
	Name   string `json:"name"`
	Server string `json:"server"` // identifies the server's address, which can change under the name
	Token  []byte `json:"token"`  // of the server, encrypted with the session's authToken
}

// SessionStream is a published or played stream of a resumable session.
type SessionStream struct {
	MediaID   string `json:"mediaId"`
	Name      string `json:"name"`
	Published bool   `json:"published,omitempty"`
	Room      string `json:"room"`
	Identity  string `json:"identity"`
	Publisher string `json:"publisher,omitempty"` // of a player: identity of the publisher
	Native    bool   `json:"native,omitempty"`    // a player of a native participant
	// PublisherSID is the SID of a native publisher's connection.
	PublisherSID string    `json:"publisherSid,omitempty"`
	Provider     string    `json:"provider"`
	MinKbps      int       `json:"minKbps,omitempty"`
	MaxKbps      int       `json:"maxKbps,omitempty"`
	Audio        bool      `json:"audio,omitempty"` // has an audio m-line
	Video        bool      `json:"video,omitempty"`
	AudioMuted   bool      `json:"audioMuted,omitempty"`
	VideoMuted   bool      `json:"videoMuted,omitempty"`
	Tracks       []Track   `json:"tracks,omitempty"`
	CreatedAt    time.Time `json:"createdAt"`
	Egresses     []Egress  `json:"egresses,omitempty"`
	Status       string    `json:"status,omitempty"`  // final status; empty while the stream is up
	Info         string    `json:"info,omitempty"`    // of Status
	InRoom       string    `json:"inRoom,omitempty"`  // room of the room API in which it is published
	TellEnd      bool      `json:"tellEnd,omitempty"` // as Stream.TellEnd
	// Pull is the source that a player plays, and Said its name for the client if it is not the source's own.
	Pull *Pull  `json:"pull,omitempty"`
	Said string `json:"said,omitempty"`
}

// Egress is a recording or republishing of a published stream by LiveKit's egress service.
type Egress struct {
	Kind  string `json:"kind"`
	ID    string `json:"id,omitempty"` // LiveKit's id; empty until known
	State int    `json:"state"`
	File  string `json:"file,omitempty"` // of a recording
	// Stopping: the egress must end while the stream goes on.
	Stopping bool `json:"stopping,omitempty"`
	// Replaced are the ids of the egresses that this one replaced.
	Replaced []string `json:"replaced,omitempty"`
}

// Orphan is a record that this pod released in place of a dead pod: exactly one of Stream, Player, Session
// and Room is set. The receiver must remove its participant from LiveKit, notify the pods with players of a
// Stream of its end, and notify the pods with members of a Room that others left it.
type Orphan struct {
	Stream  *Stream
	Room    *Room
	Pods    []string // with players of Stream or members of Room, except the dead one
	Player  *Player
	Session *Session
}

// Handlers are called for events outside the store's calls. They run in the store's goroutines and block its
// work, so they must return quickly. A nil handler is not called.
type Handlers struct {
	// Event receives the events published for this pod.
	Event func(Event)
	// TakenOver receives the records that this pod released in place of a dead one, each once. If this pod dies
	// in the middle of it, another pod receives them again.
	TakenOver func(Orphan)
	// Reset is called after Redis was unreachable or came back without this pod's lease, and records can be
	// lost. The gateway must claim its streams and players again (ClaimStream, AddPlayer with the same
	// records); the store registers sessions again itself.
	Reset func()
	// Lost is called after another pod took over everything of this pod. The pod continues in a new life, in
	// which the gateway must claim its streams again; the store registers sessions again itself.
	Lost func()
	// Describe returns this pod's description for other pods. It is called at each renewal of the lease.
	Describe func() Peer
}

// EventKind is the kind of an Event.
type EventKind string

// Events between pods.
const (
	// EventChanged: the stream's phase, size or mute state changed, or its publisher sent Data. Stream is
	// set.
	EventChanged EventKind = "changed"
	// EventEnded: the stream's publisher ended.
	EventEnded EventKind = "ended"
	// EventWebhook is a LiveKit webhook about a participant of the receiving pod, in Body.
	EventWebhook EventKind = "webhook"
	// EventAliveCheck is a request: does the client answer that publishes Stream, or without Stream the
	// client of the session Name?
	EventAliveCheck EventKind = "alive-check"
	// EventResumed is a request: the sending pod took the resumable session Name; Body lists what it took.
	EventResumed EventKind = "resumed"
	// EventReply is the reply to the request ID. Answer is set unless an acknowledgement is enough.
	EventReply EventKind = "reply"
	// EventWantRates: From requests the video rate of the publisher Identity, for a while.
	EventWantRates EventKind = "want-rates"
	// EventRates is the video rate of the publisher Identity, in Body.
	EventRates EventKind = "rates"
	// EventRoom: the members of a room changed. Body is the Room.
	EventRoom EventKind = "room"
	// EventMessage is a room member's text for a member on the receiving pod, in Body.
	EventMessage EventKind = "message"
	// EventAdmin is a request of the kind Name by an operator or backend, in Body. ID identifies the request.
	EventAdmin EventKind = "admin"
)

// Event is sent once to each affected pod, which distributes it to its clients.
type Event struct {
	Kind     EventKind `json:"kind"`
	From     string    `json:"from"`               // pod
	Name     string    `json:"name,omitempty"`     // stream name
	Room     string    `json:"room,omitempty"`     // LiveKit room
	Identity string    `json:"identity,omitempty"` // of a publisher in LiveKit
	Stream   *Stream   `json:"stream,omitempty"`   // the record after the change
	Data     [][]byte  `json:"data,omitempty"`     // of the publisher for its players, in this order: JSON, byte for byte as received
	Body     []byte    `json:"body,omitempty"`     // depends on Kind
	ID       string    `json:"id,omitempty"`       // of a request
	Answer   string    `json:"answer,omitempty"`   // depends on Kind
}

// Errors of the store. Use errors.Is.
var (
	// ErrNotFound: there is no such stream.
	ErrNotFound = errors.New("not found")
	// ErrNameTaken: another stream has the name.
	ErrNameTaken = errors.New("stream name is taken")
	// ErrMediaIDTaken: the media id is claimed by another stream or player.
	ErrMediaIDTaken = errors.New("media id is taken")
	// ErrAdopted: another pod took the session, and its streams and players.
	ErrAdopted = errors.New("adopted by another pod")
	// ErrLostOwnership: the record does not (any longer) belong to this pod in this epoch. Nothing was
	// written.
	ErrLostOwnership = errors.New("lost ownership")
	// ErrLeaseStale: this pod has not renewed its lease in time and must not write, or another pod took it over.
	// Nothing was written.
	ErrLeaseStale = errors.New("lease is stale")
	// ErrFull: there are as many pulls or workers as there can be.
	ErrFull = errors.New("full")
	// ErrTaken: a living worker has the pull.
	ErrTaken = errors.New("taken by another worker")
	// ErrWorkersDied: the pull failed by this call, because too many of its workers died in a row.
	ErrWorkersDied = errors.New("its workers died")
	// ErrUnwanted: the pull has no holder. It was removed.
	ErrUnwanted = errors.New("no longer wanted")
	// ErrUnavailable: Redis did not answer in time, or failed.
	ErrUnavailable = errors.New("redis is unavailable")
)
