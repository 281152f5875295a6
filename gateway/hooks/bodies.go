package hooks

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"wcsgateway/translate/wcs"
)

// Bodies of hooks, with the members of the vendor's samples (docs/backend-hooks.md). The caller adds nodeId,
// appKey and sessionId to all of them.

// StreamBody is the body of StreamStatusEvent and StreamKeepAliveEvent. Members that this server does not
// know are 0, false or empty, as most of them are in the vendor's sample.
type StreamBody struct {
	MediaSessionID string        `json:"mediaSessionId"`
	Name           string        `json:"name"`
	Published      bool          `json:"published"`
	HasVideo       bool          `json:"hasVideo"`
	HasAudio       bool          `json:"hasAudio"`
	Status         wcs.Status    `json:"status"`
	Info           string        `json:"info,omitempty"`
	AudioCodec     string        `json:"audioCodec"`
	VideoCodec     string        `json:"videoCodec"`
	Record         bool          `json:"record"`
	RecordName     string        `json:"recordName,omitempty"`
	Width          int           `json:"width"`  // pixels
	Height         int           `json:"height"` // pixels
	Bitrate        int           `json:"bitrate"`
	MinBitrate     int           `json:"minBitrate"` // kbps
	MaxBitrate     int           `json:"maxBitrate"` // kbps
	Quality        int           `json:"quality"`
	History        bool          `json:"history"`
	GOP            int           `json:"gop"`
	FPS            int           `json:"fps"`
	AudioBitrate   int           `json:"audioBitrate"`
	CodecImpl      string        `json:"codecImpl"`
	Transport      string        `json:"transport"` // requested by the client
	CVOExtension   bool          `json:"cvoExtension"`
	CreateDate     int64         `json:"createDate"` // milliseconds
	MediaType      string        `json:"mediaType"`
	AudioState     wcs.MuteState `json:"audioState"`
	VideoState     wcs.MuteState `json:"videoState"`
	MediaProvider  string        `json:"mediaProvider"`
}

// RequestBody holds the members of publishStream and playStream that are always sent, whether or not the
// client set them.
type RequestBody struct {
	MediaSessionID string     `json:"mediaSessionId"`
	Name           string     `json:"name"`
	Published      bool       `json:"published"`
	HasVideo       bool       `json:"hasVideo"`
	HasAudio       bool       `json:"hasAudio"`
	Status         wcs.Status `json:"status"`
	SDP            string     `json:"sdp"`
	Record         bool       `json:"record"`
	Width          int        `json:"width"`
	Height         int        `json:"height"`
	Bitrate        int        `json:"bitrate"`    // kbps
	MinBitrate     int        `json:"minBitrate"` // kbps
	MaxBitrate     int        `json:"maxBitrate"` // kbps
	Quality        int        `json:"quality"`
	MediaProvider  string     `json:"mediaProvider"`
}

// Statuses of hooks that clients never get.
const (
	StatusPending wcs.Status = "PENDING"      // of publishStream and playStream
	Disconnected  wcs.Status = "DISCONNECTED" // of ConnectionStatusEvent
)

// StopBody is the body of unPublishStream and stopStream.
type StopBody struct {
	MediaSessionID string     `json:"mediaSessionId"`
	Name           string     `json:"name"`
	Published      bool       `json:"published"`
	HasVideo       bool       `json:"hasVideo"`
	HasAudio       bool       `json:"hasAudio"`
	Status         wcs.Status `json:"status"` // before the stop
	Record         bool       `json:"record"`
}

// SnapshotBody is the body of snapshot.
type SnapshotBody struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
}

// DataBody is the body of OnDataEvent.
type DataBody struct {
	OperationID string          `json:"operationId"`
	Payload     json.RawMessage `json:"payload"`
}

// DataStatusBody is the body of DataStatusEvent.
type DataStatusBody struct {
	OperationID string     `json:"operationId"`
	Status      wcs.Status `json:"status"`
	Info        string     `json:"info,omitempty"`
}

// ErrorBody is the body of ErrorEvent.
type ErrorBody struct {
	Info string `json:"info"`
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
