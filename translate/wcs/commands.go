package wcs

import "encoding/json"

// What clients send (protocol.md §2).
const (
	CmdConnection      Name = "connection"
	CmdPublishStream   Name = "publishStream"
	CmdUnPublishStream Name = "unPublishStream"
	CmdPlayStream      Name = "playStream"
	CmdStopStream      Name = "stopStream"
	CmdAvailableStream Name = "availableStream"
	CmdSnapshot        Name = "snapshot"
	CmdSendStreamEvent Name = "sendStreamEvent"
	CmdSendData        Name = "sendData"
	CmdPing            Name = "ping"
	CmdPong            Name = "pong"
	CmdPushLogs        Name = "pushLogs"
	CmdSessionDebug    Name = "sessionDebug"
	CmdSubmitBugReport Name = "submitBugReport"
	CmdMetricsDesc     Name = "webRTCMetricsClientDescription"
	CmdMetricsBatch    Name = "webRTCMetricsBatch"
	CmdMediaTransport  Name = "connectMediaTransport"
	CmdCall            Name = "call"
	CmdAnswer          Name = "answer"
	CmdHangup          Name = "hangup"
	CmdHold            Name = "hold"
	CmdUnhold          Name = "unhold"
	CmdSendDTMF        Name = "sendDtmf"
	CmdTransfer        Name = "transfer"
)

// Values of StreamRequest.MediaProvider and Connection.MediaProviders.
const (
	ProviderWebRTC   = "WebRTC"
	ProviderMSE      = "MSE"
	ProviderWSPlayer = "WSPlayer"
)

// Connection opens a session (protocol.md §2.1). Sent holds everything that came, for the echo in getUserData.
type Connection struct {
	AppKey         string
	MediaProviders []string
	// KnowsBitrates: the client is an SDK ≥ 2.0.256, which writes minBitrate and maxBitrate into the answer
	// itself; it can be told by clientInfo (protocol.md §5).
	KnowsBitrates bool
	KeepAlive     Bool   // the session shall outlive the socket
	AuthToken     string // of an earlier getUserData: the session to be resumed
	Sent          map[string]json.RawMessage
}

// UnmarshalJSON keeps the whole object and reads what the gateway looks at.
func (c *Connection) UnmarshalJSON(b []byte) error {
	var known struct {
		AppKey         string   `json:"appKey"`
		MediaProviders []string `json:"mediaProviders"`
		ClientInfo     Present  `json:"clientInfo"`
		KeepAlive      Bool     `json:"keepAlive"`
		AuthToken      string   `json:"authToken"`
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return err
	}
	*c = Connection{
		AppKey: known.AppKey, MediaProviders: known.MediaProviders, KnowsBitrates: bool(known.ClientInfo),
		KeepAlive: known.KeepAlive, AuthToken: known.AuthToken,
	}
	return json.Unmarshal(b, &c.Sent)
}

// LoginBytes is the size of the longest name that the client gives its user, as JSON: a SIP account's, or that of the
// room API, which is in custom (protocol.md §7).
func (c Connection) LoginBytes() int {
	var room struct {
		Login Size `json:"login"`
	}
	_ = json.Unmarshal(c.Sent["custom"], &room) // it may be anything
	return max(int(room.Login), len(c.Sent["login"]), len(c.Sent["sipLogin"]))
}

// Login is the name that the client gives its user, where LoginBytes looks for it: that of the room API before that of a SIP account.
// "" if it gives none.
func (c Connection) Login() string {
	var custom struct {
		Login string `json:"login"`
	}
	_ = json.Unmarshal(c.Sent["custom"], &custom) // it may be anything
	if custom.Login != "" {
		return custom.Login
	}
	for _, member := range []string{"login", "sipLogin"} {
		var login string
		if json.Unmarshal(c.Sent[member], &login) == nil && login != "" {
			return login
		}
	}
	return ""
}

// StreamRequest is publishStream or playStream (protocol.md §2.2, §2.3). Members that the gateway does not
// act on (constraints, the content of custom and localMediaInfo) are not decoded.
type StreamRequest struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
	HasVideo       Bool   `json:"hasVideo"`
	HasAudio       Bool   `json:"hasAudio"`
	Record         Bool   `json:"record"`
	Width          Int    `json:"width"`
	Height         Int    `json:"height"`
	Bitrate        Int    `json:"bitrate"`    // kbps
	MinBitrate     Int    `json:"minBitrate"` // kbps
	MaxBitrate     Int    `json:"maxBitrate"` // kbps
	Quality        Int    `json:"quality"`    // 0 to 100
	MediaProvider  string `json:"mediaProvider"`
	SDP            string `json:"sdp"`
	RTMPURL        string `json:"rtmpUrl"`
	Transport      string `json:"transport"` // UDP or TCP
	CVOExtension   Bool   `json:"cvoExtension"`
	// LocalMediaInfo is there from SDK 2.0.256 on, like Connection.KnowsBitrates.
	LocalMediaInfo Present `json:"localMediaInfo"`
	Custom         Size    `json:"custom"`
}

// Provider is the media provider that is meant: raw clients name none and mean WebRTC.
func (r StreamRequest) Provider() string {
	if r.MediaProvider == "" {
		return ProviderWebRTC
	}
	return r.MediaProvider
}

// Present notes that a member was there and keeps nothing of it.
type Present bool

// UnmarshalJSON never fails.
func (p *Present) UnmarshalJSON(b []byte) error {
	*p = !Present(isNull(b))
	return nil
}

// Size notes how many bytes of JSON a member has and keeps nothing of it; 0 without one, or with null.
type Size int

// UnmarshalJSON never fails.
func (s *Size) UnmarshalJSON(b []byte) error {
	*s = 0
	if !isNull(b) {
		*s = Size(len(b))
	}
	return nil
}

// StreamRef is unPublishStream, stopStream, availableStream, snapshot: a stream by its ids.
type StreamRef struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
}

// StreamEvent is sendStreamEvent: what has happened to a publisher (protocol.md §2.8).
type StreamEvent struct {
	MediaSessionID string          `json:"mediaSessionId"`
	Type           StreamEventType `json:"type"`
	Payload        json.RawMessage `json:"payload"` // of data: any JSON; nil if there is none
}

// StreamEventType tells what has happened.
type StreamEventType string

// Types of StreamEvent: changes of audioState and videoState, and an application's own data.
const (
	EventAudioMuted   StreamEventType = "audioMuted"
	EventAudioUnmuted StreamEventType = "audioUnmuted"
	EventVideoMuted   StreamEventType = "videoMuted"
	EventVideoUnmuted StreamEventType = "videoUnmuted"
	EventData         StreamEventType = "data"
)

// SendData is the command that carries an application's own data (protocol.md §2.9).
type SendData struct {
	OperationID string          `json:"operationId"`
	Payload     json.RawMessage `json:"payload"` // any JSON; nil if there is none
}

// PushLogs is what the SDK has logged (protocol.md §2.11).
type PushLogs struct {
	Logs string `json:"logs"`
}

// SessionDebug is startDebug or stopDebug of the SDK (protocol.md §2.12).
type SessionDebug struct {
	Command string `json:"command"`
}

// Values of SessionDebug.Command.
const (
	DebugStart = "start"
	DebugStop  = "stop"
)

// Call is the part of a message about a SIP call that is needed to refuse it (protocol.md §2.16).
type Call struct {
	CallID string `json:"callId"`
}
