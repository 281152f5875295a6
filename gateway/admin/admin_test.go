package admin

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLocal is a pod whose streams are known by their media ids. Its other methods fail the test.
type fakeLocal struct {
	Local
	state  PodState
	reply  RecordReply
	result string // of SendData and PublishData
	ended  []string
}

func (l *fakeLocal) State() PodState { return l.state }

func (l *fakeLocal) EndStreams(_ context.Context, ids []string) int {
	l.ended = append(l.ended, ids...)
	return len(ids)
}

func (l *fakeLocal) Record(context.Context, RecordRequest) RecordReply { return l.reply }

func (l *fakeLocal) SendData(context.Context, SessionData) string { return l.result }

func (l *fakeLocal) PublishData(context.Context, translate.Identity, []byte) string { return l.result }

// fakeDirectory has two pods with a stream each: "a-stream" on pod a, and "b-stream" on pod b.
type fakeDirectory struct{ Directory }

func (fakeDirectory) Pods(context.Context) ([]string, error) { return []string{"a", "b"}, nil }

func (fakeDirectory) EachStream(_ context.Context, _ state.StreamQuery, yield func([]state.Listed) error) error {
	var page []state.Listed
	for _, pod := range []string{"a", "b"} {
		page = append(page, state.Listed{Stream: state.Stream{MediaID: pod + "-stream", Name: pod, Owner: state.Owner{Pod: pod}, Phase: state.PhasePublishing}})
	}
	return yield(page)
}

func (fakeDirectory) FindStream(_ context.Context, name string) (state.Stream, error) {
	if name != "a" && name != "b" {
		return state.Stream{}, state.ErrNotFound
	}
	return state.Stream{Name: name, Owner: state.Owner{Pod: name}, Phase: state.PhasePublishing}, nil
}

func (fakeDirectory) FindSession(context.Context, string) (state.Session, error) {
	return state.Session{Owner: state.Owner{Pod: "b"}}, nil
}

// fakeBus passes the requests of one pod to the service of another. Without one it is not reachable.
type fakeBus struct {
	to    *Service
	reply string
}

func (b *fakeBus) Request(ctx context.Context, _ string, e state.Event) (string, error) {
	if b.to == nil {
		return "", context.DeadlineExceeded
	}
	b.to.HandleRequest(ctx, e)
	return b.reply, nil
}

func (b *fakeBus) Reply(_ context.Context, _ state.Event, reply string) { b.reply = reply }

// pods returns the service of pod a, and the local sides of the pods a and b.
func pods() (s *Service, bus *fakeBus, a, b *fakeLocal) {
	a, b = &fakeLocal{state: PodState{Statistics: Statistics{Pods: 1, Published: 1}}}, &fakeLocal{state: PodState{Statistics: Statistics{Pods: 1, Played: 2}}}
	deps := func(pod string, l Local, bus Bus) Deps {
		return Deps{
			Pod: pod, Local: l, Directory: fakeDirectory{}, Bus: bus, Recovered: func() {}, Log: zerolog.Nop(), Template: "{streamName}",
			CheckData: func(_ string, payload json.RawMessage) error {
				if !json.Valid(payload) {
					return errors.New("invalid JSON")
				}
				return nil
			},
		}
	}
	bus = &fakeBus{}
	bus.to = New(deps("b", b, bus))
	return New(deps("a", a, bus)), bus, a, b
}

func TestUnknownMethodIsAnsweredAsOtherVersion(t *testing.T) {
	s, _, _, _ := pods()
	var result int
	for _, pod := range []string{"a", "b"} {
		err := s.request(t.Context(), pod, "unknown", nil, &result)
		if err == nil || errors.Is(err, ErrPodUnreachable) || !strings.Contains(err.Error(), "another version") {
			t.Errorf("pod %s: %v", pod, err)
		}
	}
}

func TestTerminateEndsStreamsOfReachablePods(t *testing.T) {
	s, bus, a, b := pods()
	if n, err := s.TerminateStreams(t.Context(), StreamFilter{}); n != 2 || err != nil || !slices.Equal(a.ended, []string{"a-stream"}) || !slices.Equal(b.ended, []string{"b-stream"}) {
		t.Errorf("ended %d, %v: %v on a, %v on b", n, err, a.ended, b.ended)
	}
	bus.to = nil
	if n, err := s.TerminateStreams(t.Context(), StreamFilter{Status: string(wcs.StatusPublishing)}); n != 1 || !errors.Is(err, ErrPodUnreachable) {
		t.Errorf("with an unreachable pod: ended %d, %v", n, err)
	}
}

func TestStatisticsCountSilentPods(t *testing.T) {
	s, bus, _, _ := pods()
	if got, err := s.DeploymentStatistics(t.Context()); got != (Statistics{Pods: 2, Published: 1, Played: 2}) || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	bus.to = nil
	if got, err := s.DeploymentStatistics(t.Context()); got.Pods != 2 || err != nil {
		t.Errorf("cached: %+v, %v", got, err)
	}
	s, bus, _, _ = pods()
	bus.to = nil
	if got, err := s.DeploymentStatistics(t.Context()); got != (Statistics{Pods: 1, Silent: 1, Published: 1}) || err != nil {
		t.Errorf("with an unreachable pod: %+v, %v", got, err)
	}
}

func TestRecordingErrorsCrossPods(t *testing.T) {
	s, bus, _, b := pods()
	for _, want := range recordErrors {
		b.reply = NewRecordReply("", want)
		if _, err := s.StartRecording(t.Context(), "b", ""); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	b.reply = RecordReply{Fault: "an error of a later version"}
	if _, err := s.StartRecording(t.Context(), "b", ""); !errors.Is(err, ErrRecordingFailed) {
		t.Errorf("unknown fault: %v", err)
	}
	b.reply = RecordReply{File: "f.mp4"}
	if file, err := s.StartRecording(t.Context(), "b", ""); file != "f.mp4" || err != nil {
		t.Errorf("got %q, %v", file, err)
	}
	if err := s.StopRecording(t.Context(), "unknown"); !errors.Is(err, ErrNoSuchStream) {
		t.Errorf("unknown stream: %v", err)
	}
	bus.to = nil
	if err := s.StopRecording(t.Context(), "b"); !errors.Is(err, ErrPodUnreachable) {
		t.Errorf("unreachable pod: %v", err)
	}
}

func TestDataIsSentByPodOfReceiver(t *testing.T) {
	for _, tt := range []struct {
		here, there string
		want        error
	}{
		{DataSent, DataNoReceiver, nil},
		{DataNoReceiver, DataSent, nil},
		{DataNoReceiver, DataNoReceiver, state.ErrNotFound},
		{DataNoReceiver, "queue is full", state.ErrUnavailable},
	} {
		s, _, a, b := pods()
		a.result, b.result = tt.here, tt.there
		if err := s.SendToSession(t.Context(), "id", "", json.RawMessage("1")); !errors.Is(err, tt.want) {
			t.Errorf("%q on this pod, %q on the other: %v, want %v", tt.here, tt.there, err, tt.want)
		}
	}
	s, _, _, _ := pods()
	if err := s.SendToSession(t.Context(), "id", "", json.RawMessage("{")); !errors.Is(err, ErrBadData) {
		t.Errorf("bad payload: %v", err)
	}
	if err := s.SendStreamEvent(t.Context(), "a", "audioMuted", json.RawMessage("1")); !errors.Is(err, ErrBadData) {
		t.Errorf("mute: %v", err)
	}
}
