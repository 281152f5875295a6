package rest

import (
	"context"
	"encoding/json"

	"wcsgateway/gateway"
	"wcsgateway/state"
	"wcsgateway/translate"
)

// Deployment is what all pods have, from whichever is asked. Its errors wrap state.ErrNotFound, state.ErrUnavailable or
// gateway.ErrPodSilent.
type Deployment interface {
	EachStream(ctx context.Context, f gateway.StreamFilter, yield func([]gateway.StreamEntry) error) error
	TerminateStreams(ctx context.Context, f gateway.StreamFilter) (ended int, err error)
	Figures(ctx context.Context, streams []gateway.StreamEntry) (map[string]gateway.Figures, error)
	EachSession(ctx context.Context, yield func([]state.Session) error) error
	FindSession(ctx context.Context, id string) (state.Session, error)
	TerminateSession(ctx context.Context, id string) error
	Statistics
}

// Statistics count what there is.
type Statistics interface {
	PodStatistics() gateway.Statistics
	DeploymentStatistics(ctx context.Context) (gateway.Statistics, error)
	// Load tells whether the pod takes new clients.
	Load() (percent int, open bool)
}

// Snapshots take pictures.
type Snapshots interface {
	// Snapshot gives a PNG of a published stream. Without such a stream it is state.ErrNotFound.
	Snapshot(ctx context.Context, streamName string) (png []byte, err error)
}

// Recorder records published streams. Its errors are those of the methods of *gateway.Gateway.
type Recorder interface {
	// StartRecording begins a recording and gives the file's name. An empty template is the configured one.
	StartRecording(ctx context.Context, streamName string, fileTemplate translate.FileTemplate) (file string, err error)
	// StopRecording ends it.
	StopRecording(ctx context.Context, streamName string) error
}

// Messenger sends to clients. Without such a session or stream its errors wrap state.ErrNotFound.
type Messenger interface {
	// SendToSession sends OnDataEvent to a client. operationID may be empty.
	SendToSession(ctx context.Context, sessionID, operationID string, payload json.RawMessage) error
	// SendStreamEvent sends notifyStreamEvent to all players of a published stream.
	SendStreamEvent(ctx context.Context, streamName, typ string, payload json.RawMessage) error
}
