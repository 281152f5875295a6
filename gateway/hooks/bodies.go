package hooks

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"wcsgateway/translate/wcs"
)

// Bodies of hooks, with the members of the vendor's samples (docs/backend-hooks.md). The bodies of
// OnDataEvent, DataStatusEvent and snapshot are those of the messages. All are Addressed.

// StreamBody is the body of StreamStatusEvent and StreamKeepAliveEvent: what the client gets, and more.
// Members that this server does not know are 0, false or empty, as most of them are in the vendor's sample.
type StreamBody struct {
	wcs.StreamStatus
	AudioCodec   string `json:"audioCodec"` // also if it is empty, unlike to clients
	VideoCodec   string `json:"videoCodec"`
	History      bool   `json:"history"`
	GOP          int    `json:"gop"`
	FPS          int    `json:"fps"`
	AudioBitrate int    `json:"audioBitrate"`
	CodecImpl    string `json:"codecImpl"`
	Transport    string `json:"transport"` // requested by the client
	CVOExtension bool   `json:"cvoExtension"`
}

// RequestBody holds the members of publishStream and playStream that are always sent, whether or not the
// client set them.
type RequestBody struct {
	wcs.StreamHead
	SDP           string `json:"sdp"`
	Record        bool   `json:"record"`
	Width         int    `json:"width"`
	Height        int    `json:"height"`
	Bitrate       int    `json:"bitrate"`    // kbps
	MinBitrate    int    `json:"minBitrate"` // kbps
	MaxBitrate    int    `json:"maxBitrate"` // kbps
	Quality       int    `json:"quality"`
	MediaProvider string `json:"mediaProvider"`
}

// Statuses of hooks that clients never get.
const (
	StatusPending wcs.Status = "PENDING"      // of publishStream and playStream
	Disconnected  wcs.Status = "DISCONNECTED" // of ConnectionStatusEvent
)

// StopBody is the body of unPublishStream and stopStream, with the status before the stop.
type StopBody struct {
	wcs.StreamHead
	Record bool `json:"record"`
}

// ErrorBody is the body of ErrorEvent.
type ErrorBody struct {
	Info string `json:"info"`
}

// Addressed sets the members of a body that identify the server, the application and the session.
func Addressed(body Object, nodeID, appKey, session string) Object {
	Put(body, Object{"nodeId": Raw(nodeID), "appKey": Raw(appKey), "sessionId": Raw(session)})
	return body
}

// Put sets members of an object that a client sent.
func Put(sent, members Object) {
	Drop(sent, slices.Collect(maps.Keys(members))...)
	maps.Copy(sent, members)
}

// Drop deletes members of an object that a client sent, including names that differ only in case, which some
// backends would accept.
func Drop(sent Object, names ...string) {
	maps.DeleteFunc(sent, func(have string, _ json.RawMessage) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(have, name) })
	})
}

// Body returns the members that v marshals to.
func Body(v any) (o Object) {
	if json.Unmarshal(Raw(v), &o) != nil || o == nil { // never for the types of this file
		return Object{}
	}
	return o
}

// Raw marshals strings and the types of this file, which never fail.
func Raw(v any) json.RawMessage {
	b, err := wcs.Encode(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}
