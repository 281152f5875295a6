package wcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// Name is the name of a message, in either direction.
type Name string

// ErrMalformed is wrapped by the errors of Decode and Command.Bind.
var ErrMalformed = errors.New("malformed message")

// Command is one message of a client: its name and its one argument, still as JSON. Arg is nil when
// the client sent none ("data" absent, empty, or [null]).
type Command struct {
	Name Name
	Arg  json.RawMessage
}

// envelope is what every message is in.
type envelope[T any] struct {
	Message *Name `json:"message"`
	Data    T     `json:"data"`
}

// Decode reads a text frame. Clients send {"message":name,"data":[arg]}; hand-written ones also
// an object as data or no data at all (protocol.md §1.2).
func Decode(frame []byte) (Command, error) {
	// At once with the array, because each further pass over an offer of 8 KB costs more than all else here.
	var e envelope[[]json.RawMessage]
	err := json.Unmarshal(frame, &e)
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) && typ.Field == "data" {
		var bare envelope[json.RawMessage]
		err = json.Unmarshal(frame, &bare)
		e.Message, e.Data = bare.Message, []json.RawMessage{bare.Data}
	}
	switch {
	case err != nil:
		return Command{}, fmt.Errorf("%w: %s", ErrMalformed, jsonFault(err))
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

// Bind decodes the argument into v. The error names the member that is wrong, never its value.
func (c Command) Bind(v any) error {
	if c.Arg == nil {
		return fmt.Errorf("%w: %s has no argument", ErrMalformed, c.Name)
	}
	if err := c.unmarshal(v); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrMalformed, c.Name, jsonFault(err))
	}
	return nil
}

// unmarshal spares types that decode themselves a further check of what Decode has found to be valid.
func (c Command) unmarshal(v any) error {
	if u, ok := v.(json.Unmarshaler); ok {
		return u.UnmarshalJSON(c.Arg)
	}
	return json.Unmarshal(c.Arg, v)
}

// jsonFault says what is wrong with a client's JSON without repeating any of it:
// messages carry tokens and session descriptions.
func jsonFault(err error) string {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Sprintf("%s must not be a JSON %s", typ.Field, typ.Value)
	case errors.As(err, &typ):
		return fmt.Sprintf("must not be a JSON %s", typ.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON (at byte %d)", syntax.Offset)
	}
	return "not JSON"
}

// encode makes a frame for clients. "data" is always an array: every client reads data[0]
// before it looks at the name (protocol.md §1.2).
func encode(name Name, args ...any) []byte {
	if args == nil {
		args = []any{}
	}
	return mustMarshal(struct {
		Message Name  `json:"message"`
		Data    []any `json:"data"`
	}{name, args})
}

// mustMarshal is for values of this package's own types, which always marshal: strings, numbers,
// booleans, and raw JSON that was valid when it was decoded.
func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wcs: %T does not marshal: %v", v, err))
	}
	return b
}

// Edit changes the argument of a frame of this package's own whose one argument is an object. What the client needs to
// find out what a message is about stays as it is: without it the client waits for ever (protocol.md §3).
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
