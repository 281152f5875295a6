package wcs

import (
	"encoding/json"
	"strings"
)

// Names of the messages that clients receive (docs/wcs-protocol.md#messages).
const (
	NoteGetUserData        Name = "getUserData"
	NoteGetVersion         Name = "getVersion"
	NotePing               Name = "ping"
	NoteSetRemoteSDP       Name = "setRemoteSDP"
	NoteStreamStatus       Name = "notifyStreamStatusEvent"
	NoteVideoFormat        Name = "notifyVideoFormat"
	NoteStreamEvent        Name = "notifyStreamEvent"
	NoteAudioCodec         Name = "notifyAudioCodec"
	NoteAvailableStream    Name = "availableStream"
	NoteDataStatus         Name = "DataStatusEvent"
	NoteOnData             Name = "OnDataEvent"
	NoteSessionDebug       Name = "notifySessionDebugEvent"
	NoteFail               Name = "fail"
	NoteFinish             Name = "finish"
	NoteIncomingCall       Name = "notifyIncomingCall" // of upstreams only
	NoteInboundVideoRate   Name = "inboundVideoRate"
	NoteOutboundVideoRate  Name = "outboundVideoRate"
	statusResize                = "RESIZE"
	eventResize                 = "resize"
	EventSnapshotFailed         = "snapshotFailed"
	EventSnapshotCompleted      = "snapshotCompleted"
	StatusSnapshotComplete      = "SNAPSHOT_COMPLETE"
	APIMethodConnection         = "ConnectionStatusEvent"
	apiMethodError              = "ErrorEvent"
	connectionEstablished       = "ESTABLISHED"
)

// Status is the status of a stream (docs/wcs-protocol.md#stream-status).
type Status string

// Statuses that the gateway sends.
const (
	StatusPublishing  Status = "PUBLISHING"
	StatusPlaying     Status = "PLAYING"
	StatusUnpublished Status = "UNPUBLISHED"
	StatusStopped     Status = "STOPPED"
	StatusFailed      Status = "FAILED"
)

var jsonFalse = json.RawMessage("false")

// ConnectionFlags are the members of getUserData that are false if the client did not send them.
var ConnectionFlags = []string{"useWsTunnel", "useWsTunnelPacketization2", "useBase64BinaryEncoding", "keepAlive"}

// UserData is getUserData, which accepts a session (docs/wcs-protocol.md#connection).
type UserData struct {
	Sent           map[string]json.RawMessage // the connection command's argument
	MediaProviders []string                   // those that client and gateway support
	AuthToken      string
	// CollectMetrics requests the client's WebRTC statistics (docs/wcs-protocol.md#client-metrics). Set it
	// only if the client's first media provider is WebRTC: with another one 2.0.276 fails at PLAYING. Older
	// clients ignore it.
	CollectMetrics bool
}

// Frame returns the message.
func (u UserData) Frame() []byte { return encodeObject(NoteGetUserData, u.members()) }

// members echoes what the client sent, without its SIP account, and adds the members of the vendor's sample.
func (u UserData) members() map[string]json.RawMessage {
	all := make(map[string]json.RawMessage, 5+len(ConnectionFlags)+len(u.Sent))
	for _, flag := range ConnectionFlags {
		all[flag] = jsonFalse
	}
	for name, value := range u.Sent {
		if !strings.HasPrefix(name, "sip") {
			all[name] = value
		}
	}
	all["forceLogger"] = jsonFalse
	all["mediaProviders"] = quoteAll(u.MediaProviders)
	all["authToken"] = quote(u.AuthToken)
	all["status"] = quote(connectionEstablished)
	if u.CollectMetrics {
		all["webRTCMetricsServerDescription"] = clientMetricsJSON
	}
	return all
}

// Version is the getVersion message.
func Version(v string) []byte { return encode(NoteGetVersion, v) }

// Pong is a client's answer to Ping, as every SDK sends it.
func Pong() []byte { return encode(CmdPong, any(nil)) }

// Ping is the JSON ping, which clients answer with pong (docs/wcs-protocol.md#keep-alive).
func Ping() []byte { return encode(NotePing) }

// RemoteSDP sends a client the answer to its offer. It must be sent exactly once per stream. The third
// element marks it as an answer; the Android SDK needs that (docs/wcs-protocol.md#sdp).
func RemoteSDP(mediaID, sdp string) []byte { return encode(NoteSetRemoteSDP, mediaID, sdp, true) }

// AudioCodec sends a player the codec of the stream's audio. It must precede RemoteSDP.
func AudioCodec(mediaID, codec string) []byte {
	return encode(NoteAudioCodec, mediaID, struct {
		Name string `json:"name"`
	}{codec})
}

// MuteState is audioState or videoState.
type MuteState struct {
	Muted bool `json:"muted"`
}

// StreamHead is what all messages about a stream begin with.
type StreamHead struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
	Published      bool   `json:"published"`
	HasVideo       bool   `json:"hasVideo"`
	HasAudio       bool   `json:"hasAudio"`
	Status         Status `json:"status"`
}

// StreamStatus is a notifyStreamStatusEvent (docs/wcs-protocol.md#stream-status), with every member of the
// vendor's samples, each with the same JSON type.
type StreamStatus struct {
	StreamHead
	AudioCodec    string      `json:"audioCodec,omitempty"` // "" without audio
	VideoCodec    string      `json:"videoCodec,omitempty"` // "" without video
	Info          string      `json:"info,omitempty"`
	Record        bool        `json:"record"` // the stream is, or was, recorded
	RecordName    string      `json:"recordName,omitempty"`
	Width         int         `json:"width"`      // pixels; 0 while unknown
	Height        int         `json:"height"`     // pixels; 0 while unknown
	MinBitrate    int         `json:"minBitrate"` // kbps
	MaxBitrate    int         `json:"maxBitrate"` // kbps
	MediaProvider string      `json:"mediaProvider"`
	Bitrate       int         `json:"bitrate"`
	Quality       int         `json:"quality"`
	CreateDate    int64       `json:"createDate"` // milliseconds
	StreamInfo    *streamInfo `json:"streamInfo,omitempty"`
	MediaType     string      `json:"mediaType"` // publish or play
	AudioState    MuteState   `json:"audioState"`
	VideoState    MuteState   `json:"videoState"`
}

// streamInfo has the members of the vendor's sample. Members without a counterpart here are null there as
// well.
type streamInfo struct {
	NodeID          *string `json:"nodeId"`
	AppKey          *string `json:"appKey"`
	SessionID       *string `json:"sessionId"`
	MediaSessionID  string  `json:"mediaSessionId,omitempty"`
	Name            string  `json:"name"`
	SamplingTime    *int64  `json:"samplingTime"`
	RecordTimestamp *int64  `json:"recordTimestamp"`
	RecordStarted   bool    `json:"recordStarted"`
}

// Frame encodes s. The media id is also beside "data" while the stream is up, and in streamInfo at its
// regular end, as in the vendor's samples.
func (s StreamStatus) Frame() []byte {
	s.StreamInfo = &streamInfo{Name: s.Name}
	topLevelID := ""
	switch s.Status {
	case StatusPublishing, StatusPlaying:
		topLevelID = s.MediaSessionID
	case StatusUnpublished, StatusStopped:
		s.StreamInfo.MediaSessionID = s.MediaSessionID
	case StatusFailed:
	}
	return mustMarshal(struct {
		Message        Name            `json:"message"`
		MediaSessionID string          `json:"mediaSessionId,omitempty"`
		Data           [1]StreamStatus `json:"data"`
	}{NoteStreamStatus, topLevelID, [1]StreamStatus{s}})
}

// VideoFormat sends a player the picture size of the stream, in pixels.
type VideoFormat struct {
	MediaSessionID string
	Width, Height  int
	AudioMuted     bool
	VideoMuted     bool
}

// Frames returns notifyVideoFormat with old and new member names, and for clients that know it the stream
// event resize (docs/wcs-protocol.md#media-codec-and-size).
func (f VideoFormat) Frames(knowsResize bool) [][]byte {
	type size struct {
		Width  int `json:"streamerVideoWidth"`
		Height int `json:"streamerVideoHeight"`
	}
	s := size{f.Width, f.Height}
	frames := [][]byte{
		encode(NoteVideoFormat, struct {
			MediaSessionID string `json:"mediaSessionId"`
			Status         string `json:"status"`
			size
			PlayerWidth  int       `json:"playerVideoWidth"`
			PlayerHeight int       `json:"playerVideoHeight"`
			AudioState   MuteState `json:"audioState"`
			VideoState   MuteState `json:"videoState"`
		}{f.MediaSessionID, statusResize, s, f.Width, f.Height, MuteState{f.AudioMuted}, MuteState{f.VideoMuted}}),
	}
	if knowsResize {
		frames = append(frames, streamEvent(f.MediaSessionID, eventResize, s))
	}
	return frames
}

// streamEvent always has a type: apps treat an event without one as "unmute required".
func streamEvent(mediaID, typ string, payload any) []byte {
	return encode(NoteStreamEvent, struct {
		MediaSessionID string `json:"mediaSessionId"`
		Type           string `json:"type"`
		Payload        any    `json:"payload"`
	}{mediaID, typ, payload})
}

// Snapshot is the reply to a successful snapshot.
type Snapshot struct {
	MediaSessionID string
	Name           string // the stream's name
	PNG            []byte
	AudioMuted     bool // of the client's stream with this id, if any
	VideoMuted     bool
}

// Frames returns the two messages that together serve all generations of clients: the stream event, and the
// status SNAPSHOT_COMPLETE, which is the only one that SDKs up to 2.0.218 know
// (docs/wcs-protocol.md#snapshot). That status changes no stream's status in any SDK. The picture is base64
// without a prefix in both.
func (s Snapshot) Frames() [][]byte {
	return [][]byte{
		streamEvent(s.MediaSessionID, EventSnapshotCompleted, struct {
			Snapshot []byte `json:"snapshot"`
		}{s.PNG}),
		encode(NoteStreamStatus, struct {
			MediaSessionID string    `json:"mediaSessionId"`
			Name           string    `json:"name"`
			Status         string    `json:"status"`
			Info           []byte    `json:"info"`
			AudioState     MuteState `json:"audioState"`
			VideoState     MuteState `json:"videoState"`
		}{s.MediaSessionID, s.Name, StatusSnapshotComplete, s.PNG, MuteState{s.AudioMuted}, MuteState{s.VideoMuted}}),
	}
}

// SnapshotFailed is the reply to a failed snapshot.
func SnapshotFailed(mediaID, info string) []byte {
	return streamEvent(mediaID, EventSnapshotFailed, struct {
		Info string `json:"info"`
	}{info})
}

// Available is the reply to availableStream. The status is a string and the key is id: a boolean rejects the
// promise, another key leaves it unsettled (docs/wcs-protocol.md#availablestream). info is the reason if the
// stream is unavailable.
func Available(mediaID string, available bool, info string) []byte {
	status := "false"
	if available {
		status = "true"
	}
	return encode(NoteAvailableStream, struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Info   string `json:"info,omitempty"`
	}{mediaID, status, info})
}

// Statuses of a client's data. Any other status throws in the client.
const (
	DataAccepted Status = "ACCEPTED"
	DataFailed   Status = "FAILED"
)

// DataStatus is the reply to sendData.
type DataStatus struct {
	OperationID string `json:"operationId"`
	Status      Status `json:"status"`
	Info        string `json:"info,omitempty"` // the reason of a failure
}

// Frame encodes s.
func (s DataStatus) Frame() []byte { return encode(NoteDataStatus, s) }

// StatusFinish is the status of a call that was hung up. A call that failed has StatusFailed.
const StatusFinish Status = "FINISH"

// CallFinished ends a call (docs/wcs-protocol.md#call).
func CallFinished(callID string, status Status) []byte {
	return encode(NoteFinish, struct {
		CallID string `json:"callId"`
		Status Status `json:"status"`
	}{callID, status})
}

// Statuses of a debug session.
const (
	DebugStarted Status = "STARTED"
	DebugStopped Status = "STOPPED"
)

// SessionDebugStatus is the reply to SessionDebug.
func SessionDebugStatus(status Status) []byte {
	return encode(NoteSessionDebug, struct {
		Status Status `json:"status"`
	}{status})
}

type failure struct {
	APIMethod string `json:"apiMethod"`
	Status    Status `json:"status"`
	Info      string `json:"info"`
}

// ConnectionFailed rejects a session. The client fires WARN, and DISCONNECTED when the socket closes after it
// (docs/wcs-protocol.md#close).
func ConnectionFailed(info string) []byte {
	return encode(NoteFail, failure{APIMethodConnection, StatusFailed, info})
}

// ErrorEvent reports a fault that belongs to no stream to an established client. The client fires WARN.
func ErrorEvent(info string) []byte {
	return encode(NoteFail, failure{apiMethodError, StatusFailed, info})
}
