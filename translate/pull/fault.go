package pull

import "errors"

// Fault is the reason why a pull failed or ended.
type Fault string

// Faults.
const (
	BadURL           Fault = "bad-url"           // the name is not a source
	Forbidden        Fault = "forbidden"         // not allowed by configuration, or an address that must not be connected to
	NotFound         Fault = "not-found"         // the server answers that it does not have the source
	FileNotFound     Fault = "file-not-found"    // no such file in the folder
	FileUnreadable   Fault = "file-unreadable"   // the file cannot be read
	Unauthorized     Fault = "unauthorized"      // the server rejects the credentials
	Unreachable      Fault = "unreachable"       // no connection, or no answer
	NoMedia          Fault = "no-media"          // no audio and no video that can be used
	NeedsTranscoding Fault = "needs-transcoding" // the codec passes only where transcoding is configured
	Ended            Fault = "ended"             // the source ended by itself
	Lost             Fault = "lost"              // the source was lost and did not return in time
	NoWorker         Fault = "no-worker"         // no worker is alive, or all are full
	TooMany          Fault = "too-many"          // a limit on pulls is reached
	Terminated       Fault = "terminated"        // by an operator or backend
	Internal         Fault = "internal"          // a fault of the worker or of LiveKit
)

// Faults are all faults.
var Faults = []Fault{
	BadURL, Forbidden, NotFound, FileNotFound, FileUnreadable, Unauthorized, Unreachable, NoMedia, NeedsTranscoding,
	Ended, Lost, NoWorker, TooMany, Terminated, Internal,
}

// infos are the texts that clients get. An entry for rtsp is for rtsp and rtsps.
var infos = map[Fault]struct{ rtsp, file, other string }{
	BadURL:           {"Bad URI", "Bad URI", "Bad URI"},
	Forbidden:        {"Restricted access", "Restricted access", "Restricted access"},
	NotFound:         {"Rtsp stream not found", "File not found", "Stream not found"},
	FileNotFound:     {"File not found", "File not found", "File not found"},
	FileUnreadable:   {"Failed to read file", "Failed to read file", "Failed to read file"},
	Unauthorized:     {"Failed to connect to rtsp stream", "Failed to read file", "Failed to connect to origin stream"},
	Unreachable:      {"Failed to connect to rtsp stream", "Failed to read file", "Failed to connect to origin stream"},
	NoMedia:          {"Rtsp has wrong format", "File has wrong format", "No common codecs"},
	NeedsTranscoding: {"Transcoding required, but disabled", "Transcoding required, but disabled", "Transcoding required, but disabled"},
	Ended:            {"Stopped by publisher stop", "Stopped by publisher stop", "Stopped by publisher stop"},
	Lost:             {"RtspAgent shutdown", "Got exception while streaming file", "Requested stream shutdown"},
	NoWorker:         {"No worker for pulled streams is available", "No worker for pulled streams is available", "No worker for pulled streams is available"},
	TooMany:          {"Too many pulled streams", "Too many pulled streams", "Too many pulled streams"},
	Terminated:       {"Stopped by rest /terminate", "Stopped by rest /terminate", "Stopped by rest /terminate"},
	Internal:         {"Failed by error", "Failed by error", "Failed by error"},
}

// Info returns the text that clients get for a source of a scheme (docs/wcs-protocol.md). A fault that is not
// listed counts as Internal.
func (f Fault) Info(scheme string) string {
	texts, ok := infos[f]
	if !ok {
		texts = infos[Internal]
	}
	switch scheme {
	case RTSP, RTSPS:
		return texts.rtsp
	case VOD, VODLive:
		return texts.file
	}
	return texts.other
}

// Error is a failed pull.
type Error struct {
	Fault  Fault
	Detail string // for logs and operators; it contains nothing of the URL
}

// Error returns the fault and its detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Fault)
	}
	return string(e.Fault) + ": " + e.Detail
}

func badURL(has string) *Error { return &Error{Fault: BadURL, Detail: has} }

// FaultOf returns the fault and detail of an error. An error of another type is Internal and has no detail,
// because it can contain the URL.
func FaultOf(err error) (f Fault, detail string) {
	var e *Error
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &e):
		return e.Fault, e.Detail
	}
	return Internal, ""
}

// State is the progress of a pull.
type State string

// States of a pull.
const (
	Waiting     State = "waiting"     // no worker has it
	Connecting  State = "connecting"  // a worker has it; no packet was published yet
	Running     State = "running"     // packets are published
	Interrupted State = "interrupted" // the source was lost; the worker tries again
	Failed      State = "failed"      // for good, with a fault
)
