package upstream

import (
	"bytes"

	"wcsgateway/translate/wcs"
)

// Bounds of the streams of one link.
const (
	maxStreams  = 256 // further ones are not counted
	maxStreamID = 128 // bytes; a stream with a longer id is not counted
	maxStatus   = 16 << 10
)

// Kinds of streams, which are labels of the metric.
const (
	kindPublish = "publish"
	kindPlay    = "play"
)

// statusStart begins a message about the status of a stream.
var statusStart = []byte(`{"message":"` + string(wcs.NoteStreamStatus) + `"`)

// streams counts the streams of a spliced session that its server says are up. It looks at the server's
// messages of statuses only, of at most maxStatus bytes.
type streams struct {
	frames *scanner                         // of the server; set once
	count  func(kind string, delta float64) // set once

	up      map[string]string // kind of a stream by media id
	reading bool              // a text message is in progress, which can be about a status
	text    []byte            // of it
}

// payload takes a piece of a frame, before frames.left changes.
func (s *streams) payload(b []byte) {
	f := s.frames
	if f.opcode() >= opClose { // can be between the fragments of a message
		return
	}
	if f.opcode() != opContinuation && f.left == f.size() {
		s.reading, s.text = f.opcode() == opText && !f.masked(), nil
	}
	if !s.reading {
		return
	}
	want := statusStart[min(len(s.text), len(statusStart)):]
	if len(s.text)+len(b) > maxStatus || !bytes.HasPrefix(b, want[:min(len(want), len(b))]) {
		s.reading, s.text = false, nil
		return
	}
	s.text = append(s.text, b...)
	if uint64(len(b)) == f.left && f.final() {
		s.take(s.text)
		s.reading, s.text = false, nil
	}
}

// take takes a message about a status.
func (s *streams) take(message []byte) {
	if wcs.Deeper(message, maxGreetingDepth) {
		return
	}
	m, err := wcs.Decode(message)
	var st struct {
		MediaSessionID string     `json:"mediaSessionId"`
		Status         wcs.Status `json:"status"`
	}
	if err != nil || m.Bind(&st) != nil || len(st.MediaSessionID) > maxStreamID {
		return
	}
	switch id := st.MediaSessionID; st.Status {
	case wcs.StatusPublishing:
		s.set(id, kindPublish)
	case wcs.StatusPlaying:
		s.set(id, kindPlay)
	case wcs.StatusFailed, wcs.StatusStopped, wcs.StatusUnpublished:
		s.set(id, "")
	}
}

// set records a stream that is up, or has ended if kind is "".
func (s *streams) set(id, kind string) {
	was := s.up[id]
	if was == kind || was == "" && len(s.up) == maxStreams {
		return
	}
	if was != "" {
		delete(s.up, id)
		s.count(was, -1)
	}
	if kind != "" {
		if s.up == nil {
			s.up = make(map[string]string)
		}
		s.up[id] = kind
		s.count(kind, 1)
	}
}

// end ends all streams, with their session. A nil streams has none.
func (s *streams) end() {
	if s == nil {
		return
	}
	for id := range s.up {
		s.set(id, "")
	}
}
