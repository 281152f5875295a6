package session

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Bodies of hooks, with the members of the vendor's samples. sessionHooks.body adds nodeId, appKey and
// sessionId to all of them.

// streamBody is the body of StreamStatusEvent and StreamKeepAliveEvent. Members that this server does not
// know are 0, false or empty, as most of them are in the vendor's sample.
type streamBody struct {
	MediaSessionID string     `json:"mediaSessionId"`
	Name           string     `json:"name"`
	Published      bool       `json:"published"`
	HasVideo       bool       `json:"hasVideo"`
	HasAudio       bool       `json:"hasAudio"`
	Status         wcs.Status `json:"status"`
	Info           string     `json:"info,omitempty"`
	AudioCodec     string     `json:"audioCodec"`
	VideoCodec     string     `json:"videoCodec"`
	Record         bool       `json:"record"`
	RecordName     string     `json:"recordName,omitempty"`
	Width          int        `json:"width"`  // pixels
	Height         int        `json:"height"` // pixels
	Bitrate        int        `json:"bitrate"`
	MinBitrate     int        `json:"minBitrate"` // kbps
	MaxBitrate     int        `json:"maxBitrate"` // kbps
	Quality        int        `json:"quality"`
	History        bool       `json:"history"`
	GOP            int        `json:"gop"`
	FPS            int        `json:"fps"`
	AudioBitrate   int        `json:"audioBitrate"`
	CodecImpl      string     `json:"codecImpl"`
	Transport      string     `json:"transport"` // requested by the client
	CVOExtension   bool       `json:"cvoExtension"`
	CreateDate     int64      `json:"createDate"` // milliseconds
	MediaType      string     `json:"mediaType"`
	AudioState     muteState  `json:"audioState"`
	VideoState     muteState  `json:"videoState"`
	MediaProvider  string     `json:"mediaProvider"`
}

type muteState = wcs.MuteState

func (st *stream) body(status wcs.Status, info string) streamBody {
	video := st.tracks[translate.Video]
	b := streamBody{
		MediaSessionID: st.id, Name: st.name, Published: st.published, HasVideo: st.kinds.Video, HasAudio: st.kinds.Audio,
		Status: status, Info: info, AudioCodec: st.codec(translate.Audio), VideoCodec: st.codec(translate.Video),
		Width: video.Width, Height: video.Height, MinBitrate: st.minKbps, MaxBitrate: st.maxKbps,
		Transport: "UDP", CVOExtension: bool(st.req.CVOExtension), CreateDate: st.created.UnixMilli(), MediaType: "play",
		Record: st.egresses.Recorded(), RecordName: st.egresses.File(),
		AudioState: muteState{Muted: st.mutes.Audio}, VideoState: muteState{Muted: st.mutes.Video}, MediaProvider: st.provider,
	}
	if st.published {
		b.MediaType = "publish"
	}
	if wantsTCP(st.req) {
		b.Transport = "TCP"
	}
	return b
}

// requestBody holds the members of publishStream and playStream that are always sent, whether or not the
// client set them.
type requestBody struct {
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

func (st *stream) requestBody() requestBody {
	r := st.req
	return requestBody{
		MediaSessionID: st.id, Name: st.name, Published: st.published, HasVideo: bool(r.HasVideo), HasAudio: bool(r.HasAudio),
		Status: statusPending, SDP: r.SDP, Record: bool(r.Record), Width: int(r.Width), Height: int(r.Height),
		Bitrate: int(r.Bitrate), MinBitrate: int(r.MinBitrate), MaxBitrate: int(r.MaxBitrate), Quality: int(r.Quality), MediaProvider: st.provider,
	}
}

const statusPending wcs.Status = "PENDING"

// stopBody is the body of unPublishStream and stopStream.
type stopBody struct {
	MediaSessionID string     `json:"mediaSessionId"`
	Name           string     `json:"name"`
	Published      bool       `json:"published"`
	HasVideo       bool       `json:"hasVideo"`
	HasAudio       bool       `json:"hasAudio"`
	Status         wcs.Status `json:"status"` // before the stop
	Record         bool       `json:"record"`
}

type snapshotBody struct {
	MediaSessionID string `json:"mediaSessionId"`
	Name           string `json:"name"`
}

type dataBody struct {
	OperationID string          `json:"operationId"`
	Payload     json.RawMessage `json:"payload"`
}

type dataStatusBody struct {
	OperationID string     `json:"operationId"`
	Status      wcs.Status `json:"status"`
	Info        string     `json:"info,omitempty"`
}

type errorBody struct {
	Info string `json:"info"`
}

// body returns v as the body of a hook.
func (h *sessionHooks) body(v any) hooks.Object { return h.addressed(object(v)) }

// addressed sets the members that identify the server, the application and the session.
func (h *sessionHooks) addressed(o hooks.Object) hooks.Object {
	put(o, hooks.Object{"nodeId": raw(h.sess.table.Config.NodeID), "appKey": raw(h.app.Key), "sessionId": raw(h.id.public)})
	return o
}

// connectBody returns the members that the client sent and those that the server adds. authToken, a secret
// between client and server, is omitted.
func (h *sessionHooks) connectBody(c wcs.Connection) hooks.Object {
	o := maps.Clone(c.Sent)
	drop(o, memberAuthToken, memberPolicies, memberStatus)
	put(o, hooks.Object{"origin": raw(h.sess.Origin)})
	for _, flag := range wcs.ConnectionFlags {
		if _, sent := o[flag]; !sent {
			o[flag] = json.RawMessage("false")
		}
	}
	return h.addressed(o)
}

// put sets members of an object that a client sent.
func put(sent, members hooks.Object) {
	drop(sent, slices.Collect(maps.Keys(members))...)
	maps.Copy(sent, members)
}

// drop deletes members of an object that a client sent, including names that differ only in case, which some
// backends would accept.
func drop(sent hooks.Object, names ...string) {
	maps.DeleteFunc(sent, func(have string, _ json.RawMessage) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(have, name) })
	})
}

// object returns the members that v marshals to.
func object(v any) (o hooks.Object) {
	if json.Unmarshal(raw(v), &o) != nil || o == nil { // never for the types of this file
		return hooks.Object{}
	}
	return o
}

// raw marshals strings and the types of this file, which never fail.
func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}
