package wcs

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"

	exact "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Names of the messages that clients send (docs/wcs-protocol.md#commands).
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

// ProviderWebRTC is the only supported value of StreamRequest.MediaProvider and Connection.MediaProviders.
const ProviderWebRTC = "WebRTC"

// Connection opens a session (docs/wcs-protocol.md#connection). Sent holds all received members, for the echo
// in getUserData.
type Connection struct {
	AppKey         string
	MediaProviders []string
	// KnowsBitrates reports an SDK ≥ 2.0.256, which writes minBitrate and maxBitrate into the answer itself.
	// Such an SDK sends clientInfo (docs/wcs-protocol.md#answers).
	KnowsBitrates bool
	// KnowsResize reports a Web SDK ≥ 2.0.180, which sends msePacketizationVersion. The Android SDK fails at a
	// stream event of a type that it does not know.
	KnowsResize bool
	KeepAlive   Bool   // the session must outlive the socket
	AuthToken   string // from an earlier getUserData: identifies the session to resume
	Sent        map[string]json.RawMessage
}

// UnmarshalJSON keeps the whole object in Sent and decodes the members that the gateway uses.
func (c *Connection) UnmarshalJSON(b []byte) error {
	var sent rawObject
	if err := exact.Unmarshal(b, &sent, exactly); err != nil {
		return err
	}
	*c = Connection{Sent: sent, KnowsBitrates: !isNull(sent["clientInfo"]), KnowsResize: !isNull(sent["msePacketizationVersion"])}
	_ = c.KeepAlive.UnmarshalJSON(sent["keepAlive"]) // never fails
	return cmp.Or(c.decode("appKey", &c.AppKey), c.decode("mediaProviders", &c.MediaProviders), c.decode("authToken", &c.AuthToken))
}

// decode decodes a member of Sent, if it was sent.
func (c *Connection) decode(name string, to any) error {
	value, sent := c.Sent[name]
	if !sent {
		return nil
	}
	err := unmarshal(value, to)
	if typ := new(exact.SemanticError); errors.As(err, &typ) {
		typ.JSONPointer = jsontext.Pointer("/"+name) + typ.JSONPointer
	}
	return err
}

// ConnectionFrame builds a connection command with the given members.
func ConnectionFrame(members map[string]json.RawMessage) []byte {
	return encodeObject(CmdConnection, members)
}

// WithoutToken builds a connection command like the one that was received as c, without its token.
func (c Connection) WithoutToken() []byte {
	members := maps.Clone(c.Sent)
	delete(members, "authToken")
	return ConnectionFrame(members)
}

// WithToken builds a connectMediaTransport command like the one that was received as c, with another token.
func (c Connection) WithToken(token string) []byte {
	members := maps.Clone(c.Sent)
	members["authToken"] = quote(token)
	return encodeObject(CmdMediaTransport, members)
}

// LoginBytes returns the size of the longest user name in the command, as JSON: the login of a SIP account,
// or that of the room API in custom (docs/wcs-protocol.md#room-api).
func (c Connection) LoginBytes() int {
	var room struct {
		Login Size `json:"login"`
	}
	if custom, sent := c.Sent["custom"]; sent {
		_ = unmarshal(custom, &room) // custom is any JSON
	}
	return max(int(room.Login), len(c.Sent["login"]), len(c.Sent["sipLogin"]))
}

// Login returns the user name in the command, "" without one, and "" if that which a backend would read is no
// name. A login of the room API takes precedence over that of a SIP account; see LoginBytes.
func (c Connection) Login() string {
	if sent, ok := c.Sent["custom"]; ok {
		var custom struct {
			Login string `json:"login"`
		}
		err := unmarshal(sent, &custom)
		if custom.Login != "" || err != nil && sent[0] == '{' { // custom is any JSON
			return custom.Login
		}
	}
	for _, member := range []string{"login", "sipLogin"} {
		if sent, ok := c.Sent[member]; ok {
			var login string
			if err := unmarshal(sent, &login); err != nil || login != "" {
				return login
			}
		}
	}
	return ""
}

// StreamRequest is publishStream (docs/wcs-protocol.md#publishstream) or playStream
// (docs/wcs-protocol.md#playstream). Members that the gateway does not use (constraints, the content of
// custom and localMediaInfo) are not decoded.
type StreamRequest struct {
	StreamRequestHead
	Record       Bool   `json:"record"`
	Width        Int    `json:"width"`
	Height       Int    `json:"height"`
	Bitrate      Int    `json:"bitrate"`    // kbps
	MinBitrate   Int    `json:"minBitrate"` // kbps
	MaxBitrate   Int    `json:"maxBitrate"` // kbps
	Quality      Int    `json:"quality"`    // 0 to 100
	SDP          string `json:"sdp"`
	RTMPURL      string `json:"rtmpUrl"`
	Transport    string `json:"transport"` // UDP or TCP
	CVOExtension Bool   `json:"cvoExtension"`
	// LocalMediaInfo is sent since SDK 2.0.256, like Connection.KnowsBitrates.
	LocalMediaInfo Present `json:"localMediaInfo"`
	Custom         Size    `json:"custom"`
}

// StreamRequestHead is what the answer to a StreamRequest repeats of it. To decode it alone costs less: the
// offer, which is most of a request, is skipped.
type StreamRequestHead struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
	HasVideo       Bool   `json:"hasVideo"`
	HasAudio       Bool   `json:"hasAudio"`
	MediaProvider  string `json:"mediaProvider"`
}

// Provider returns the requested media provider. It defaults to WebRTC: raw clients name none.
func (r StreamRequestHead) Provider() string {
	if r.MediaProvider == "" {
		return ProviderWebRTC
	}
	return r.MediaProvider
}

// Present records that a member was sent, without its value. null counts as absent.
type Present bool

// UnmarshalJSON never fails.
func (p *Present) UnmarshalJSON(b []byte) error {
	*p = !Present(isNull(b))
	return nil
}

// Size is the length of a member's JSON in bytes, without its value; 0 if the member is absent or null.
type Size int

// UnmarshalJSON never fails.
func (s *Size) UnmarshalJSON(b []byte) error {
	*s = 0
	if !isNull(b) {
		*s = Size(len(b))
	}
	return nil
}

// StreamRef is the argument of unPublishStream, stopStream, availableStream and snapshot. It names a stream.
type StreamRef struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
	// MediaProvider is of publishStream and playStream, which have these members too.
	MediaProvider Provider `json:"mediaProvider"`
}

// Provider is a media provider for another server. It is "" if what was sent is no text of at most
// maxProvider bytes, which no client sends.
type Provider string

// maxProvider is the longest Provider, in bytes.
const maxProvider = 32

// UnmarshalJSON never fails.
func (p *Provider) UnmarshalJSON(b []byte) error {
	const longest = 2 + 6*maxProvider // quoted, with an escape for each character
	var text string
	if len(b) > longest || json.Unmarshal(b, &text) != nil || len(text) > maxProvider {
		text = ""
	}
	*p = Provider(text)
	return nil
}

// StreamEvent is sendStreamEvent: a publisher's event for its players (docs/wcs-protocol.md#sendstreamevent).
type StreamEvent struct {
	MediaSessionID string          `json:"mediaSessionId"`
	Type           StreamEventType `json:"type"`
	Payload        json.RawMessage `json:"payload"` // of data: any JSON; nil if absent
}

// StreamEventType is the kind of a StreamEvent.
type StreamEventType string

// Types of StreamEvent: changes of audioState and videoState, and an application's own data.
const (
	EventAudioMuted   StreamEventType = "audioMuted"
	EventAudioUnmuted StreamEventType = "audioUnmuted"
	EventVideoMuted   StreamEventType = "videoMuted"
	EventVideoUnmuted StreamEventType = "videoUnmuted"
	EventData         StreamEventType = "data"
)

// SendData is sendData, which carries an application's own data (docs/wcs-protocol.md#senddata).
type SendData struct {
	OperationID string          `json:"operationId"`
	Payload     json.RawMessage `json:"payload"` // any JSON; nil if absent
}

// PushLogs carries the log of the SDK (docs/wcs-protocol.md#commands).
type PushLogs struct {
	Logs string `json:"logs"`
}

// SessionDebug is startDebug or stopDebug of the SDK (docs/wcs-protocol.md#commands).
type SessionDebug struct {
	Command string `json:"command"`
}

// Values of SessionDebug.Command.
const (
	DebugStart = "start"
	DebugStop  = "stop"
)

// Call holds the members of a SIP call's message that are needed to reject it (docs/wcs-protocol.md#call).
type Call struct {
	CallID string `json:"callId"`
}
