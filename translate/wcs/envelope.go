package wcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	exact "github.com/go-json-experiment/json"
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

// argument is the part of a message that is its argument: the first element of "data", or all of a "data"
// that is no array. It is found in the first pass: each further pass over an offer of 8 KB costs more than
// everything else in Decode.
type argument struct{ start, end int64 }

// UnmarshalJSONFrom fails only for what is not JSON.
func (a *argument) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	array := d.PeekKind() == '['
	if array {
		_, _ = d.ReadToken() // the bracket
	}
	if d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		a.end = d.InputOffset()
		a.start = a.end - int64(len(v))
	}
	for array && d.PeekKind() != ']' {
		if err := d.SkipValue(); err != nil {
			return err
		}
	}
	if array {
		_, _ = d.ReadToken() // the bracket
	}
	return nil
}

// rawObject is an object whose members are not decoded; nil for null.
type rawObject map[string]json.RawMessage

// UnmarshalJSONFrom reads the members in less than half of the time that a map takes by reflection.
func (o *rawObject) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	start, err := d.ReadToken()
	if err != nil || start.Kind() == 'n' {
		return err
	}
	if start.Kind() != '{' {
		return &exact.SemanticError{JSONKind: start.Kind()}
	}
	*o = make(rawObject)
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String() // valid until the next read, as value is
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		(*o)[name] = bytes.Clone(value)
	}
	_, err = d.ReadToken()
	return err
}

// Decode reads a text frame. SDK clients send {"message":name,"data":[arg]}; hand-written clients also send
// an object as data, or no data (docs/wcs-protocol.md#envelope). The argument is a part of frame, or of a
// copy in which halves of surrogate pairs are replaced. Errors wrap ErrMalformed.
func Decode(frame []byte) (Command, error) {
	if crowded(frame) {
		return Command{}, fmt.Errorf("%w: %w", ErrMalformed, errCrowded)
	}
	if !utf8.Valid(frame) { // readers replace the faulty bytes differently, and browsers close their sockets
		return Command{}, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	frame = wellFormed(frame)
	var e struct {
		Message Name     `json:"message"`
		Data    argument `json:"data"`
	}
	if err := exact.Unmarshal(frame, &e, exactly); err != nil {
		return Command{}, fmt.Errorf("%w: %s", ErrMalformed, FaultOf(err))
	}
	arg := json.RawMessage(frame[e.Data.start:e.Data.end:e.Data.end])
	if moreMembers(arg) {
		return Command{}, fmt.Errorf("%w: an argument of %w", ErrMalformed, errMembers)
	}
	if err := checkNames(frame); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case e.Message == "":
		return Command{}, fmt.Errorf(`%w: no "message"`, ErrMalformed)
	case isNull(arg):
		return Command{Name: e.Message}, nil
	}
	return Command{Name: e.Message, Arg: arg}, nil
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

// encodeObject is encode for an object whose members are JSON already. It does not parse them again, which
// costs more than the rest of the frame. It sorts the members.
func encodeObject(name Name, members map[string]json.RawMessage) []byte {
	names, size := make([]string, 0, len(members)), 64
	for member, value := range members {
		names = append(names, member)
		size += len(member) + len(value) + 4
	}
	slices.Sort(names)
	frame := append(make([]byte, 0, size), `{"message":`...)
	frame = append(appendQuoted(frame, string(name)), `,"data":[{`...)
	for i, member := range names {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = append(append(appendQuoted(frame, member), ':'), members[member]...)
	}
	return append(frame, "}]}"...)
}

// quote returns a JSON string. Bytes that are not UTF-8 are replaced.
func quote(text string) json.RawMessage { return appendQuoted(nil, text) }

// quoteAll returns a JSON array of strings.
func quoteAll(texts []string) json.RawMessage {
	list := json.RawMessage{'['}
	for i, text := range texts {
		if i > 0 {
			list = append(list, ',')
		}
		list = appendQuoted(list, text)
	}
	return append(list, ']')
}

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
