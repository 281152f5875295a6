package wcs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"wcsgateway/e2e/misread"
)

// Messages with names in other cases, twice, escaped and nested are decoded by the gateway and by Node, as a
// backend does. Whatever of them either decides on must be the same.
func TestGatewayAndJSONParseReadTheSameMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Node")
	}
	misread.Compare(t, message, readMessage, messageReader)
}

// message returns a message with the members of all commands.
func message(s misread.Source) string {
	options := s.Object("name", s.Text(), "to", s.Text(), "text", s.Text(), "roomConfig", s.Object("name", s.Text()))
	payload := s.Object("command", s.Pick(`"join"`, `"leave"`, `"sendMessage"`, s.Text()), "options", options)
	arg := s.Object(
		"appKey", s.Text(), "keepAlive", s.Flag(), "authToken", s.Text(), "login", s.Text(), "sipLogin", s.Text(),
		"mediaProviders", s.Pick(`["WebRTC","MSE"]`, `["\u0057ebRTC"]`, `[`+s.Text()+`]`, `[]`), "clientInfo", s.Pick("{}", "null"),
		"msePacketizationVersion", s.Pick("2", "null"),
		"mediaSessionId", s.Text(), "name", s.Text(), "hasVideo", s.Flag(), "hasAudio", s.Flag(), "record", s.Flag(), "cvoExtension", s.Flag(),
		"width", s.Number(), "height", s.Number(), "bitrate", s.Number(), "minBitrate", s.Number(), "maxBitrate", s.Number(), "quality", s.Number(),
		"mediaProvider", s.Pick(`"Flash"`, `"WebRTC"`, `"`+strings.Repeat(`\u0041`, 32)+`"`, `"`+strings.Repeat("A", 33)+`"`, s.Text()),
		"sdp", s.Text(), "rtmpUrl", s.Text(), "transport", s.Pick(`"TCP"`, s.Text()), "localMediaInfo", s.Pick("{}", "null"),
		"custom", s.Object("login", s.Text(), "name", s.Text()), "type", s.Text(), "operationId", s.Text(), "payload", payload,
		"logs", s.Text(), "command", s.Text(), "callId", s.Text(), "compression", s.Text(), "headers", s.Text(), "metrics", s.Text(),
	)
	return s.Object("message", s.Text(), "data", s.Pick("["+arg+"]", "["+arg+",1]", arg))
}

// readMessage returns what the gateway takes from a message. ok is false if it rejects the message.
func readMessage(frame string) (got misread.Members, ok bool) {
	c, err := Decode([]byte(frame))
	var conn Connection
	var req StreamRequest
	var ref StreamRef
	var event StreamEvent
	var data SendData
	var logs PushLogs
	var debug SessionDebug
	var call Call
	var columns MetricsDescription
	var batch MetricsBatch
	for _, v := range []any{&conn, &req, &ref, &event, &data, &logs, &debug, &call, &columns, &batch} {
		if err == nil {
			err = c.Bind(v)
		}
	}
	room, isRoom, roomErr := ParseRoomCommand(data.Payload)
	if err != nil || roomErr != nil {
		return nil, false
	}
	got = misread.Members{
		"message": string(c.Name), "appKey": conn.AppKey, "keepAlive": fmt.Sprint(conn.KeepAlive), "authToken": conn.AuthToken,
		"login": conn.Login(), "mediaProviders": strings.Join(conn.MediaProviders, ","),
		"clientInfo": fmt.Sprint(conn.KnowsBitrates), "msePacketizationVersion": fmt.Sprint(conn.KnowsResize),
		"mediaSessionId": req.MediaSessionID, "name": req.Name, "hasVideo": fmt.Sprint(req.HasVideo), "hasAudio": fmt.Sprint(req.HasAudio),
		"record": fmt.Sprint(req.Record), "cvoExtension": fmt.Sprint(req.CVOExtension),
		"width": fmt.Sprint(req.Width), "height": fmt.Sprint(req.Height), "bitrate": fmt.Sprint(req.Bitrate),
		"minBitrate": fmt.Sprint(req.MinBitrate), "maxBitrate": fmt.Sprint(req.MaxBitrate), "quality": fmt.Sprint(req.Quality),
		"mediaProvider": req.Provider(), "upstreamProvider": string(ref.MediaProvider), "sdp": req.SDP, "rtmpUrl": req.RTMPURL,
		"transport": req.Transport, "localMediaInfo": fmt.Sprint(req.LocalMediaInfo), "custom": fmt.Sprint(req.Custom > 0),
		"type": string(event.Type), "operationId": data.OperationID, "room": RoomOf(c.Arg), "logs": logs.Logs, "debug": debug.Command,
		"callId": call.CallID, "compression": columns.Compression, "headers": columns.Headers, "metrics": textOf(batch.Metrics),
		"command": "", "options.name": "", "options.to": "", "options.text": "",
	}
	for _, id := range []string{ref.MediaSessionID, event.MediaSessionID, columns.MediaSessionID, batch.MediaSessionID} {
		if id != req.MediaSessionID {
			got["mediaSessionId"] += " and " + id
		}
	}
	if isRoom {
		got["command"], got["options.name"], got["options.to"], got["options.text"] = room.Command, room.Room, room.To, textOf(room.Text)
	}
	return got, true
}

// textOf returns a value of any type as text, "" for null and what was not sent.
func textOf(raw json.RawMessage) (text string) {
	_ = unmarshal(raw, &text)
	return text
}

const messageReader = `m => {
  const d = (Array.isArray(m.data) ? m.data[0] : m.data) ?? {}, custom = d.custom ?? {}, payload = d.payload ?? {}, options = payload.options ?? {};
  const isRoom = ['join', 'leave', 'sendMessage'].includes(payload.command);
  const provider = d.mediaProvider;
  return {
    message: text(m.message), appKey: text(d.appKey), keepAlive: flag(d.keepAlive), authToken: text(d.authToken),
    login: text(custom.login) || text(d.login) || text(d.sipLogin), mediaProviders: (d.mediaProviders ?? []).map(text).join(','),
    clientInfo: String(d.clientInfo != null), msePacketizationVersion: String(d.msePacketizationVersion != null),
    mediaSessionId: text(d.mediaSessionId), name: text(d.name), hasVideo: flag(d.hasVideo), hasAudio: flag(d.hasAudio),
    record: flag(d.record), cvoExtension: flag(d.cvoExtension), width: number(d.width), height: number(d.height),
    bitrate: number(d.bitrate), minBitrate: number(d.minBitrate), maxBitrate: number(d.maxBitrate), quality: number(d.quality),
    mediaProvider: text(provider) || 'WebRTC', upstreamProvider: typeof provider === 'string' && Buffer.byteLength(provider) <= 32 ? provider : '',
    sdp: text(d.sdp), rtmpUrl: text(d.rtmpUrl), transport: text(d.transport), localMediaInfo: String(d.localMediaInfo != null),
    custom: String(d.custom != null), type: text(d.type), operationId: text(d.operationId), room: text(custom.name), logs: text(d.logs),
    debug: text(d.command), callId: text(d.callId), compression: text(d.compression), headers: text(d.headers), metrics: text(d.metrics),
    command: isRoom ? payload.command : '', 'options.to': isRoom ? text(options.to) : '', 'options.text': isRoom ? text(options.text) : '',
    'options.name': !isRoom ? '' : payload.command === 'sendMessage' ? text((options.roomConfig ?? {}).name) : text(options.name),
  };
}`
