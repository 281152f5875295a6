package session

import (
	"context"
	"errors"
	"fmt"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// SnapshotConfig limits the cost of snapshots.
type SnapshotConfig struct {
	snapshot.Config
	PerMinute int // requests of one session, in the long run
}

// Snapshot takes a picture of a published stream, as a PNG. The name is that of any application. It takes no
// longer than SnapshotConfig.Timeout and the calls to Redis and LiveKit that resolve the name. The error
// wraps state.ErrNotFound if there is no such stream, and admin.ErrSnapshot otherwise.
func (t *Table) Snapshot(ctx context.Context, name string) ([]byte, error) {
	if err := t.Settings().Limits.checkName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrSnapshot, err)
	}
	png, err := t.takeSnapshot(ctx, nil, name)
	t.Metrics.Snapshots.WithLabelValues(snapshotResult(err)).Inc()
	switch {
	case errors.Is(err, errNoStream), errors.Is(err, errStreamNotReady), errors.Is(err, snapshot.ErrNoPublisher):
		err = fmt.Errorf("%w: %w", state.ErrNotFound, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", admin.ErrSnapshot, err)
	}
	return png, err
}

// takeSnapshot takes a picture for the clients of an application; nil stands for an operator.
func (t *Table) takeSnapshot(ctx context.Context, app *App, name string) ([]byte, error) {
	src, err := t.locate(ctx, app, name)
	if err != nil {
		return nil, err
	}
	return t.Snapshots.Take(ctx, snapshot.Source{Room: src.room, Publisher: src.publisher.Identity})
}

// snapshotResults maps errors of snapshots to values of the metric's label. The first match counts.
var snapshotResults = []struct {
	err    error
	result string
}{
	{snapshot.ErrLate, "late"},
	{snapshot.ErrBusy, "busy"},
	{errTooManyLookups, "busy"},
	{snapshot.ErrTooBig, "too_big"},
	{snapshot.ErrNoDecoder, "no_decoder"},
	{snapshot.ErrDecode, "bad_frame"},
	{translate.ErrNoVideo, "no_video"},
	{translate.ErrPictureCodec, "no_decoder"},
	{snapshot.ErrCodec, "no_decoder"},
	{snapshot.ErrNoPublisher, "no_stream"},
	{errNoStream, "no_stream"},
	{errStreamNotReady, "no_stream"},
	{errRestricted, "refused"},
	{ErrBadName, "refused"},
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
