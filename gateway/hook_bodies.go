package gateway

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Bodies of hooks, with the members of the vendor's samples (integration.md §1.4). nodeId, appKey and sessionId are in all of
// them: sessionHooks.body adds them.

// streamBody is a StreamStatusEvent or StreamKeepAliveEvent. What this server does not know is 0, false or empty, as most of it
// is in the sample.
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
	Transport      string     `json:"transport"` // that the client has asked for
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
		Record: st.recorded(), RecordName: st.recordName(),
		AudioState: muteState{Muted: st.audioMuted}, VideoState: muteState{Muted: st.videoMuted}, MediaProvider: st.provider,
	}
	if st.published {
		b.MediaType = "publish"
	}
	if wantsTCP(st.req) {
		b.Transport = "TCP"
	}
	return b
}

// requestBody is the part of publishStream and playStream that every client means, whether it says so or not.
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

// stopBody is unPublishStream and stopStream.
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

// body makes the body of a hook.
func (h *sessionHooks) body(v any) hooks.Object { return h.addressed(object(v)) }

// addressed says whom a body is about.
func (h *sessionHooks) addressed(o hooks.Object) hooks.Object {
	put(o, hooks.Object{"nodeId": raw(h.sess.g.cfg.NodeID), "appKey": raw(h.app.Key), "sessionId": raw(h.id.public)})
	return o
}

// connectBody is what the client has sent and what the server knows of it. authToken, a secret between the two, is left out.
func (h *sessionHooks) connectBody(c wcs.Connection) hooks.Object {
	o := maps.Clone(c.Sent)
	drop(o, memberAuthToken, memberPolicies, memberStatus)
	put(o, hooks.Object{"origin": raw(h.sess.origin)})
	for _, flag := range wcs.ConnectionFlags {
		if _, sent := o[flag]; !sent {
			o[flag] = json.RawMessage("false")
		}
	}
	return h.addressed(o)
}

// put sets members in what a client has sent.
func put(sent, members hooks.Object) {
	drop(sent, slices.Collect(maps.Keys(members))...)
	maps.Copy(sent, members)
}

// drop takes members out of what a client has sent, also those that differ only in case: there are backends that would take them.
func drop(sent hooks.Object, names ...string) {
	maps.DeleteFunc(sent, func(have string, _ json.RawMessage) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(have, name) })
	})
}

// object is a value as the members that it marshals to.
func object(v any) (o hooks.Object) {
	if json.Unmarshal(raw(v), &o) != nil || o == nil { // of this file's types: never
		return hooks.Object{}
	}
	return o
}

// raw is for strings and this file's types, which always marshal.
func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}
