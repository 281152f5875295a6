// Package transcript describes the messages of a WCS session without their contents: names, members with
// their JSON types, sizes and times (docs/migrate-from-wcs.md#transcripts). It owns what a description
// contains and how large it can become. Texts of clients and servers are never part of it, except those of a
// closed list. gateway/upstream writes transcripts, and cmd/wcs-doctor reads them.
package transcript

import (
	"encoding/json"
	"time"
)

// Side is a party of a session.
type Side string

// The two sides.
const (
	Client Side = "client"
	Server Side = "server"
)

// Transcript describes one session.
type Transcript struct {
	App           string    `json:"app"`
	Upstream      string    `json:"upstream"`
	ClientVersion string    `json:"clientVersion"`
	Began         time.Time `json:"began"`
	Messages      []Message `json:"messages"`
	// Further counts the messages that are not in Messages, by side and name: "client pong".
	Further map[string]int `json:"further,omitempty"`
	End     End            `json:"end"`
}

// End is why a transcript ends.
type End string

// Reasons of ends.
const (
	EndSession End = "session" // the session ended
	EndFull    End = "full"    // a bound was reached
	EndTime    End = "time"    // the session goes on
	EndLost    End = "lost"    // messages came faster than they were described
)

// Message describes a message.
type Message struct {
	At    int64  `json:"at"` // milliseconds since the beginning
	From  Side   `json:"from"`
	Name  string `json:"message"`
	Bytes int    `json:"bytes"`
	// Data describes the elements of data. The form of a description is documented at Writer.Text.
	Data []any `json:"data,omitempty"`
}

// Names of what is not a message with a plain name.
const (
	NameBinary  = "(binary)"
	NameLarge   = "(large)"   // was not looked at
	NameInvalid = "(invalid)" // not the JSON of a message
	NameOther   = "(other)"   // names that could be contents
)

// Bounds of a transcript.
const (
	MaxBytes    = 64 << 10 // of a transcript as JSON, about
	maxMessages = 500
	maxSame     = 20 // messages of one side and name; further ones are counted
	maxCounts   = 128
	maxSeen     = 5000    // messages of both sides, after which the transcript ends
	maxRead     = 2 << 20 // bytes of them that are looked at
)

// Writer builds a transcript. It is not safe for concurrent use.
type Writer struct {
	t    Transcript
	key  []byte
	seen int
	read int            // bytes
	same map[string]int // by side and name
	size int
}

// NewWriter returns a Writer. head has all but Messages, Further and End. The hashes of ids depend on the
// key, which must be random and of one transcript only.
func NewWriter(head Transcript, key []byte) *Writer {
	head.Messages, head.Further = []Message{}, map[string]int{}
	return &Writer{t: head, key: key, same: make(map[string]int)}
}

// Text adds a text message. It reports whether there is room for more.
//
// A description of a value is its JSON type: "null", "true", "false", "0", "integer", "number", "empty" (a
// text without characters), "string", "object" or "array". An object or array that is not an application's
// own is described by its members or elements. "=TEXT" is a text of the protocol, such as a status,
// "#12345678" the hash of an id, and {"(sdp)": […]} a session description. Members whose names are not shown
// are counted by their types: {"(other)": {"string": 2}}.
func (w *Writer) Text(at time.Duration, from Side, message []byte) bool {
	w.read += len(message)
	name, data := w.describe(message)
	return w.add(Message{At: at.Milliseconds(), From: from, Name: name, Bytes: len(message), Data: data})
}

// Other adds a message that is not described: name is one of the names in parentheses.
func (w *Writer) Other(at time.Duration, from Side, name string, size int) bool {
	return w.add(Message{At: at.Milliseconds(), From: from, Name: name, Bytes: size})
}

func (w *Writer) add(m Message) bool {
	w.seen++
	kind := string(m.From) + " " + m.Name
	if _, known := w.same[kind]; !known && len(w.same) >= maxCounts {
		kind = string(m.From) + " " + NameOther
	}
	w.same[kind]++
	if w.same[kind] > maxSame {
		w.t.Further[kind]++
		return w.room()
	}
	text, err := json.Marshal(m)
	if err != nil || w.size+len(text) > MaxBytes || len(w.t.Messages) >= maxMessages {
		w.t.Further[kind]++
		return false
	}
	w.size += len(text) + 1
	w.t.Messages = append(w.t.Messages, m)
	return w.room()
}

func (w *Writer) room() bool { return w.seen < maxSeen && w.read < maxRead }

// Finish returns the transcript.
func (w *Writer) Finish(end End) Transcript {
	w.t.End = end
	return w.t
}
