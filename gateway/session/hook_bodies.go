package session

import (
	"encoding/json"
	"maps"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func (st *stream) body(status wcs.Status, info string) hooks.StreamBody {
	video := st.tracks[translate.Video]
	b := hooks.StreamBody{
		MediaSessionID: st.id, Name: st.name, Published: st.published, HasVideo: st.kinds.Video, HasAudio: st.kinds.Audio,
		Status: status, Info: info, AudioCodec: st.codec(translate.Audio), VideoCodec: st.codec(translate.Video),
		Width: video.Width, Height: video.Height, MinBitrate: st.minKbps, MaxBitrate: st.maxKbps,
		Transport: "UDP", CVOExtension: bool(st.req.CVOExtension), CreateDate: st.created.UnixMilli(), MediaType: "play",
		Record: st.egresses.Recorded(), RecordName: st.egresses.File(),
		AudioState: wcs.MuteState{Muted: st.mutes.Audio}, VideoState: wcs.MuteState{Muted: st.mutes.Video}, MediaProvider: st.provider,
	}
	if st.published {
		b.MediaType = "publish"
	}
	if wantsTCP(st.req) {
		b.Transport = "TCP"
	}
	return b
}

func (st *stream) requestBody() hooks.RequestBody {
	r := st.req
	return hooks.RequestBody{
		MediaSessionID: st.id, Name: st.name, Published: st.published, HasVideo: bool(r.HasVideo), HasAudio: bool(r.HasAudio),
		Status: hooks.StatusPending, SDP: r.SDP, Record: bool(r.Record), Width: int(r.Width), Height: int(r.Height),
		Bitrate: int(r.Bitrate), MinBitrate: int(r.MinBitrate), MaxBitrate: int(r.MaxBitrate), Quality: int(r.Quality), MediaProvider: st.provider,
	}
}

// body returns v as the body of a hook.
func (h *sessionHooks) body(v any) hooks.Object { return h.addressed(hooks.Body(v)) }

// addressed sets the members that identify the server, the application and the session.
func (h *sessionHooks) addressed(o hooks.Object) hooks.Object {
	hooks.Put(o, hooks.Object{"nodeId": hooks.Raw(h.sess.table.Config.NodeID), "appKey": hooks.Raw(h.app.Key), "sessionId": hooks.Raw(h.id.public)})
	return o
}

// connectBody returns the members that the client sent and those that the server adds. authToken, a secret
// between client and server, is omitted.
func (h *sessionHooks) connectBody(c wcs.Connection) hooks.Object {
	o := maps.Clone(c.Sent)
	hooks.Drop(o, memberAuthToken, memberPolicies, memberStatus)
	hooks.Put(o, hooks.Object{"origin": hooks.Raw(h.sess.Origin)})
	for _, flag := range wcs.ConnectionFlags {
		if _, sent := o[flag]; !sent {
			o[flag] = json.RawMessage("false")
		}
	}
	return h.addressed(o)
}
