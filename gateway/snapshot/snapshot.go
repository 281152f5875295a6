// Package snapshot takes pictures of published streams: it captures a key frame through a hidden participant,
// and decodes it into a PNG. It owns the limits on how many pictures are taken and kept in memory at a time.
// Callers resolve a stream's name first.
package snapshot

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Errors of snapshots, besides those of Decoder.PNG and of package translate.
var (
	// ErrLate: there was no picture within Config.Timeout.
	ErrLate = errors.New("no picture in time")
	// ErrBusy: too many pictures are being taken, or are waiting for clients to receive them.
	ErrBusy = errors.New("too many snapshots at a time")
	// ErrNoPublisher: the publisher is not in the room. Its pod has not noticed yet.
	ErrNoPublisher = errors.New("publisher is not in the room")
	errPanic       = errors.New("a panic was recovered")
)

// MaxUnsent bounds the bytes of encoded pictures that wait, in total, for clients to receive them.
const MaxUnsent = 64 << 20

// Camera captures single frames of streams.
type Camera interface {
	// KeyFrame requests a key frame of the target's video and returns it. It needs a context with a deadline. The
	// error is translate.ErrNoVideo for a publisher without video, and translate.ErrKindNotFound for one that is
	// not in the room.
	KeyFrame(ctx context.Context, target translate.ProbeTarget) (translate.KeyFrame, error)
}

// Config limits the cost of pictures.
type Config struct {
	Timeout   time.Duration // for one picture, with the wait for its turn
	MaxAtOnce int           // pictures that a pod takes at a time
	Decoder   Decoder
}

// Metrics are the figures of a Service.
type Metrics struct {
	Duration prometheus.Observer // of pictures that were taken, in seconds
}

// Deps are the dependencies of a Service.
type Deps struct {
	Config  Config
	Camera  Camera
	Metrics *Metrics
	// NewIdentity returns the identity of a new hidden participant.
	NewIdentity func() translate.Identity
	// Recovered is deferred while a picture is taken: it handles a panic.
	Recovered func()
	Context   context.Context // ends all work
}

// Source is a stream that a picture is taken of.
type Source struct {
	Room      translate.RoomName
	Publisher translate.Identity
}

// Service takes pictures. Each is captured by a hidden participant of its own, which stays in the room until
// a key frame arrives. A probe cannot serve: it is on the publisher's pod only, and often there is none. A
// Service is safe for concurrent use.
type Service struct {
	d      Deps
	flight singleflight.Group // by room and publisher: concurrent requests share a picture
	slots  *semaphore.Weighted
	unsent *semaphore.Weighted // in bytes
}

// New returns a Service.
func New(d Deps) *Service {
	return &Service{d: d, slots: semaphore.NewWeighted(int64(d.Config.MaxAtOnce)), unsent: semaphore.NewWeighted(MaxUnsent)}
}

// Close waits for the pictures that are being taken, and lets no more begin. It must be called once.
func (s *Service) Close() {
	_ = s.slots.Acquire(context.Background(), int64(s.d.Config.MaxAtOnce)) // fails with its context only
}

// Take returns a picture of a stream as a PNG: one that is already being taken, or a new one.
func (s *Service) Take(ctx context.Context, src Source) ([]byte, error) {
	taken := s.flight.DoChan(string(src.Room)+"\x00"+string(src.Publisher), func() (any, error) { return s.capture(src) })
	select {
	case r := <-taken:
		png, _ := r.Val.([]byte) // nil with an error
		return png, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrLate, ctx.Err())
	}
}

// Encode returns the messages that carry a picture. Their bytes count as unsent until done is called, which
// must happen once the client has received them or is gone. The error is ErrBusy.
func (s *Service) Encode(answer wcs.Snapshot) (frames [][]byte, done func(), err error) {
	size := int64(2 * base64.StdEncoding.EncodedLen(len(answer.PNG))) // both messages have it
	if !s.unsent.TryAcquire(size) {
		return nil, nil, ErrBusy
	}
	return answer.Frames(), func() { s.unsent.Release(size) }, nil
}

// capture takes a picture. It does not depend on the context of the request that caused it: others share the
// result.
func (s *Service) capture(src Source) (png []byte, err error) {
	err = errPanic // unless takeInTurn returns
	func() {
		defer s.d.Recovered()
		png, err = s.takeInTurn(src)
	}()
	return png, err
}

func (s *Service) takeInTurn(src Source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.d.Context, s.d.Config.Timeout)
	defer cancel()
	since := time.Now()
	if s.slots.Acquire(ctx, 1) != nil {
		return nil, ErrBusy
	}
	defer s.slots.Release(1)
	png, err := s.decode(ctx, src)
	switch {
	case err == nil:
		s.d.Metrics.Duration.Observe(time.Since(since).Seconds())
	case translate.KindOf(err) == translate.ErrKindNotFound:
		err = ErrNoPublisher
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", ErrLate, err)
	}
	return png, err
}

func (s *Service) decode(ctx context.Context, src Source) ([]byte, error) {
	frame, err := s.d.Camera.KeyFrame(ctx, translate.ProbeTarget{
		Room: src.Room, Identity: s.d.NewIdentity(), Publisher: src.Publisher,
	})
	if err != nil {
		return nil, err
	}
	return s.d.Config.Decoder.PNG(ctx, frame.Mime, frame.Data)
}
