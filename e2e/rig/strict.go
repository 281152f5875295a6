package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The mobile SDKs decode messages into typed beans, Android with Gson and iOS with JSONModel: a member of
// another type, a required member that is missing, or an unknown value of an enumeration loses the message or
// ends the app. Client checks each message as they do (docs/wcs-protocol.md#envelope).

// shape is what a value must be: one of the following, or oneOf, list, object.
type shape any

type basic int

const (
	text     basic = iota // a string
	filled                // a string that is not empty
	whole                 // a number without a fraction, within Java's long
	flag                  // a boolean
	anything              // the app's own JSON
	null
	yes // true
)

type (
	oneOf  []string // the values of an enumeration
	list   [1]shape // of equal elements
	object map[string]shape
)

// other is the key of an object that may have other members. A name with a question mark is optional.
const other = "…"

var muteState = object{"muted": flag}

// messages are the arguments of each message.
var messages = map[string][]shape{
	"getVersion": {text},
	"ping":       {},
	"getUserData": {object{
		"status": oneOf{"ESTABLISHED"}, "authToken": filled, "mediaProviders": list{text}, "keepAlive": flag, "forceLogger": flag, "useWsTunnel": flag,
		"useWsTunnelPacketization2": flag, "useBase64BinaryEncoding": flag, "webRTCMetricsServerDescription?": object{other: anything}, other: anything,
	}},
	"setRemoteSDP":     {filled, filled, yes},
	"notifyAudioCodec": {filled, object{"name": filled}},
	"notifyVideoFormat": {object{
		"mediaSessionId": filled, "status": oneOf{"RESIZE"}, "streamerVideoWidth": whole, "streamerVideoHeight": whole,
		"playerVideoWidth": whole, "playerVideoHeight": whole, "audioState": muteState, "videoState": muteState,
	}},
	"availableStream":         {object{"id": filled, "status": oneOf{"true", "false"}, "info?": text}},
	"DataStatusEvent":         {object{"operationId": text, "status": oneOf{"ACCEPTED", "FAILED"}, "info?": text}},
	"OnDataEvent":             {object{"operationId": filled, "payload": anything}},
	"notifySessionDebugEvent": {object{"status": oneOf{"STARTED", "STOPPED"}}},
	"fail":                    {object{"apiMethod": oneOf{"ConnectionStatusEvent", "ErrorEvent"}, "status": oneOf{"FAILED"}, "info": text}},
	"finish":                  {object{"callId": text, "status": oneOf{"FINISH", "FAILED"}}},
	"inboundVideoRate":        {rate},
	"outboundVideoRate":       {rate},
}

var rate = object{
	"mediaSessionId": filled, "videoRate": whole, "fps": whole, "nack": whole, "pli": whole, "lostPackets": whole, "width": whole, "height": whole,
}

// statuses are the arguments of notifyStreamStatusEvent by their status.
var statuses = map[string]object{
	"PUBLISHING": streamStatus, "PLAYING": streamStatus, "UNPUBLISHED": streamStatus, "STOPPED": streamStatus, "FAILED": streamStatus,
	"SNAPSHOT_COMPLETE": {
		"mediaSessionId": filled, "name": text, "status": text, "info": filled, "audioState": muteState, "videoState": muteState,
	},
}

var streamStatus = object{
	"mediaSessionId": text, "name": text, "published": flag, "hasVideo": flag, "hasAudio": flag, "status": text, "audioCodec?": text, "videoCodec?": text,
	"info?": text, "record": flag, "recordName?": text, "width": whole, "height": whole, "bitrate": whole, "minBitrate": whole, "maxBitrate": whole,
	"quality": whole, "createDate": whole, "mediaType": oneOf{"publish", "play"}, "mediaProvider": text, "audioState": muteState, "videoState": muteState,
	"streamInfo": object{
		"nodeId": null, "appKey": null, "sessionId": null, "mediaSessionId?": text, "name": text, "samplingTime": null, "recordTimestamp": null, "recordStarted": flag,
	},
}

// events are the payloads of notifyStreamEvent by their type.
var events = map[string]shape{
	"audioMuted": named, "audioUnmuted": named, "videoMuted": named, "videoUnmuted": named, "data": anything,
	"snapshotCompleted": object{"snapshot": filled}, "snapshotFailed": object{"info": text},
	"resize": object{"streamerVideoWidth": whole, "streamerVideoHeight": whole}, // sent to Web SDKs only
}

var named = object{"streamName": text}

// checkTypes returns an error that names what a strict client cannot decode in a message of the server.
func checkTypes(frame string) error {
	var m struct {
		Message        string
		MediaSessionID *string
		Data           []any
	}
	d := json.NewDecoder(bytes.NewReader([]byte(frame)))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return err
	}
	args, known := messages[m.Message]
	if !known {
		args = byValue(m.Message, m.Data)
	}
	if args == nil {
		return fmt.Errorf("unknown message, status or type of %s", m.Message)
	}
	if len(m.Data) != len(args) {
		return fmt.Errorf("%s has %d arguments, want %d", m.Message, len(m.Data), len(args))
	}
	for i, arg := range m.Data {
		if err := check(fmt.Sprintf("%s[%d]", m.Message, i), arg, args[i]); err != nil {
			return err
		}
	}
	return nil
}

// byValue returns the arguments of a message whose members depend on a value.
func byValue(message string, data []any) []shape {
	if len(data) != 1 {
		return nil
	}
	arg, _ := data[0].(map[string]any)
	switch message {
	case "notifyStreamStatusEvent":
		value, _ := arg["status"].(string)
		if s, ok := statuses[value]; ok {
			return []shape{s}
		}
	case "notifyStreamEvent":
		value, _ := arg["type"].(string)
		if payload, ok := events[value]; ok {
			return []shape{object{"mediaSessionId": filled, "type": text, "payload": payload}}
		}
	}
	return nil
}

func check(at string, v any, want shape) error {
	wrong := fmt.Errorf("%s is %T %v, want %v", at, v, v, want)
	switch want := want.(type) {
	case basic:
		if !want.fits(v) {
			return wrong
		}
	case oneOf:
		if s, ok := v.(string); !ok || !slices.Contains(want, s) {
			return wrong
		}
	case list:
		all, ok := v.([]any)
		if !ok {
			return wrong
		}
		for _, e := range all {
			if err := check(at, e, want[0]); err != nil {
				return err
			}
		}
	case object:
		members, ok := v.(map[string]any)
		if !ok {
			return wrong
		}
		return want.check(at, members)
	}
	return nil
}

func (o object) check(at string, members map[string]any) error {
	rest := maps.Clone(members)
	for name, want := range o {
		name, optional := strings.CutSuffix(name, "?")
		v, sent := members[name]
		delete(rest, name)
		switch {
		case name == other || !sent && optional:
		case !sent:
			return fmt.Errorf("%s has no %s", at, name)
		default:
			if err := check(at+"."+name, v, want); err != nil {
				return err
			}
		}
	}
	if _, open := o[other]; !open && len(rest) > 0 {
		return fmt.Errorf("%s has unknown members %v", at, slices.Sorted(maps.Keys(rest)))
	}
	return nil
}

func (b basic) fits(v any) bool {
	switch b {
	case text, filled:
		s, ok := v.(string)
		return ok && (b == text || s != "")
	case whole:
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		_, err := n.Int64()
		return err == nil
	case flag:
		_, ok := v.(bool)
		return ok
	case null:
		return v == nil
	case yes:
		return v == true
	}
	return true
}
