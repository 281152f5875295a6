package transcript

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
)

// Bounds of a message's description.
const (
	maxDepth    = 3
	maxMembers  = 64
	maxElements = 4
)

// more stands for further members or elements.
const more = "(more)"

// plainName matches names that are shown although the protocol does not have them: those of messages, and of
// members of a known message's argument. Longer ones, and those with more numbers, can be an application's
// ids.
var plainName = regexp.MustCompile(`^[A-Za-z_]+([0-9]{1,2}[A-Za-z_]{2,})?[0-9]?$`)

const maxName = 40

func plain(name string) bool { return len(name) <= maxName && plainName.MatchString(name) }

// The first element of data, the argument, has depth 1. Below it, in other elements, and in messages that the
// protocol does not have, objects can be dictionaries whose names are contents, so that only names of the
// protocol are shown.
const (
	depthArgument = 1
	depthBelow    = 2
)

func shown(member string, depth int) bool {
	return knownMembers[member] || depth == depthArgument && plain(member)
}

// Messages and members whose content is an application's or a user's own: only its JSON type is described.
var (
	opaqueMessages = []string{"pushLogs", "submitBugReport", "webRTCMetricsClientDescription", "webRTCMetricsBatch"}
	opaqueMembers  = []string{"custom", "payload", "constraints", "clientInfo", "localMediaInfo"}
)

// Members with an id, and messages whose first element is one.
var (
	idMembers  = []string{"mediaSessionId", "operationId", "callId", "id", "name"}
	positional = []string{"setRemoteSDP", "notifyAudioCodec"}
)

// describe returns a message's name and the description of its data.
func (w *Writer) describe(message []byte) (name string, data []any) {
	var m struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if json.Unmarshal(message, &m) != nil || m.Message == "" {
		return NameInvalid, nil
	}
	if name = m.Message; !plain(name) {
		name = NameOther
	}
	var argument any
	if json.Unmarshal(m.Data, &argument) != nil {
		return name, nil // without data
	}
	elements, ok := argument.([]any)
	if !ok {
		elements = []any{argument} // hand-written clients send an object
	}
	for i, e := range elements {
		depth := depthArgument
		if i > 0 || !knownMessages[name] {
			depth = depthBelow
		}
		switch text, isText := e.(string); {
		case i == maxElements:
			return name, append(data, more)
		case slices.Contains(opaqueMessages, name):
			data = append(data, jsonType(e))
		case isText && slices.Contains(positional, name) && i == 0:
			data = append(data, w.hash(text))
		case isText && name == "setRemoteSDP" && i == 1:
			data = append(data, describeSDP(text))
		default:
			data = append(data, w.value(e, depth))
		}
	}
	return name, data
}

func (w *Writer) value(v any, depth int) any {
	switch v := v.(type) {
	case map[string]any:
		if depth > maxDepth {
			return "object"
		}
		described, others := make(map[string]any), make(map[string]int)
		for _, member := range slices.Sorted(maps.Keys(v)) {
			switch {
			case !shown(member, depth):
				others[jsonType(v[member])]++
			case len(described) == maxMembers:
				described[more] = "object"
			case len(described) < maxMembers:
				described[member] = w.member(member, v[member], depth)
			}
		}
		if len(others) > 0 {
			described[NameOther] = others
		}
		return described
	case []any:
		if depth > maxDepth {
			return "array"
		}
		described := []any{}
		for _, e := range v {
			if len(described) == maxElements {
				return append(described, more)
			}
			described = append(described, w.value(e, depth+1))
		}
		return described
	case string:
		if slices.Contains(providers, v) {
			return "=" + v
		}
	}
	return jsonType(v)
}

// member describes the value of a member of an object.
func (w *Writer) member(name string, v any, depth int) any {
	if slices.Contains(opaqueMembers, name) {
		return jsonType(v)
	}
	text, isText := v.(string)
	switch {
	case isText && slices.Contains(texts[name], text):
		return "=" + text
	case slices.Contains(idMembers, name) && v != nil && text != "":
		return w.hash(text)
	case slices.Contains(idMembers, name) && !isText && scalar(v):
		return w.hash(fmt.Sprint(v))
	case isText && text != "" && (name == "sdp" || name == "sipSDP"):
		return describeSDP(text)
	}
	return w.value(v, depth+1)
}

// hash returns the description of an id.
func (w *Writer) hash(id string) string {
	mac := hmac.New(sha256.New, w.key)
	mac.Write([]byte(id))
	return "#" + hex.EncodeToString(mac.Sum(nil)[:4])
}

func scalar(v any) bool {
	switch v.(type) {
	case float64, bool:
		return true
	}
	return false
}

func jsonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case float64:
		switch {
		case v == 0:
			return "0"
		case v == math.Trunc(v):
			return "integer"
		}
		return "number"
	case string:
		if v == "" {
			return "empty"
		}
		return "string"
	case []any:
		return "array"
	}
	return "object"
}
