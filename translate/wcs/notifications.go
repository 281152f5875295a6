package wcs

import (
	"encoding/json"
	"strings"
	"time"
)

// What clients are sent (protocol.md §3).
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
	NoteInboundVideoRate   Name = "inboundVideoRate"
	NoteOutboundVideoRate  Name = "outboundVideoRate"
	statusResize                = "RESIZE"
	eventResize                 = "resize"
	eventSnapshotFailed         = "snapshotFailed"
	eventSnapshotCompleted      = "snapshotCompleted"
	statusSnapshotComplete      = "SNAPSHOT_COMPLETE"
	apiMethodConnection         = "ConnectionStatusEvent"
	apiMethodError              = "ErrorEvent"
	connectionEstablished       = "ESTABLISHED"
)

// Status is the status of a stream (protocol.md §8).
type Status string

// The statuses that the gateway sends.
const (
	StatusPublishing  Status = "PUBLISHING"
	StatusPlaying     Status = "PLAYING"
	StatusUnpublished Status = "UNPUBLISHED"
	StatusStopped     Status = "STOPPED"
	StatusFailed      Status = "FAILED"
)

// ConnectionFlags are the members of a connection that are false when the client has not sent them.
var ConnectionFlags = []string{"useWsTunnel", "useWsTunnelPacketization2", "useBase64BinaryEncoding", "keepAlive"}

// UserData is the acceptance of a session (protocol.md §3.1).
type UserData struct {
	Sent           map[string]json.RawMessage // the connection command's argument
	MediaProviders []string                   // what both sides have
	AuthToken      string
	// CollectMetrics asks the client to send its WebRTC statistics (protocol.md §6). It is for clients whose first media
	// provider is WebRTC only: with another one 2.0.276 breaks at PLAYING. Older clients ignore it.
	CollectMetrics bool
}

// Frame echoes what the client sent, without its SIP account, and adds what the vendor's sample has.
func (u UserData) Frame() []byte {
	out := make(map[string]any, len(u.Sent)+8)
	for k, v := range u.Sent {
		if !strings.HasPrefix(k, "sip") {
			out[k] = v
		}
	}
	for _, flag := range ConnectionFlags {
		if _, ok := u.Sent[flag]; !ok {
			out[flag] = false
		}
	}
	out["forceLogger"] = false
	out["mediaProviders"] = u.MediaProviders
	out["authToken"] = u.AuthToken
	out["status"] = connectionEstablished
	if u.CollectMetrics {
		out["webRTCMetricsServerDescription"] = clientMetricsJSON
	}
	return encode(NoteGetUserData, out)
}

// Version is the getVersion message.
func Version(v string) []byte { return encode(NoteGetVersion, v) }

// Ping is the JSON ping that clients answer with pong (protocol.md §1.4).
func Ping() []byte { return encode(NotePing) }

// RemoteSDP hands a client the answer to its offer. It is sent exactly once for a stream; the third
// element says that it is an answer (the Android SDK needs it, protocol.md §3.3).
func RemoteSDP(mediaID, sdp string) []byte { return encode(NoteSetRemoteSDP, mediaID, sdp, true) }

// AudioCodec tells a player the codec of the stream's audio, before RemoteSDP.
func AudioCodec(mediaID, codec string) []byte {
	return encode(NoteAudioCodec, mediaID, struct {
		Name string `json:"name"`
	}{codec})
}

// MuteState is audioState or videoState.
type MuteState struct {
	Muted bool `json:"muted"`
}

// StreamStatus is a notifyStreamStatusEvent (protocol.md §3.4). Width and Height are pixels,
// 0 while unknown.
type StreamStatus struct {
	MediaSessionID string
	Name           string
	Published      bool
	HasVideo       bool
	HasAudio       bool
	Status         Status
	AudioCodec     string // "" without audio: the member is absent
	VideoCodec     string // "" without video: the member is absent
	Info           string
	Width, Height  int
	MinBitrate     int // kbps
	MaxBitrate     int // kbps
	Created        time.Time
	MediaProvider  string
	AudioMuted     bool
	VideoMuted     bool
	Record         bool   // it is, or was, recorded
	RecordName     string // "": the member is absent
}

// streamInfo has the vendor sample's members; those that this server has nothing for are null there, too.
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

type streamStatusData struct {
	MediaSessionID string     `json:"mediaSessionId"`
	Name           string     `json:"name"`
	Published      bool       `json:"published"`
	HasVideo       bool       `json:"hasVideo"`
	HasAudio       bool       `json:"hasAudio"`
	Status         Status     `json:"status"`
	AudioCodec     string     `json:"audioCodec,omitempty"`
	VideoCodec     string     `json:"videoCodec,omitempty"`
	Info           string     `json:"info,omitempty"`
	Record         bool       `json:"record"`
	RecordName     string     `json:"recordName,omitempty"`
	Width          int        `json:"width"`
	Height         int        `json:"height"`
	Bitrate        int        `json:"bitrate"`
	MinBitrate     int        `json:"minBitrate"`
	MaxBitrate     int        `json:"maxBitrate"`
	Quality        int        `json:"quality"`
	CreateDate     int64      `json:"createDate"`
	StreamInfo     streamInfo `json:"streamInfo"`
	MediaProvider  string     `json:"mediaProvider"`
	MediaType      string     `json:"mediaType"`
	AudioState     MuteState  `json:"audioState"`
	VideoState     MuteState  `json:"videoState"`
}

// Frame has every member of the vendor's samples with the same JSON type: createDate in ms, the media id on top only
// while the stream is up, and inside streamInfo only at its regular end (design.md §9).
func (s StreamStatus) Frame() []byte {
	d := streamStatusData{
		MediaSessionID: s.MediaSessionID, Name: s.Name, Published: s.Published,
		HasVideo: s.HasVideo, HasAudio: s.HasAudio, Status: s.Status,
		AudioCodec: s.AudioCodec, VideoCodec: s.VideoCodec, Info: s.Info,
		Record: s.Record, RecordName: s.RecordName, Width: s.Width, Height: s.Height, MinBitrate: s.MinBitrate, MaxBitrate: s.MaxBitrate,
		CreateDate: s.Created.UnixMilli(), StreamInfo: streamInfo{Name: s.Name},
		MediaProvider: s.MediaProvider, MediaType: "play",
		AudioState: MuteState{s.AudioMuted}, VideoState: MuteState{s.VideoMuted},
	}
	if s.Published {
		d.MediaType = "publish"
	}
	onTop := ""
	switch s.Status {
	case StatusPublishing, StatusPlaying:
		onTop = s.MediaSessionID
	case StatusUnpublished, StatusStopped:
		d.StreamInfo.MediaSessionID = s.MediaSessionID
	case StatusFailed:
	}
	return mustMarshal(struct {
		Message        Name                `json:"message"`
		MediaSessionID string              `json:"mediaSessionId,omitempty"`
		Data           [1]streamStatusData `json:"data"`
	}{NoteStreamStatus, onTop, [1]streamStatusData{d}})
}

// VideoFormat tells a player the picture size of the stream, in pixels.
type VideoFormat struct {
	MediaSessionID string
	Width, Height  int
	AudioMuted     bool
	VideoMuted     bool
}

// Frames gives the two messages that all generations of clients together need: notifyVideoFormat with old and
// new member names, and the resize stream event (protocol.md §3.4, "Resolution notice").
func (f VideoFormat) Frames() [][]byte {
	type size struct {
		Width  int `json:"streamerVideoWidth"`
		Height int `json:"streamerVideoHeight"`
	}
	s := size{f.Width, f.Height}
	return [][]byte{
		encode(NoteVideoFormat, struct {
			MediaSessionID string `json:"mediaSessionId"`
			Status         string `json:"status"`
			size
			PlayerWidth  int       `json:"playerVideoWidth"`
			PlayerHeight int       `json:"playerVideoHeight"`
			AudioState   MuteState `json:"audioState"`
			VideoState   MuteState `json:"videoState"`
		}{f.MediaSessionID, statusResize, s, f.Width, f.Height, MuteState{f.AudioMuted}, MuteState{f.VideoMuted}}),
		streamEvent(f.MediaSessionID, eventResize, s),
	}
}

// streamEvent always has a type: apps take an event without one for "unmute required" (protocol.md §3.5).
func streamEvent(mediaID, typ string, payload any) []byte {
	return encode(NoteStreamEvent, struct {
		MediaSessionID string `json:"mediaSessionId"`
		Type           string `json:"type"`
		Payload        any    `json:"payload"`
	}{mediaID, typ, payload})
}

// Snapshot answers a snapshot that was taken.
type Snapshot struct {
	MediaSessionID string
	Name           string // of the stream
	PNG            []byte
	AudioMuted     bool // of the stream that the client has under this id, if it has one
	VideoMuted     bool
}

// Frames gives the two messages that all generations of clients together need: the stream event, and the status
// SNAPSHOT_COMPLETE, which is all that SDKs up to 2.0.218 know and which changes no stream's status in any (protocol.md §2.7,
// §3.4). The picture is base64 without a prefix in both.
func (s Snapshot) Frames() [][]byte {
	return [][]byte{
		streamEvent(s.MediaSessionID, eventSnapshotCompleted, struct {
			Snapshot []byte `json:"snapshot"`
		}{s.PNG}),
		encode(NoteStreamStatus, struct {
			MediaSessionID string    `json:"mediaSessionId"`
			Name           string    `json:"name"`
			Status         string    `json:"status"`
			Info           []byte    `json:"info"`
			AudioState     MuteState `json:"audioState"`
			VideoState     MuteState `json:"videoState"`
		}{s.MediaSessionID, s.Name, statusSnapshotComplete, s.PNG, MuteState{s.AudioMuted}, MuteState{s.VideoMuted}}),
	}
}

// SnapshotFailed answers a snapshot that cannot be taken.
func SnapshotFailed(mediaID, info string) []byte {
	return streamEvent(mediaID, eventSnapshotFailed, struct {
		Info string `json:"info"`
	}{info})
}

// Available answers availableStream. status is a string and the key is id:
// a boolean rejects, another key leaves the promise hanging (protocol.md §3.9). info is the reason when there is none.
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

// The statuses of data that a client has sent. Any other would throw in the client (protocol.md §3.6).
const (
	DataAccepted Status = "ACCEPTED"
	DataFailed   Status = "FAILED"
)

// DataStatus answers sendData. info is the reason of a failure.
func DataStatus(operationID string, status Status, info string) []byte {
	return encode(NoteDataStatus, struct {
		OperationID string `json:"operationId"`
		Status      Status `json:"status"`
		Info        string `json:"info,omitempty"`
	}{operationID, status, info})
}

// StatusFinish is the status of a call that was hung up; one that could not be is StatusFailed.
const StatusFinish Status = "FINISH"

// CallFinished ends a call (protocol.md §2.16).
func CallFinished(callID string, status Status) []byte {
	return encode(NoteFinish, struct {
		CallID string `json:"callId"`
		Status Status `json:"status"`
	}{callID, status})
}

// The statuses of a session's debugging.
const (
	DebugStarted Status = "STARTED"
	DebugStopped Status = "STOPPED"
)

// SessionDebugStatus answers SessionDebug (protocol.md §2.12).
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

// ConnectionFailed refuses a session: the client fires WARN, and DISCONNECTED
// when the socket is closed after it (protocol.md §1.5).
func ConnectionFailed(info string) []byte {
	return encode(NoteFail, failure{apiMethodConnection, StatusFailed, info})
}

// ErrorEvent tells an established client of a fault that belongs to no stream; it fires WARN.
func ErrorEvent(info string) []byte {
	return encode(NoteFail, failure{apiMethodError, StatusFailed, info})
}
