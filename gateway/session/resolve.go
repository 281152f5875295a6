package session

import (
	"context"
	"errors"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/natives"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// source is a published stream that a name stands for.
type source struct {
	room      translate.RoomName
	publisher translate.Participant // of a stream with a record, only the identity
	record    state.Stream          // empty for a native publisher
}

// locate resolves a name for the clients of an application. Without an application the name may be that of
// any application's stream. A source outside the deployment is located while it is pulled.
func (t *Table) locate(ctx context.Context, app *apps.App, name string) (source, error) {
	if src, ok, err := t.locatePulled(ctx, app, name); ok {
		return src, err
	}
	return t.resolve(ctx, app, name, func() (state.Stream, error) { return t.Store.FindStream(ctx, name) })
}

// resolve returns the stream whose record find returns, if the application is allowed to play it. Without a
// record (state.ErrNotFound) it looks for a native publisher. The error is errNoStream, errRestricted,
// errStreamNotReady, or that of find or of LiveKit.
func (t *Table) resolve(ctx context.Context, app *apps.App, name string, find func() (state.Stream, error)) (source, error) {
	rec, err := find()
	switch {
	case errors.Is(err, state.ErrNotFound):
		return t.resolveNative(ctx, app, name)
	case err != nil:
		return source{}, err
	case app != nil && !app.MayPlay(rec.App):
		return source{}, errRestricted
	case rec.Phase != state.PhasePublishing:
		return source{}, errStreamNotReady
	}
	publisher := translate.Participant{Identity: translate.Identity(rec.Identity)}
	return source{room: translate.RoomName(rec.Room), publisher: publisher, record: rec}, nil
}

// resolveNative looks for a native publisher in the room that the application has for the name, or in the
// rooms of all applications.
func (t *Table) resolveNative(ctx context.Context, app *apps.App, name string) (source, error) {
	candidates := t.Settings().Apps
	if app != nil {
		candidates = map[string]*apps.App{app.Key: app}
	}
	rooms := make(map[translate.RoomName]struct{})
	for _, a := range candidates {
		if a.Native.Plays() {
			rooms[a.Room.Room(a.Key, name)] = struct{}{}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, t.Config.Media.SFUTimeout)
	defer cancel()
	for room := range rooms {
		p, err := t.nativePublisher(ctx, room)
		if !errors.Is(err, errNoStream) {
			return source{room: room, publisher: p}, err
		}
	}
	return source{}, errNoStream
}

// nativePublisher returns the native participant that publishes in a room. All lookups of the pod share it.
func (t *Table) nativePublisher(ctx context.Context, room translate.RoomName) (translate.Participant, error) {
	p, err := t.Natives.Publisher(ctx, room)
	if errors.Is(err, natives.ErrNone) {
		err = errNoStream
	}
	return p, err
}
