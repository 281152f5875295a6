package rest

import (
	"encoding/json"

	"wcsgateway/gateway/admin"
)

// pushPrefix is what WCS puts before a stream's name at the RTMP server.
const pushPrefix = "rtmp_"

// push is WCS's description of a stream that is sent on by RTMP (a transponder). The size is that of the
// egress service's configuration, which is not known here, and LiveKit's egress has no mute and no sounds.
type push struct {
	MediaSessionID string          `json:"mediaSessionId"`
	StreamName     string          `json:"streamName"`
	RTMPURL        string          `json:"rtmpUrl"`
	Width          int             `json:"width"`
	Height         int             `json:"height"`
	Muted          bool            `json:"muted"`
	SoundEnabled   bool            `json:"soundEnabled"`
	Options        json.RawMessage `json:"options"`
}

func pushOf(p admin.Push) push {
	return push{MediaSessionID: p.ID, StreamName: pushPrefix + p.Stream, RTMPURL: p.Address, Options: json.RawMessage("{}")}
}

// pushStart is the body of startPush.
type pushStart struct {
	StreamName string `json:"streamName"`
	RTMPURL    string `json:"rtmpUrl"`
	Full       bool   `json:"rtmpTransponderFullUrl"`
}

func (a *API) startPush(q *request, body pushStart) error {
	q.target = "streamName=" + abridge(body.StreamName) // the address usually contains a key
	switch {
	case body.StreamName == "":
		return badRequest("streamName is missing")
	case body.RTMPURL == "":
		return badRequest("rtmpUrl is missing")
	}
	p, err := a.deps.Pusher.StartPush(q.Context(), body.StreamName, body.RTMPURL, body.Full)
	if err != nil {
		return err
	}
	return q.answer(pushOf(p))
}

// findPushes lists pushes. WCS's clients filter by the stream's name, or by that of an earlier response.
func (a *API) findPushes(q *request) error {
	var body struct {
		StreamName string `json:"streamName"`
		RTMPURL    string `json:"rtmpUrl"`
		byMediaID
	}
	if err := q.decodeFilter(&body); err != nil {
		return err
	}
	name, id := body.StreamName, body.MediaSessionID
	return a.listPushes(q, body.RTMPURL, func(p admin.Push) bool {
		return (name == "" || name == p.Stream || name == pushPrefix+p.Stream) && (id == "" || id == p.ID)
	})
}

func (a *API) findAllPushes(q *request) error {
	return a.listPushes(q, "", func(admin.Push) bool { return true })
}

func (a *API) listPushes(q *request, address string, matches func(admin.Push) bool) error {
	pushes, err := a.deps.Pusher.Pushes(q.Context(), address)
	if err != nil {
		return err
	}
	l := a.newList(q)
	for _, p := range pushes {
		if !matches(p) {
			continue
		}
		if err := l.add(pushOf(p)); err != nil {
			return l.end(err)
		}
	}
	return l.end(nil)
}

func (a *API) stopPush(q *request, body byMediaID) error {
	q.target = "mediaSessionId=" + abridge(body.MediaSessionID)
	if body.MediaSessionID == "" {
		return badRequest("mediaSessionId is missing")
	}
	return a.deps.Pusher.StopPush(q.Context(), body.MediaSessionID)
}

// recording is WCS's description of a running recording.
type recording struct {
	FileName       string `json:"fileName"`
	MediaSessionID string `json:"mediaSessionId"`
}

func (a *API) findAllRecordings(q *request) error {
	recordings, err := a.deps.Recorder.Recordings(q.Context())
	if err != nil {
		return err
	}
	l := a.newList(q)
	for _, r := range recordings {
		if err := l.add(recording{r.File, r.MediaID}); err != nil {
			return l.end(err)
		}
	}
	return l.end(nil)
}
