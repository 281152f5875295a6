package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// stream is WCS's Stream object. Unknown members are absent: sizes until they are measured, codecs until the
// stream is up, and members that this server does not have.
type stream struct {
	NodeID         string        `json:"nodeId"`
	AppKey         string        `json:"appKey"`
	SessionID      string        `json:"sessionId"`
	MediaSessionID string        `json:"mediaSessionId"`
	Name           string        `json:"name"`
	Published      bool          `json:"published"`
	HasVideo       *bool         `json:"hasVideo,omitempty"`
	HasAudio       *bool         `json:"hasAudio,omitempty"`
	Status         wcs.Status    `json:"status"`
	AudioCodec     string        `json:"audioCodec,omitempty"`
	VideoCodec     string        `json:"videoCodec,omitempty"`
	Width          int           `json:"width,omitempty"`
	Height         int           `json:"height,omitempty"`
	MinBitrate     int           `json:"minBitrate"`
	MaxBitrate     int           `json:"maxBitrate"`
	CreateDate     int64         `json:"createDate"` // Unix milliseconds
	MediaType      string        `json:"mediaType"`
	MediaProvider  string        `json:"mediaProvider"`
	Metrics        admin.Figures `json:"metrics,omitempty"`
}

func (a *API) streamOf(e admin.StreamEntry) stream {
	s := stream{
		NodeID: a.cfg.NodeID, AppKey: e.App, SessionID: e.Session, MediaSessionID: e.MediaID, Name: a.shown(e.Name), Published: e.Published, Status: e.Status,
		MinBitrate: e.MinKbps, MaxBitrate: e.MaxKbps, CreateDate: e.CreatedAt.UnixMilli(), MediaType: "play", MediaProvider: wcs.ProviderWebRTC,
	}
	if e.Published {
		s.MediaType = "publish"
	}
	audio, video := trackOf(e.Tracks, translate.Audio), trackOf(e.Tracks, translate.Video)
	s.AudioCodec, s.VideoCodec = translate.CodecName(audio.Mime), translate.CodecName(video.Mime)
	s.Width, s.Height = video.Width, video.Height
	if len(e.Tracks) > 0 {
		hasAudio, hasVideo := audio.Name != "", video.Name != ""
		s.HasAudio, s.HasVideo = &hasAudio, &hasVideo
	}
	return s
}

func trackOf(tracks []state.Track, k translate.Kind) state.Track {
	for _, t := range tracks {
		if t.Kind == string(k) {
			return t
		}
	}
	return state.Track{}
}

// streamFilter is the body of find and terminate. A stream matches if all set members match.
type streamFilter struct {
	MediaSessionID  string   `json:"mediaSessionId"`
	MediaSessionIDs []string `json:"mediaSessionIds"`
	Name            string   `json:"name"`
	Published       *boolean `json:"published"`
	Status          string   `json:"status"`
	SessionID       string   `json:"sessionId"`
	Display         []string `json:"display"`
}

// boolean is a boolean that some backends send as a string.
type boolean bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *boolean) UnmarshalJSON(b []byte) error {
	switch text := strings.Trim(string(b), `"`); text {
	case "true", "false":
		*v = text == "true"
		return nil
	}
	return errors.New("published must be true or false")
}

// maxMediaIDs bounds mediaSessionIds.
const maxMediaIDs = 10_000

func (f streamFilter) filter() (admin.StreamFilter, error) {
	g := admin.StreamFilter{MediaIDs: f.MediaSessionIDs, Name: f.Name, Session: f.SessionID, Status: f.Status, Published: (*bool)(f.Published)}
	switch {
	case f.MediaSessionID != "" && f.MediaSessionIDs != nil:
		return g, badRequest("mediaSessionId and mediaSessionIds exclude each other")
	case f.MediaSessionIDs != nil && len(f.MediaSessionIDs) == 0:
		return g, fmt.Errorf("%w: mediaSessionIds is empty", errNotAny) // not everything
	case len(f.MediaSessionIDs) > maxMediaIDs:
		return g, badRequest("more than %d mediaSessionIds", maxMediaIDs)
	case f.MediaSessionID != "":
		g.MediaIDs = []string{f.MediaSessionID}
	}
	for _, d := range f.Display {
		if d != "metrics" {
			return g, badRequest("display: only metrics is supported")
		}
	}
	return g, nil
}

func (a *API) findAllStreams(q *request) error {
	return a.listStreams(q, admin.StreamFilter{}, false)
}

func (a *API) findStreams(q *request) error {
	var f streamFilter
	if err := q.decodeFilter(&f); err != nil {
		return err
	}
	filter, err := f.filter()
	if err != nil {
		return err
	}
	return a.listStreams(q, filter, len(f.Display) > 0)
}

// eachName calls f with a filter for each name under which what it names is stored: that of a source has no
// credentials.
func (a *API) eachName(filter admin.StreamFilter, f func(admin.StreamFilter) error) error {
	if a.deps.Puller == nil || filter.Name == "" {
		return f(filter)
	}
	for _, name := range a.deps.Puller.Stored(filter.Name) {
		filter.Name = name
		if err := f(filter); err != nil {
			return err
		}
	}
	return nil
}

// shown returns a stored name for operators: a source's address as clients write it, if nothing of it is
// hidden.
func (a *API) shown(name string) string {
	if a.deps.Puller == nil {
		return name
	}
	return a.deps.Puller.Shown(name)
}

func (a *API) listStreams(q *request, f admin.StreamFilter, metrics bool) error {
	l := a.newList(q)
	page := func(page []admin.StreamEntry) error {
		var figures map[string]admin.Figures
		if metrics {
			var err error
			if figures, err = a.deps.Deployment.Figures(q.Context(), page); err != nil {
				return err
			}
		}
		for _, e := range page {
			s := a.streamOf(e)
			s.Metrics = figures[e.MediaID]
			if err := l.add(s); err != nil {
				return err
			}
		}
		return l.nextPage()
	}
	return l.end(a.eachName(f, func(f admin.StreamFilter) error { return a.deps.Deployment.EachStream(q.Context(), f, page) }))
}

// endFilter is the body of terminate. An empty member is rejected: ignoring it would widen the filter.
type endFilter struct{ streamFilter }

// UnmarshalJSON implements json.Unmarshaler.
func (f *endFilter) UnmarshalJSON(b []byte) error {
	var members map[string]json.RawMessage
	if err := wcs.Unmarshal(b, &members); err != nil {
		return err
	}
	for name, value := range members {
		if v := string(value); v == "null" || v == `""` {
			return fmt.Errorf("%s is empty", name)
		}
	}
	return wcs.UnmarshalStrict(b, &f.streamFilter)
}

// terminateStreams responds as soon as the pods have started to end the streams. WCS without a filter ended
// all streams. Here this needs rest.terminateAll and POST: a page of another site can make browsers send a
// GET with stored credentials, and old browsers do not send Sec-Fetch-Site.
func (a *API) terminateStreams(q *request, end endFilter) error {
	f := end.streamFilter
	filter, err := f.filter()
	q.target = describe(f)
	switch {
	case err != nil:
		return err
	case f.Display != nil:
		return badRequest("display is not a filter")
	case filter.Empty() && !a.cfg.TerminateAll:
		return badRequest("no filter: ending all streams is not allowed by rest.terminateAll")
	case filter.Empty() && q.Method != http.MethodPost:
		return badRequest("no filter: ending all streams requires POST")
	}
	ended := 0
	err = a.eachName(filter, func(f admin.StreamFilter) error {
		n, err := a.deps.Deployment.TerminateStreams(q.Context(), f)
		ended += n
		return err
	})
	switch {
	case err == nil && ended == 0 && filter.Empty():
		return errNotAny // the streams of another server are ended by a filter only
	case err == nil && ended == 0:
		return errNothing
	}
	return err
}

// describe returns a filter as text for the audit log.
func describe(f streamFilter) string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"mediaSessionId", f.MediaSessionID}, {"mediaSessionIds", strings.Join(f.MediaSessionIDs, ",")}, {"name", f.Name}, {"status", f.Status}, {"sessionId", f.SessionID},
	} {
		if p.value != "" {
			parts = append(parts, p.name+"="+abridge(p.value))
		}
	}
	if f.Published != nil && *f.Published {
		parts = append(parts, "published=true")
	} else if f.Published != nil {
		parts = append(parts, "published=false")
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

// abridge returns a request's text for a log line: bounded, and without credentials.
func abridge(text string) string {
	return translate.Abridge(withoutCredentials(text), 1000)
}

// byMediaID is the body of requests about one stream.
type byMediaID struct {
	MediaSessionID string `json:"mediaSessionId"`
}

// streamOfID returns the stream with the given media id.
func (a *API) streamOfID(q *request, mediaID string) (found admin.StreamEntry, err error) {
	if mediaID == "" {
		return found, badRequest("mediaSessionId is missing")
	}

	err = a.deps.Deployment.EachStream(q.Context(), admin.StreamFilter{MediaIDs: []string{mediaID}}, func(page []admin.StreamEntry) error {
		found = page[0]
		return nil
	})
	if err == nil && found.MediaID == "" {
		err = errNothing
	}
	return found, err
}

func (a *API) streamMetrics(q *request, body byMediaID) error {
	e, err := a.streamOfID(q, body.MediaSessionID)
	if err != nil {
		return err
	}
	figures, err := a.deps.Deployment.Figures(q.Context(), []admin.StreamEntry{e})
	if err != nil {
		return err
	}
	f := figures[e.MediaID]
	if f == nil {
		f = admin.Figures{} // {} and not null if nothing is measured
	}
	return q.answer(f)
}
