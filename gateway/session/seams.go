package session

import (
	"context"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// SFU is what the gateway needs of LiveKit. Every call needs a context with a deadline.
// Errors are *translate.Error.
type SFU interface {
	// Publish sends a publisher's offer and gives LiveKit's answer.
	Publish(ctx context.Context, o translate.PublishOffer) (translate.Answer, error)
	// Play sends a player's offer and gives LiveKit's answer, which is not edited yet.
	Play(ctx context.Context, o translate.PlayOffer) (translate.Answer, error)
	// Remove ends a participant. One that is not there, or a room that is not, is no error.
	Remove(ctx context.Context, room translate.RoomName, id translate.Identity) error
	// Participant tells what is so now of one participant. One that is not there is translate.ErrKindNotFound.
	Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (translate.Participant, error)
	// Participants lists a room, hidden participants too; a room that does not exist is empty. LiveKit answers
	// from what it has stored: somebody who has gone may be in it, tracks and sizes may be missing.
	Participants(ctx context.Context, room translate.RoomName) ([]translate.Participant, error)
}

// Notifier tells native participants about a publisher. Every call needs a context with a deadline.
// Errors are *translate.Error.
type Notifier interface {
	// SetMutes publishes what a participant has muted as its attributes.
	SetMutes(ctx context.Context, room translate.RoomName, id translate.Identity, m translate.Mutes) error
	// MuteTrack has LiveKit stop, or go on, forwarding a track; it may refuse the latter
	// (translate.ErrKindRefused).
	MuteTrack(ctx context.Context, room translate.RoomName, id translate.Identity, trackSID string, muted bool) error
	// SendData sends data to everybody in a room.
	SendData(ctx context.Context, room translate.RoomName, data []byte) error
}

// Store is what the gateway keeps in Redis. Every call needs a context with a deadline; writes carry the
// pod's owner (pod and epoch), which the store adds, and are refused with state.ErrLeaseStale once the lease
// is not fresh. Errors wrap the sentinels of package state.
type Store interface {
	// ClaimStream claims the stream's name and its media id, or nothing. It is state.ErrAdopted when another pod
	// has taken the session and this stream with it; AddPlayer likewise.
	ClaimStream(ctx context.Context, s state.Stream) error
	// PutStream replaces the record of a claimed stream and gives the pods that have players of it.
	PutStream(ctx context.Context, s state.Stream) (pods []string, err error)
	// ReleaseStream gives name and media id free and tells which pods had players. Not ours any more: nothing is
	// written and the error is state.ErrLostOwnership.
	ReleaseStream(ctx context.Context, s state.Stream) (pods []string, err error)
	// DisplaceStream releases a stream of another owner, as FindStream gave it, and tells which pods had players.
	DisplaceStream(ctx context.Context, s state.Stream) (pods []string, err error)
	// FindStream gives the record of a name.
	FindStream(ctx context.Context, name string) (state.Stream, error)
	// AddPlayer claims the media id, registers the player with its stream and gives the stream's record.
	// Without a record it is state.ErrNotFound and nothing is kept, unless the player is Native.
	AddPlayer(ctx context.Context, p state.Player) (state.Stream, error)
	// RemovePlayer undoes AddPlayer. It may be repeated.
	RemovePlayer(ctx context.Context, p state.Player) error
}

// Sessions registers sessions. Neither call waits for Redis: registrations are written in batches, and
// again after Redis came back.
type Sessions interface {
	PutSession(s state.Session)
	DropSession(id string)
}

// Resumption takes over kept sessions, and what they have, from whichever pod has them. Errors are as
// Store's.
type Resumption interface {
	// FindSession gives the registration of a session, whoever has it.
	FindSession(ctx context.Context, id string) (state.Session, error)
	// TakeSession makes a kept session this pod's. decide is given it as it is and gives it as it shall be, with
	// another TokenHash and the next Generation, or an error that ends the attempt.
	TakeSession(ctx context.Context, id string, decide func(state.Session) (state.Session, error)) (was state.Session, err error)
	// EndSession takes a kept session off the register for good; state.ErrLostOwnership when it was taken since.
	EndSession(ctx context.Context, s state.Session) error
	// AdoptStream makes a published stream of an earlier generation this pod's; from is whoever had its session.
	AdoptStream(ctx context.Context, s state.Stream, from state.Owner) error
	// AdoptPlayer makes a player of another owner this pod's and gives the record of its stream.
	AdoptPlayer(ctx context.Context, p state.Player, from state.Owner) (state.Stream, error)
}
