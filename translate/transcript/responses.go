package transcript

import (
	"slices"
	"strings"
)

// Response is what a server sent because of one command, in order.
type Response struct {
	Command string `json:"command"` // its name
	// Messages are the first ones of each kind.
	Messages []Answer `json:"messages"`
}

// Answer is one message of a response.
type Answer struct {
	Kind string `json:"kind"` // name, and the status or type
	Data []any  `json:"data"`
}

// noAnswer are commands that are not followed by messages of their own. Their ids are those of others.
var noAnswer = []string{"pong", "ping", "pushLogs", "sendStreamEvent", "webRTCMetricsClientDescription", "webRTCMetricsBatch"}

// Responses returns the responses in a transcript, in the order of their commands. A message belongs to the
// last command about the same id, and to connection if there was no other command before it.
func (t Transcript) Responses() []Response {
	var all []*Response
	byID := make(map[string]*Response)
	var opening *Response // of connection; nil after the next command
	for _, m := range t.Messages {
		id := idOf(m.Data)
		if m.From == Client {
			if slices.Contains(noAnswer, m.Name) {
				continue
			}
			r := &Response{Command: m.Name}
			all, opening = append(all, r), nil
			if m.Name == "connection" {
				opening = r
			}
			if id != "" {
				byID[id] = r
			}
			continue
		}
		r := byID[id]
		if r == nil && id == "" {
			r = opening
		}
		if r != nil {
			r.add(Answer{Kind: kindOf(m), Data: m.Data})
		}
	}
	responses := make([]Response, len(all))
	for i, r := range all {
		responses[i] = *r
	}
	return responses
}

func (r *Response) add(a Answer) {
	if !slices.ContainsFunc(r.Messages, func(b Answer) bool { return a.Kind == b.Kind }) {
		r.Messages = append(r.Messages, a)
	}
}

// idOf returns the hash of the id that a message is about, "" if there is none.
func idOf(data []any) string {
	if len(data) == 0 {
		return ""
	}
	if text, ok := data[0].(string); ok && strings.HasPrefix(text, "#") {
		return text
	}
	argument, _ := data[0].(map[string]any)
	for _, member := range []string{"mediaSessionId", "operationId", "callId", "id"} {
		if text, ok := argument[member].(string); ok && strings.HasPrefix(text, "#") {
			return text
		}
	}
	return ""
}

func kindOf(m Message) string {
	if len(m.Data) == 0 {
		return m.Name
	}
	argument, _ := m.Data[0].(map[string]any)
	for _, member := range []string{"status", "type"} {
		if text, ok := argument[member].(string); ok && strings.HasPrefix(text, "=") {
			return m.Name + " " + text[1:]
		}
	}
	return m.Name
}
