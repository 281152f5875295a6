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
	q.about("streamName=" + cut(body.StreamName))
	switch {
	case body.StreamName == "":
		return bad("streamName is missing")
	case a.deps.Snapshots == nil:
		return notBuilt("pictures are not taken by this server")
	}
	png, err := a.deps.Snapshots.Snapshot(q.Context(), body.StreamName)
	if err != nil {
		return err
	}
	return q.answer(map[string][]byte{"data": png}) // base64
}

// recordingConfig is what WCS takes for one recording.
type recordingConfig struct {
	FileTemplate translate.FileTemplate `json:"fileTemplate"`
	Rotation     json.RawMessage        `json:"rotation"`
}

func (c recordingConfig) check() error {
	switch {
	case c.Rotation != nil && string(c.Rotation) != "null":
		return notBuilt("rotation: a recording is one file; begin another one instead")
	case c.FileTemplate == "":
		return nil // the configured one
	}
	if err := c.FileTemplate.Validate(); err != nil {
		return bad("fileTemplate: %v", err)
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
	q.about("mediaSessionId=" + cut(body.MediaSessionID))
	if err := body.Config.check(); err != nil {
		return err
	}
	name, err := a.recorded(q, body.MediaSessionID)
	if err != nil {
		return err
	}
	_, err = a.deps.Recorder.StartRecording(q.Context(), name, body.Config.FileTemplate) // WCS tells no name, either
	return err
}

func (a *API) stopRecording(q *request) error {
	var body byMediaID
	if err := q.decode(&body); err != nil {
		return err
	}
	q.about("mediaSessionId=" + cut(body.MediaSessionID))
	name, err := a.recorded(q, body.MediaSessionID)
	if err != nil {
		return err
	}
	return a.deps.Recorder.StopRecording(q.Context(), name)
}

// recorded gives the name of the published stream whose recording is meant.
func (a *API) recorded(q *request, mediaID string) (name string, err error) {
	if a.deps.Recorder == nil {
		return "", notBuilt("nothing is recorded by this server")
	}
	e, err := a.streamOfID(q, mediaID)
	if err == nil && !e.Published {
		err = bad("mediaSessionId is that of a player: only published streams are recorded")
	}
	return e.Name, err
}
