package rest

import (
	"encoding/json"

	"wcsgateway/translate"
)

func (a *API) snapshot(q *request) error {
	var body struct {
		StreamName string `json:"streamName"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	q.target = "streamName=" + abridge(body.StreamName)
	if body.StreamName == "" {
		return badRequest("streamName is missing")
	}
	png, err := a.deps.Snapshots.Snapshot(q.Context(), body.StreamName)
	if err != nil {
		return err
	}
	return q.answer(map[string][]byte{"data": png}) // base64
}

// recordingConfig is WCS's configuration of one recording.
type recordingConfig struct {
	FileTemplate translate.FileTemplate `json:"fileTemplate"`
	Rotation     json.RawMessage        `json:"rotation"`
}

func (c recordingConfig) check() error {
	switch {
	case c.Rotation != nil && string(c.Rotation) != "null":
		return unsupportedError("rotation: a recording is one file; start another recording instead")
	case c.FileTemplate == "":
		return nil // the configured one
	}
	if err := c.FileTemplate.Validate(); err != nil {
		return badRequest("fileTemplate: %v", err)
	}
	return nil
}

func (a *API) startRecording(q *request) error {
	var body struct {
		byMediaID
		Config recordingConfig `json:"config"`
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	q.target = "mediaSessionId=" + abridge(body.MediaSessionID)
	name, err := a.publishedName(q, body.MediaSessionID)
	if err != nil {
		return err
	}
	if err := body.Config.check(); err != nil { // after the search: another server can have the stream
		return err
	}
	_, err = a.deps.Recorder.StartRecording(q.Context(), name, body.Config.FileTemplate) // like WCS, the response has no name
	return err
}

func (a *API) stopRecording(q *request) error {
	var body byMediaID
	if err := q.decode(&body); err != nil {
		return err
	}
	q.target = "mediaSessionId=" + abridge(body.MediaSessionID)
	name, err := a.publishedName(q, body.MediaSessionID)
	if err != nil {
		return err
	}
	return a.deps.Recorder.StopRecording(q.Context(), name)
}

// publishedName returns the name of the published stream with the given media id.
func (a *API) publishedName(q *request, mediaID string) (name string, err error) {
	e, err := a.streamOfID(q, mediaID)
	if err == nil && !e.Published {
		err = badRequest("mediaSessionId belongs to a player: only published streams are recorded")
	}
	return e.Name, err
}
