package rest

import (
	"encoding/json"

	"wcsgateway/translate"
)

// byStreamName is the body of requests about one published stream.
type byStreamName struct {
	StreamName string `json:"streamName"`
}

func (a *API) snapshot(q *request, body byStreamName) error {
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

// recordingStart is the body of startRecording.
type recordingStart struct {
	byMediaID
	Config recordingConfig `json:"config"`
}

func (a *API) startRecording(q *request, body recordingStart) error {
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

func (a *API) stopRecording(q *request, body byMediaID) error {
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
