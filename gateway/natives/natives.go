// Package natives finds the native LiveKit participant that publishes in a room. All clients of the pod share
// its answers, so that their number does not count for LiveKit. Sessions call it.
package natives

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"wcsgateway/translate"
)

// ErrNone is the error for a room without a native publisher.
var ErrNone = errors.New("no native publisher")

const (
	validFor  = time.Second // how long an answer about a room is used
	maxRooms  = 4096        // whose answers are kept
	maxAsked  = 8           // participants of each kind that are asked about: with and without tracks in the list
	waitLimit = 10 * time.Second
)

// SFU is what Finder uses of LiveKit. Errors are *translate.Error.
type SFU interface {
	// Participants lists a room. Participants that left can be listed, and tracks can be missing.
	Participants(ctx context.Context, room translate.RoomName) ([]translate.Participant, error)
	// Participant returns the present state of one participant.
	Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (translate.Participant, error)
}

// Finder finds native publishers. Its methods may be called from any goroutine.
type Finder struct {
	ctx     context.Context //nolint:containedctx // of the pod: a look serves more clients than the one that began it
	sfu     SFU
	flights singleflight.Group

	mu      sync.Mutex // of a read and the write that depends on it
	answers *lru.Cache[translate.RoomName, answer]
}

// answer is what a look found, or a mark that earlier looks are outdated.
type answer struct {
	publisher translate.Participant
	err       error // nil or ErrNone
	at        time.Time
	outdated  bool
}

// New returns a Finder. ctx ends its calls.
func New(ctx context.Context, sfu SFU) *Finder {
	answers, err := lru.New[translate.RoomName, answer](maxRooms)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Finder{ctx: ctx, sfu: sfu, answers: answers}
}

// Publisher returns the native participant that publishes in a room, with its tracks: of those that LiveKit's
// list shows with tracks, the one that joined first. The answer can be a second old, but not older than
// Forget. The error is ErrNone, that of LiveKit, or that of ctx.
func (f *Finder) Publisher(ctx context.Context, room translate.RoomName) (translate.Participant, error) {
	if a, known := f.answers.Get(room); known && !a.outdated && time.Since(a.at) < validFor {
		return a.publisher, a.err
	}
	flight := f.flights.DoChan(string(room), func() (any, error) {
		ctx, cancel := context.WithTimeout(f.ctx, waitLimit)
		defer cancel()
		a := answer{at: time.Now()}
		a.publisher, a.err = f.look(ctx, room)
		if a.err == nil || errors.Is(a.err, ErrNone) {
			f.keep(room, a)
		}
		return a.publisher, a.err
	})
	select {
	case got := <-flight:
		p, _ := got.Val.(translate.Participant)
		return p, got.Err
	case <-ctx.Done():
		return translate.Participant{}, ctx.Err()
	}
}

// Forget makes the next call for a room ask LiveKit: a native participant of it has changed.
func (f *Finder) Forget(room translate.RoomName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers.Add(room, answer{at: time.Now(), outdated: true})
	f.flights.Forget(string(room))
}

// keep keeps an answer unless the room has changed since the look began.
func (f *Finder) keep(room translate.RoomName, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, known := f.answers.Peek(room); !known || last.at.Before(a.at) {
		f.answers.Add(room, a)
	}
}

// look asks LiveKit. The list names the participants; their tracks are requested from each.
func (f *Finder) look(ctx context.Context, room translate.RoomName) (translate.Participant, error) {
	list, err := f.sfu.Participants(ctx, room)
	if err != nil {
		return translate.Participant{}, err
	}
	var publishing, idle []translate.Participant
	for _, p := range translate.Natives(list) {
		if len(p.Tracks) > 0 {
			publishing = append(publishing, p)
		} else {
			idle = append(idle, p)
		}
	}
	asked := slices.Concat(publishing[:min(maxAsked, len(publishing))], idle[:min(maxAsked, len(idle))])
	for _, p := range asked {
		p, err = f.sfu.Participant(ctx, room, p.Identity)
		switch {
		case translate.KindOf(err) == translate.ErrKindNotFound: // left since
		case err != nil:
			return p, err
		case len(p.Tracks) > 0:
			return p, nil
		}
	}
	return translate.Participant{}, ErrNone
}
