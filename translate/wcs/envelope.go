package wcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// Decode reads a text frame. Clients send {"message":name,"data":[arg]}; hand-written ones also
// an object as data or no data at all (protocol.md §1.2).
func Decode(frame []byte) (Command, error) {
	var e struct {
		Message *Name           `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(frame, &e); err != nil {
		return Command{}, fmt.Errorf("%w: %s", ErrMalformed, jsonFault(err))
	}
	if e.Message == nil || *e.Message == "" {
		return Command{}, fmt.Errorf(`%w: no "message"`, ErrMalformed)
	}
	arg, err := firstArg(e.Data)
	if err != nil {
		return Command{}, fmt.Errorf(`%w: "data": %s`, ErrMalformed, jsonFault(err))
	}
	return Command{Name: *e.Message, Arg: arg}, nil
}

func firstArg(data json.RawMessage) (json.RawMessage, error) {
	if isNull(data) {
		return nil, nil
	}
	if data[0] != '[' {
		return data, nil
	}
	var args []json.RawMessage
	if err := json.Unmarshal(data, &args); err != nil {
		return nil, err
	}
	if len(args) == 0 || isNull(args[0]) {
		return nil, nil
	}
	return args[0], nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// Bind decodes the argument into v. The error names the member that is wrong, never its value.
func (c Command) Bind(v any) error {
	if c.Arg == nil {
		return fmt.Errorf("%w: %s has no argument", ErrMalformed, c.Name)
	}
	if err := json.Unmarshal(c.Arg, v); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrMalformed, c.Name, jsonFault(err))
	}
	return nil
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
