package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"wcsgateway/gateway/picture"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// SnapshotConfig bounds what snapshots may cost.
type SnapshotConfig struct {
	Timeout   time.Duration // from the command, or the backend's leave for it, to the PNG
	MaxAtOnce int           // pictures that a pod takes at a time
	PerMinute int           // of one session, in the long run
	Decoder   picture.Decoder
}

// ErrSnapshot says that there is no picture of a stream; the error's text tells why.
var ErrSnapshot = errors.New("snapshot")

// Faults of snapshots. What else can be the matter is in translate and picture.
var (
	errSnapshotLate  = errors.New("no picture in time")
	errSnapshotsFull = errors.New("too many snapshots at a time")
)

// maxUnsentPictures bounds the bytes of snapshots that wait, in all, for clients to take them.
const maxUnsentPictures = 64 << 20

// snapshots takes pictures of streams. Each is taken by a hidden participant of its own, which stays for as long as it takes a
// key frame to come: a probe, which could serve, is on the publisher's pod only, and often there is none.
type snapshots struct {
	g      *Gateway
	flight singleflight.Group // by room and publisher: who asks meanwhile gets the same picture
	places chan struct{}      // of pictures being taken
	unsent *semaphore.Weighted
}

func newSnapshots(g *Gateway) *snapshots {
	return &snapshots{g: g, places: make(chan struct{}, g.cfg.Snapshot.MaxAtOnce), unsent: semaphore.NewWeighted(maxUnsentPictures)}
}

// Snapshot takes a picture of a stream that is published, as a PNG; the name is that of any application. It takes no longer than
// SnapshotConfig.Timeout and a call to Redis. It fails with state.ErrNotFound if there is no such stream, and else with ErrSnapshot.
func (g *Gateway) Snapshot(ctx context.Context, name string) ([]byte, error) {
	if err := g.live().limits.checkName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	p, err := g.locate(ctx, nil, name)
	var picture []byte
	if err == nil {
		picture, err = g.snapshots.take(ctx, p)
	}
	g.metrics.snapshots.WithLabelValues(snapshotResult(err)).Inc()
	switch {
	case errors.Is(err, errNoStream), errors.Is(err, errStreamNotReady):
		err = fmt.Errorf("%w: %w", state.ErrNotFound, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return picture, err
}

// location is where a stream is published.
type location struct {
	room      translate.RoomName
	publisher translate.Identity
}

// locate finds what can be played under a name: by the clients of an application, or, without one, by anybody's.
func (g *Gateway) locate(ctx context.Context, app *App, name string) (location, error) {
	find, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	rec, err := g.deps.Store.FindStream(find, name)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return g.locateNative(ctx, app, name)
	case err != nil:
		return location{}, err
	case app != nil && !app.mayPlay(rec.App):
		return location{}, errRestricted
	case rec.Phase != state.PhasePublishing:
		return location{}, errStreamNotReady
	}
	return location{translate.RoomName(rec.Room), translate.Identity(rec.Identity)}, nil
}

// locateNative finds a native publisher in the room that the name has for the application, or for any.
func (g *Gateway) locateNative(ctx context.Context, app *App, name string) (location, error) {
	apps := g.live().apps
	if app != nil {
		apps = map[string]*App{app.Key: app}
	}
	rooms := make(map[translate.RoomName]struct{})
	for _, a := range apps {
		if a.Native.plays() {
			rooms[a.Room.Room(a.Key, name)] = struct{}{}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.StoreTimeout)
	defer cancel()
	for room := range rooms {
		p, err := g.nativePublisher(ctx, room)
		if !errors.Is(err, errNoStream) {
			return location{room, p.Identity}, err
		}
	}
	return location{}, errNoStream
}

// end waits for the pictures that are being taken, and lets no more begin. It must be called once.
func (s *snapshots) end() {
	for range cap(s.places) {
		s.places <- struct{}{}
	}
}

// take gives a picture of a publisher: one that is being taken already, or a new one.
func (s *snapshots) take(ctx context.Context, p location) ([]byte, error) {
	taken := s.flight.DoChan(string(p.room)+"\x00"+string(p.publisher), func() (any, error) { return s.shoot(p) })
	select {
	case r := <-taken:
		picture, _ := r.Val.([]byte) // nil with an error
		return picture, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errSnapshotLate, ctx.Err())
	}
}

// pack makes the messages of a picture. Their bytes count as unsent, before there are any, until the client has them.
func (s *snapshots) pack(answer wcs.Snapshot) (*parcel, error) {
	size := int64(2 * base64.StdEncoding.EncodedLen(len(answer.PNG))) // it is in both
	if !s.unsent.TryAcquire(size) {
		return nil, errSnapshotsFull
	}
	return &parcel{frames: answer.Frames(), gone: func() { s.unsent.Release(size) }}, nil
}

// shoot takes a picture. Nobody who asked for it can end it.
func (s *snapshots) shoot(p location) (picture []byte, err error) {
	err = errPanic // unless develop returns
	func() {
		defer s.g.recovered()
		picture, err = s.develop(p)
	}()
	return picture, err
}

// develop takes a picture once it is its turn.
func (s *snapshots) develop(p location) (picture []byte, err error) {
	g := s.g
	ctx, cancel := g.withTimeout(g.cfg.Snapshot.Timeout)
	defer cancel()
	since := time.Now()
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		return nil, errSnapshotsFull
	}
	frame, err := g.deps.Camera.KeyFrame(ctx, translate.ProbeTarget{
		Room: p.room, Identity: g.newIdentity(translate.RoleSnapshot), Publisher: p.publisher,
	})
	if err == nil {
		picture, err = g.cfg.Snapshot.Decoder.PNG(ctx, frame.Mime, frame.Data)
	}
	switch {
	case err == nil:
		g.metrics.snapshotTime.Observe(time.Since(since).Seconds())
	case translate.KindOf(err) == translate.ErrKindNotFound:
		err = errNoStream // its publisher's pod has not noticed yet
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", errSnapshotLate, err)
	}
	return picture, err
}

// snapshotResults tells errors of snapshots apart for the metric. The first that matches counts.
var snapshotResults = []struct {
	err    error
	result string
}{
	{errSnapshotLate, "late"},
	{errSnapshotsFull, "busy"},
	{errTooManyQuestions, "busy"},
	{picture.ErrTooBig, "too_big"},
	{picture.ErrNoDecoder, "no_decoder"},
	{picture.ErrDecode, "bad_frame"},
	{translate.ErrNoVideo, "no_video"},
	{translate.ErrPictureCodec, "no_decoder"},
	{picture.ErrCodec, "no_decoder"},
	{errNoStream, "no_stream"},
	{errStreamNotReady, "no_stream"},
	{errRestricted, "refused"},
	{errBadName, "refused"},
}

func snapshotResult(err error) string {
	if err == nil {
		return "ok"
	}
	for _, r := range snapshotResults {
		if errors.Is(err, r.err) {
			return r.result
		}
	}
	if isRefusal(err) {
		return "refused"
	}
	return "failed"
}
