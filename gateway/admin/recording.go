package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// Errors of StartRecording and StopRecording, besides those of Directory and of LiveKit.
var (
	ErrNoSuchStream       = errors.New("no such published stream")
	ErrRecordingForbidden = errors.New("the stream's application is not allowed to record")
	ErrNotRecorded        = errors.New("stream is not recorded")
	ErrRecordingFailed    = errors.New("recording could not be started")
)

// RecordRequest starts or stops the recording of a stream.
type RecordRequest struct {
	Publisher translate.Identity     `json:"publisher"`
	Stop      bool                   `json:"stop,omitempty"`
	Template  translate.FileTemplate `json:"template,omitempty"` // of the file name
}

// RecordReply is the reply to a RecordRequest.
type RecordReply struct {
	File  string `json:"file,omitempty"`
	Fault string `json:"fault,omitempty"` // text of one of recordErrors
}

// NewRecordReply returns the reply for the result of a RecordRequest.
func NewRecordReply(file string, err error) RecordReply {
	if err != nil {
		return RecordReply{Fault: err.Error()}
	}
	return RecordReply{File: file}
}

var recordErrors = []error{ErrNoSuchStream, ErrRecordingForbidden, ErrNotRecorded, ErrRecordingFailed}

func (r RecordReply) result() (file string, err error) {
	if r.Fault == "" {
		return r.File, nil
	}
	for _, err := range recordErrors {
		if r.Fault == err.Error() {
			return "", err
		}
	}
	return "", ErrRecordingFailed // an error that only another version knows
}

// StartRecording records a published stream of any pod. It ends a running recording and starts another one.
// An empty template means Deps.Template. It returns the name of the file, which has content some seconds
// later. It takes up to Deps.StartTimeout and some seconds. It fails with ErrNoSuchStream,
// ErrRecordingForbidden, ErrRecordingFailed (the log of the stream's pod has the reason),
// translate.ErrFileTemplate, ErrPodUnreachable or state.ErrUnavailable.
func (s *Service) StartRecording(ctx context.Context, stream string, t translate.FileTemplate) (file string, err error) {
	t = cmp.Or(t, s.deps.Template)
	if err := t.Validate(); err != nil {
		return "", err
	}
	return s.requestRecording(ctx, stream, RecordRequest{Template: t})
}

// StopRecording ends the recording of a published stream. It fails with ErrNoSuchStream, ErrNotRecorded,
// ErrPodUnreachable or state.ErrUnavailable.
func (s *Service) StopRecording(ctx context.Context, stream string) error {
	_, err := s.requestRecording(ctx, stream, RecordRequest{Stop: true})
	return err
}

// requestRecording sends a request to the pod of the named stream.
func (s *Service) requestRecording(ctx context.Context, name string, r RecordRequest) (file string, err error) {
	rec, err := s.deps.Directory.FindStream(ctx, name)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return "", ErrNoSuchStream
	case err != nil:
		return "", err
	}
	r.Publisher = translate.Identity(rec.Identity)
	var reply RecordReply
	if err := s.request(ctx, rec.Owner.Pod, methodRecord, r, &reply); err != nil {
		return "", fmt.Errorf("recording: %w", err)
	}
	return reply.result()
}
