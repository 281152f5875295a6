// Package snapshot takes pictures of published streams: it captures a key frame through a hidden participant,
// and decodes it into a PNG. It owns the limits on how many pictures are taken and kept in memory at a time.
// Callers resolve a stream's name first.
package snapshot

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/gateway/quota"
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

// Deps are the dependencies of a Service.
type Deps struct {
	Config   Config
	Camera   Camera
	Duration prometheus.Observer // of pictures that were taken, in seconds
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
// party, which is a client's realip.LimitKey, has a part of the places and of the unsent bytes, so that one
// that requests pictures of streams without key frames, or does not receive them, leaves some for the others.
// A Service is safe for concurrent use.
type Service struct {
	d     Deps
	turns *quota.Turns
	work  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	shots  map[Source]*shot // requested pictures: concurrent requests share one
	unsent unsent
}

// shot is a picture that was requested. The first of its requests that gets a turn begins it.
type shot struct {
	requests int // that wait for it
	begun    bool
	over     context.Context // done when there is a result
	end      context.CancelFunc
	png      []byte
	err      error
}

// New returns a Service.
func New(d Deps) *Service {
	return &Service{
		d: d, turns: quota.NewTurns(d.Config.MaxAtOnce), shots: make(map[Source]*shot),
		unsent: unsent{free: MaxUnsent, held: make(map[netip.Addr]int)},
	}
}

// Close waits for the pictures that are being taken, and lets no more begin.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
}

// Take returns a picture of a stream as a PNG: one that is already being taken, or a new one. The zero party
// is the operator.
func (s *Service) Take(ctx context.Context, party netip.Addr, src Source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.d.Config.Timeout)
	defer cancel()
	p := s.request(src)
	defer s.withdraw(src, p)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(p.over, stop)() // another request's turn came first
	if release, err := s.turns.Acquire(waiting, party); err == nil {
		s.begin(src, p, release)
	}
	select {
	case <-p.over.Done():
		return p.png, p.err
	case <-ctx.Done():
	}
	if s.hasBegun(p) {
		return nil, fmt.Errorf("%w: %w", ErrLate, ctx.Err())
	}
	return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
}

// request returns the picture of src that is requested already, or a new one.
func (s *Service) request(src Source) *shot {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.shots[src]
	if p == nil {
		p = new(shot)
		p.over, p.end = context.WithCancel(context.Background())
		s.shots[src] = p
	}
	p.requests++
	return p
}

// withdraw drops a picture that was not begun with its last request.
func (s *Service) withdraw(src Source, p *shot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.requests--; p.requests == 0 && !p.begun {
		s.forget(src, p)
	}
}

// forget needs mu. Later requests are for another picture.
func (s *Service) forget(src Source, p *shot) {
	if s.shots[src] == p {
		delete(s.shots, src)
	}
	p.end()
}

func (s *Service) hasBegun(p *shot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.begun
}

// begin takes a picture unless another request has begun it. It does not depend on the context of a request,
// because others share the result.
func (s *Service) begin(src Source, p *shot, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.begun || s.closed {
		release()
		return
	}
	p.begun = true
	s.work.Go(func() {
		defer release()
		png, err := s.capture(src)
		s.mu.Lock()
		defer s.mu.Unlock()
		p.png, p.err = png, err
		s.forget(src, p)
	})
}

// capture takes a picture.
func (s *Service) capture(src Source) (png []byte, err error) {
	err = errPanic // unless takeInTime returns
	func() {
		defer s.d.Recovered()
		png, err = s.takeInTime(src)
	}()
	return png, err
}

func (s *Service) takeInTime(src Source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.d.Context, s.d.Config.Timeout)
	defer cancel()
	since := time.Now()
	png, err := s.decode(ctx, src)
	switch {
	case err == nil:
		s.d.Duration.Observe(time.Since(since).Seconds())
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

// Encode returns the messages that carry a picture. Their bytes count as unsent until done is called, which
// must happen after the client has received them or is gone. The error is ErrBusy.
func (s *Service) Encode(party netip.Addr, answer wcs.Snapshot) (frames [][]byte, done func(), err error) {
	size := 2 * base64.StdEncoding.EncodedLen(len(answer.PNG)) // both messages have it
	s.mu.Lock()
	taken := s.unsent.take(party, size)
	s.mu.Unlock()
	if !taken {
		return nil, nil, ErrBusy
	}
	return answer.Frames(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unsent.put(party, size)
	}, nil
}

// unsent is bytes that parties share. A party with some has at most as many as are free after that.
type unsent struct {
	free int
	held map[netip.Addr]int
}

func (u *unsent) take(party netip.Addr, n int) bool {
	held := u.held[party]
	if n > u.free || held > 0 && held+n > u.free-n {
		return false
	}
	u.free -= n
	u.held[party] = held + n
	return true
}

func (u *unsent) put(party netip.Addr, n int) {
	u.free += n
	if u.held[party] -= n; u.held[party] == 0 {
		delete(u.held, party)
	}
}
