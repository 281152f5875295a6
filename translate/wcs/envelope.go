package wcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Name is the name of a message, in either direction.
type Name string

// ErrMalformed is wrapped by the errors of Decode and Command.Bind.
var ErrMalformed = errors.New("malformed message")

// Command is one message of a client: its name and its one argument, still as JSON. Arg is nil if the client
// sent no argument ("data" absent, empty, or [null]).
type Command struct {
	Name Name
	Arg  json.RawMessage
}

// envelope is the outer object of every message.
type envelope[T any] struct {
	Message *Name `json:"message"`
	Data    T     `json:"data"`
}

// Decode reads a text frame. SDK clients send {"message":name,"data":[arg]}; hand-written clients also send
// an object as data, or no data (docs/wcs-protocol.md#envelope). Errors wrap ErrMalformed.
func Decode(frame []byte) (Command, error) {
	// The array is decoded in the first pass: each further pass over an offer of 8 KB costs more than
	// everything else here.
	var e envelope[[]json.RawMessage]
	err := unmarshal(frame, &e)
	if isMember(err, "/data") {
		var bare envelope[json.RawMessage]
		err = unmarshal(frame, &bare)
		e.Message, e.Data = bare.Message, []json.RawMessage{bare.Data}
	}
	if err != nil {
		return Command{}, fmt.Errorf("%w: %s", ErrMalformed, FaultOf(err))
	}
	if len(e.Data) > 0 && moreMembers(e.Data[0]) {
		return Command{}, fmt.Errorf("%w: an argument of %w", ErrMalformed, errMembers)
	}
	if err := checkNames(frame); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case e.Message == nil || *e.Message == "":
		return Command{}, fmt.Errorf(`%w: no "message"`, ErrMalformed)
	case len(e.Data) == 0 || isNull(e.Data[0]):
		return Command{Name: *e.Message}, nil
	}
	return Command{Name: *e.Message, Arg: e.Data[0]}, nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// Bind decodes the argument into v. Its error wraps ErrMalformed and names the faulty member, never its
// value.
func (c Command) Bind(v any) error {
	if c.Arg == nil {
		return fmt.Errorf("%w: %s has no argument", ErrMalformed, c.Name)
	}
	if err := c.unmarshal(v); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrMalformed, c.Name, FaultOf(err))
	}
	return nil
}

// unmarshal lets types that decode themselves skip a second validation of what Decode has validated.
func (c Command) unmarshal(v any) error {
	if u, ok := v.(json.Unmarshaler); ok {
		return u.UnmarshalJSON(c.Arg)
	}
	return unmarshal(c.Arg, v)
}

// encode builds a frame for clients. "data" is always an array: every client reads data[0] before it looks at
// the name (docs/wcs-protocol.md#envelope).
func encode(name Name, args ...any) []byte {
	if args == nil {
		args = []any{}
	}
	return mustMarshal(struct {
		Message Name  `json:"message"`
		Data    []any `json:"data"`
	}{name, args})
}

// member is a member of an object. Its value is JSON.
type member struct {
	name  string
	value json.RawMessage
}

func membersOf(object map[string]json.RawMessage) (all []member) {
	for name, value := range object {
		all = append(all, member{name, value})
	}
	return all
}

// encodeObject is encode for an object whose members are JSON already. It does not parse them again, which
// costs more than the rest of the frame. It sorts the members.
func encodeObject(name Name, members []member) []byte {
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	size := 64
	for _, m := range members {
		size += len(m.name) + len(m.value) + 4
	}
	frame := append(make([]byte, 0, size), `{"message":`...)
	frame = append(appendQuoted(frame, string(name)), `,"data":[{`...)
	for i, m := range members {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = append(append(appendQuoted(frame, m.name), ':'), m.value...)
	}
	return append(frame, "}]}"...)
}

// quote returns a JSON string. Bytes that are not UTF-8 are replaced.
func quote(text string) json.RawMessage { return appendQuoted(nil, text) }

func appendQuoted(to []byte, text string) []byte {
	to, _ = jsontext.AppendQuote(to, text) // the error is that bytes were replaced
	return to
}

// Encode returns v as JSON without escapes for HTML, which take six bytes for each <, > and & of a client.
func Encode(v any) ([]byte, error) {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n")), nil
}

// mustMarshal encodes values of this package's own types, which always marshal: strings, numbers, booleans,
// and raw JSON that was validated when it was decoded.
func mustMarshal(v any) []byte {
	b, err := Encode(v)
	if err != nil {
		panic(fmt.Sprintf("wcs: %T does not marshal: %v", v, err))
	}
	return b
}

// Edit changes the argument of a frame that this package built with one object as its argument. The members
// by which the client correlates the message cannot be changed: without them the client would wait
// indefinitely.
func Edit(frame []byte, change func(arg map[string]json.RawMessage) map[string]json.RawMessage) []byte {
	var e map[string]json.RawMessage
	var data []map[string]json.RawMessage
	if json.Unmarshal(frame, &e) != nil || json.Unmarshal(e["data"], &data) != nil || len(data) != 1 {
		return frame
	}
	arg := change(maps.Clone(data[0]))
	for _, name := range []string{"mediaSessionId", "operationId", "apiMethod", "id", "status"} {
		if v, ok := data[0][name]; ok {
			arg[name] = v
		}
	}
	e["data"] = mustMarshal([]any{arg})
	return mustMarshal(e)
}
