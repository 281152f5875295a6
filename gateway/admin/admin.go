// Package admin queries and controls the whole deployment from any pod, for operators and backends. Queries
// are answered from Redis; commands, and questions that only the owning pod can answer, are sent to that pod
// as requests. It owns the protocol of these requests. It knows no sockets, sessions or HTTP: the pod's own
// part is behind Local. Packages rest and console are its callers; package gateway wires it and passes it the
// requests of other pods.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/serial"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// ErrPodUnreachable is returned if a pod did not reply: it is dead and will be taken over, or it is
// disconnected from Redis. The request might have been executed.
var ErrPodUnreachable = errors.New("pod does not answer")

// ErrSnapshot is returned if no snapshot could be taken. The text of the error has the reason.
var ErrSnapshot = errors.New("snapshot")

// Local queries and controls the sessions and streams of this pod. Its methods return when ctx is done.
type Local interface {
	// EndStreams ends the streams with the given media ids and returns their number. Streams that are already
	// ending, or whose session does not process the request before ctx is done, do not count.
	EndStreams(ctx context.Context, mediaIDs []string) int
	// EndSession closes a session and reports whether this pod had it.
	EndSession(id string) bool
	// Figures returns the figures of streams by media id. Streams that are not measured can be missing.
	Figures(ctx context.Context, mediaIDs []string) map[string]Figures
	// Record starts or stops a recording.
	Record(ctx context.Context, r RecordRequest) RecordReply
	// PublishData sends data in the name of a publisher. It returns DataSent, DataNoReceiver, or the reason
	// of a failure.
	PublishData(ctx context.Context, publisher translate.Identity, payload []byte) string
	// SendData sends data to the client of a session. Its results are those of PublishData.
	SendData(ctx context.Context, d SessionData) string
	// State returns the state of the pod.
	State() PodState
	// Session returns the details of a session, or nil if this pod does not have it.
	Session(ctx context.Context, id string) *SessionDetails
}

// Directory finds the streams, sessions and pods of the deployment. Errors wrap state.ErrNotFound or
// state.ErrUnavailable.
type Directory interface {
	Sessions
	// EachStream passes streams and players to yield, page by page.
	EachStream(ctx context.Context, q state.StreamQuery, yield func([]state.Listed) error) error
	// FindStream returns the published stream with the given name.
	FindStream(ctx context.Context, name string) (state.Stream, error)
	// Pods returns the ids of the pods that are alive.
	Pods(ctx context.Context) ([]string, error)
}

// Sessions finds the sessions of the deployment.
type Sessions interface {
	// EachSession passes sessions to yield, page by page.
	EachSession(ctx context.Context, yield func([]state.Session) error) error
	// FindSession returns the registration of a session of any pod.
	FindSession(ctx context.Context, id string) (state.Session, error)
}

// Bus carries requests to other pods.
type Bus interface {
	// Request sends an event to a pod and returns its reply.
	Request(ctx context.Context, pod string, e state.Event) (reply string, err error)
	// Reply replies to a request of another pod.
	Reply(ctx context.Context, request state.Event, reply string)
}

// Deps are the dependencies of a Service.
type Deps struct {
	Pod       string // id of this pod
	Local     Local
	Directory Directory
	Bus       Bus
	// CheckData validates an operation id and a payload of a backend.
	CheckData func(operationID string, payload json.RawMessage) error
	// Ready reports whether this pod accepts new clients.
	Ready func() bool
	// History returns this pod's figures of the last hour, which must marshal to JSON.
	History func() any
	// Ends has this pod's failures of the last hour, and its last published streams.
	Ends *ends.Recorder
	// Template is the file name of recordings without another one.
	Template translate.FileTemplate
	// StartTimeout bounds the start of a recording.
	StartTimeout time.Duration
	// Egresses and PushAddress serve pushes and the list of recordings.
	Egresses    Egresses
	PushAddress PushAddress
	// FilePrefix precedes the name of each recording's file.
	FilePrefix string
	Recovered  func() // deferred in every goroutine
	Log        zerolog.Logger
}

// Service queries and controls the deployment. Its methods are safe for concurrent use.
type Service struct {
	Sessions
	deps   Deps
	cache  statisticsCache
	pushes serial.KeyLock // starts, by identity of the publisher
}

// New returns a Service.
func New(d Deps) *Service { return &Service{Sessions: d.Directory, deps: d} }

// Pod returns the id of this pod.
func (s *Service) Pod() string { return s.deps.Pod }

// Ready reports whether this pod accepts new clients.
func (s *Service) Ready() bool { return s.deps.Ready() }

// method is the name of a request to a pod. The comments name the types of its argument and its result in
// JSON.
type method string

const (
	methodEndStreams  method = "end-streams"  // []string, media ids → int
	methodEndSession  method = "end-session"  // string, session id → bool
	methodFigures     method = "figures"      // []string, media ids → map[string]Figures
	methodRecord      method = "record"       // RecordRequest → RecordReply
	methodPublishData method = "publish-data" // streamData → string
	methodSendData    method = "send-data"    // SessionData → string
	methodPod         method = "pod"          // null → PodState
	methodHistory     method = "history"      // null → the result of Deps.History
	methodFailures    method = "failures"     // null → []ends.Failure
	methodStream      method = "stream"       // ends.Stream → *ends.Record
	methodEnded       method = "ended"        // null → []ends.Record
	methodSession     method = "session"      // string, session id → *SessionDetails
)

// replyTimeout bounds the wait for the reply of one pod, which answers from memory except for LiveKit's part
// in recordings.
const replyTimeout = 1500 * time.Millisecond

func (s *Service) timeout(m method) time.Duration {
	if m == methodRecord {
		return replyTimeout + s.deps.StartTimeout
	}
	return replyTimeout
}

// request executes a method on a pod, which can be this one, and decodes the result.
func (s *Service) request(ctx context.Context, pod string, m method, arg, result any) error {
	body, err := wcs.Encode(arg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout(m))
	defer cancel()
	e := state.Event{Kind: state.EventAdmin, Name: string(m), Body: body}
	reply := ""
	if pod == s.deps.Pod {
		reply = s.handle(ctx, e)
	} else if reply, err = s.deps.Bus.Request(ctx, pod, e); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPodUnreachable, pod, err)
	}
	if err := json.Unmarshal([]byte(reply), result); err != nil {
		return fmt.Errorf("pod %s, of another version: %s: %w", pod, m, err)
	}
	return nil
}

// HandleRequest executes the request of another pod and replies to it.
func (s *Service) HandleRequest(ctx context.Context, e state.Event) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout(method(e.Name)))
	defer cancel()
	s.deps.Bus.Reply(ctx, e, s.handle(ctx, e))
}

// handle executes a request and returns its result as JSON, or "" if the request is not understood.
func (s *Service) handle(ctx context.Context, e state.Event) (reply string) {
	var (
		local  = s.deps.Local
		result any
		err    error
	)
	switch method(e.Name) {
	case methodEndStreams:
		result, err = handleJSON(e.Body, func(ids []string) int { return local.EndStreams(ctx, ids) })
	case methodEndSession:
		result, err = handleJSON(e.Body, local.EndSession)
	case methodFigures:
		result, err = handleJSON(e.Body, func(ids []string) map[string]Figures { return local.Figures(ctx, ids) })
	case methodRecord:
		result, err = handleJSON(e.Body, func(r RecordRequest) RecordReply { return local.Record(ctx, r) })
	case methodPublishData:
		result, err = handleJSON(e.Body, func(d streamData) string { return local.PublishData(ctx, d.Publisher, d.Payload) })
	case methodSendData:
		result, err = handleJSON(e.Body, func(d SessionData) string { return local.SendData(ctx, d) })
	case methodPod:
		result = local.State()
	case methodHistory:
		result = s.deps.History()
	case methodFailures:
		result = s.deps.Ends.Failures()
	case methodStream:
		result, err = handleJSON(e.Body, s.deps.Ends.Stream)
	case methodEnded:
		result = s.deps.Ends.LastEnded(maxEnded)
	case methodSession:
		result, err = handleJSON(e.Body, func(id string) *SessionDetails { return local.Session(ctx, id) })
	default:
		err = fmt.Errorf("unknown method %q", e.Name)
	}
	text, failed := wcs.Encode(result)
	if err = errors.Join(err, failed); err != nil {
		s.deps.Log.Error().Err(err).Str("pod_from", e.From).Str("hint", "that pod has another version").Msg("admin request not understood")
		return ""
	}
	return string(text)
}

// handleJSON calls f with an argument in JSON.
func handleJSON[A, R any](arg []byte, f func(A) R) (result R, err error) {
	var a A
	if err := json.Unmarshal(arg, &a); err != nil {
		return result, err
	}
	return f(a), nil
}
