package translate

import (
	"errors"
	"fmt"
	"time"
)

// RoomName is the name of a LiveKit room. One WCS stream lives in one room.
type RoomName string

// Kind is the kind of a media track.
type Kind string

// Kinds of media track, in SDP's terms.
const (
	Audio Kind = "audio"
	Video Kind = "video"
)

// Track is a track that a participant publishes in LiveKit.
type Track struct {
	SID    string
	Name   string // synthesized-microphone or synthesized-camera for WHIP tracks
	Kind   Kind
	Mime   string // LiveKit's mime type: "audio/opus", "audio/red", "video/VP8", …
	Width  int    // pixels, 0 until LiveKit has measured it
	Height int    // pixels, 0 until LiveKit has measured it
	Muted  bool
}

// Participant is LiveKit's description of a participant of a room.
type Participant struct {
	Identity Identity
	SID      string
	Active   bool // ICE and DTLS are up
	JoinedAt time.Time
	Tracks   []Track
	Mutes    Mutes
}

// PublishOffer is the offer of a publisher.
type PublishOffer struct {
	Room     RoomName
	Identity Identity
	MediaID  string // kept as the participant attribute wcs.mediaSessionId
	SDP      string // the offer, already edited
}

// PlayOffer is the offer of a player.
type PlayOffer struct {
	Room      RoomName
	Identity  Identity
	MediaID   string
	Publisher Identity
	// Offer is called with the publisher's present state. It returns the offer, edited for the tracks that will
	// be played, and these tracks: LiveKit does not answer before they are bound. Its error is wrapped by that of
	// Play.
	Offer func(publisher Participant) (sdp string, tracks []Track, err error)
	// Attempt counts the attempts for this player, from 0.
	Attempt int
}

// Following moves a player to the tracks of another publisher, on the media path that it has.
type Following struct {
	Room      RoomName
	Identity  Identity
	MediaID   string
	SID       string // of the answer
	SDP       string // the offer that was answered: the client is not asked for another one
	Publisher Identity
	Tracks    []Track // of the publisher
}

// Answer is LiveKit's answer to an offer: SDP with all candidates, and the SID of the participant.
type Answer struct {
	SDP string
	SID string
	// Follows says that LiveKit can move the player to another publisher.
	Follows bool
}

// EventKind is the kind of an Event.
type EventKind int

// The LiveKit webhook events that concern a stream.
const (
	EventJoined      EventKind = iota + 1 // ICE and DTLS are up
	EventLeft                             // the participant left
	EventAborted                          // the participant left before its media was up
	EventTrack                            // media of a track has arrived
	EventTrackGone                        // a track ended
	EventRoomStarted                      // the room exists
	EventRoomEnded                        // the room was closed
	EventEgress                           // an egress of the participant began, changed or ended
)

// Event is one verified LiveKit webhook. Webhooks are hints: they arrive late, twice, out of order or never
// (docs/livekit-notes.md#webhooks).
type Event struct {
	ID       string
	Kind     EventKind
	Room     RoomName
	Identity Identity
	SID      string // of the participant
	Reason   EndReason
	Track    Track  // for EventTrack and EventTrackGone
	Egress   Egress // for EventEgress
	At       time.Time
}

// EndReason is LiveKit's reason for a participant's departure. Reasons that are not listed here have
// LiveKit's own name, in lower case.
type EndReason string

// LiveKit's reasons, as far as they differ for a WCS client.
const (
	EndAbsent     EndReason = "absent" // a poll did not find the participant, and no webhook had a reason
	EndUnknown    EndReason = "unknown"
	EndTimeout    EndReason = "connection timeout" // media path lost, or never established
	EndRemoved    EndReason = "removed"            // through LiveKit's API
	EndShutdown   EndReason = "server shutdown"
	EndRoomClosed EndReason = "room closed"
	EndReplaced   EndReason = "duplicate identity"
	EndMedia      EndReason = "media failure"
	EndClient     EndReason = "client initiated"
)

// ErrorKind classifies the failures of the SFU.
type ErrorKind int

// Kinds of SFU error.
const (
	ErrKindUnavailable ErrorKind = iota + 1 // not reachable, 5xx, or too slow
	ErrKindRefused                          // LiveKit rejected this offer (4xx)
	ErrKindDenied                           // LiveKit rejected the gateway's API key (401, 403)
	ErrKindNotFound                         // no such room or participant
	ErrKindCanceled                         // the caller gave up
)

func (k ErrorKind) String() string {
	switch k {
	case ErrKindUnavailable:
		return "unavailable"
	case ErrKindRefused:
		return "refused"
	case ErrKindDenied:
		return "denied"
	case ErrKindNotFound:
		return "not found"
	case ErrKindCanceled:
		return "canceled"
	}
	return "unknown"
}

// ErrNotSent is wrapped by the error of a call for which there was no connection to the SFU: the SFU has done
// nothing.
var ErrNotSent = errors.New("nothing was sent")

// ErrPublisherGone is wrapped by the error of a play whose publisher is not in the room. It is of
// ErrKindNotFound.
var ErrPublisherGone = errors.New("publisher is not in the room")

// ErrPlayAgain is wrapped by the error of a play whose participant cannot be used. Another attempt, under
// another identity, can succeed.
var ErrPlayAgain = errors.New("player needs another participant")

// Error is a failed call to the SFU.
type Error struct {
	Kind ErrorKind
	Op   string // "whip post", "remove participant", …
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Op, e.Kind, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the *Error in err's chain, or 0 if there is none.
func KindOf(err error) ErrorKind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}
