package rest

import (
	"context"
	"encoding/json"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/pulls"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Deployment queries and controls the streams and sessions of all pods. Its errors wrap state.ErrNotFound,
// state.ErrUnavailable or admin.ErrPodUnreachable.
type Deployment interface {
	EachStream(ctx context.Context, f admin.StreamFilter, yield func([]admin.StreamEntry) error) error
	TerminateStreams(ctx context.Context, f admin.StreamFilter) (ended int, err error)
	Figures(ctx context.Context, streams []admin.StreamEntry) (map[string]admin.Figures, error)
	EachSession(ctx context.Context, yield func([]state.Session) error) error
	FindSession(ctx context.Context, id string) (state.Session, error)
	TerminateSession(ctx context.Context, id string) error
	Statistics
}

// Statistics count streams and connections.
type Statistics interface {
	PodStatistics() admin.Statistics
	DeploymentStatistics(ctx context.Context) (admin.Statistics, error)
	// Ready reports whether the pod accepts new clients.
	Ready() bool
}

// Snapshots takes snapshots of streams.
type Snapshots interface {
	// Snapshot returns a PNG image of a published stream, or state.ErrNotFound without such a stream.
	Snapshot(ctx context.Context, streamName string) (png []byte, err error)
}

// Recorder records published streams. Its errors are those of the methods of *admin.Service.
type Recorder interface {
	// StartRecording starts a recording and returns the name of its file. An empty template means the
	// configured one.
	StartRecording(ctx context.Context, streamName string, fileTemplate translate.FileTemplate) (file string, err error)
	// StopRecording ends the recording of a stream.
	StopRecording(ctx context.Context, streamName string) error
	// Recordings returns the recordings that have not ended.
	Recordings(ctx context.Context) ([]admin.Recording, error)
}

// Pusher sends published streams to RTMP servers. Its errors are those of the methods of *admin.Service.
type Pusher interface {
	// StartPush sends a stream to an RTMP server. full is the request that address be used as it is.
	StartPush(ctx context.Context, streamName, address string, full bool) (admin.Push, error)
	// Pushes returns what is sent to an address; empty: to any.
	Pushes(ctx context.Context, address string) ([]admin.Push, error)
	// StopPush ends a push.
	StopPush(ctx context.Context, id string) error
}

// Puller pulls sources outside the deployment. Its errors are those of the methods of *pulls.Service.
type Puller interface {
	// Start pulls a source until Stop.
	Start(ctx context.Context, address string) error
	// List returns the pulls of an address; "": all.
	List(ctx context.Context, address string) ([]pulls.Listed, error)
	// Stop ends the pulls of an address, or returns state.ErrNotFound.
	Stop(ctx context.Context, address string) error
	// Stored returns the names under which the players of what a client calls name are stored.
	Stored(name string) []string
	// Shown returns a stored name for operators.
	Shown(name string) string
}

// Messenger sends to clients. Without such a session or stream its errors wrap state.ErrNotFound.
type Messenger interface {
	// SendToSession sends OnDataEvent to a client. operationID can be empty.
	SendToSession(ctx context.Context, sessionID, operationID string, payload json.RawMessage) error
	// SendStreamEvent sends notifyStreamEvent to all players of a published stream.
	SendStreamEvent(ctx context.Context, streamName, typ string, payload json.RawMessage) error
}
