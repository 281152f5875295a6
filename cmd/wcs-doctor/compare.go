package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"wcsgateway/translate/transcript"
)

// reference holds what this gateway sends: responses from a transcript of its own. A test of package gateway
// compares it with what the gateway does, and writes it with -update.
//
//go:embed reference.json
var reference []byte

// difference is one between the responses of the WCS server and those of this gateway.
type difference struct {
	Command string `json:"command"`
	Text    string `json:"text"`
	// Times is the number of the WCS server's responses with it.
	Times int `json:"times"`
}

// compare returns the differences between what the WCS server sent and what this gateway sends, for the
// commands that both have. echoed are the fields of connection, which getUserData can have.
func compare(transcripts []transcript.Transcript, echoed []string) ([]difference, error) {
	var own []transcript.Response
	if err := json.Unmarshal(reference, &own); err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	here, there := byCommand(own), make(map[string][]transcript.Response)
	for _, t := range transcripts {
		for command, all := range byCommand(t.Responses()) {
			there[command] = append(there[command], all...)
		}
	}
	all := []difference{}
	for _, command := range slices.Sorted(maps.Keys(there)) {
		if len(here[command]) == 0 {
			continue // how it is served is in the report
		}
		c := comparison{command: command, echoed: echoed, here: here[command], there: there[command]}
		c.messages()
		c.order()
		c.members()
		all = append(all, c.found...)
	}
	return all, nil
}

func byCommand(all []transcript.Response) map[string][]transcript.Response {
	by := make(map[string][]transcript.Response)
	for _, r := range all {
		if len(r.Messages) > 0 {
			by[r.Command] = append(by[r.Command], r)
		}
	}
	return by
}

// comparison compares the responses to one command.
type comparison struct {
	command     string
	echoed      []string // fields of connection
	here, there []transcript.Response
	found       []difference
}

func (c *comparison) add(times int, format string, args ...any) {
	c.found = append(c.found, difference{c.command, fmt.Sprintf(format, args...), times})
}

// unsteady are messages that come when something is measured, so that a response can have them or not.
var unsteady = []string{"notifyVideoFormat", "notifyVideoFormat RESIZE", "inboundVideoRate", "outboundVideoRate", "notifyStreamEvent resize", "ping"}

// messages reports messages that one side sends and the other does not.
func (c *comparison) messages() {
	here, there := kinds(c.here), kinds(c.there)
	for _, kind := range slices.Sorted(maps.Keys(there)) {
		if here[kind] == 0 && !slices.Contains(unsteady, kind) {
			c.add(there[kind], "the WCS server sends %s, this gateway does not", kind)
		}
	}
	// Of what only this gateway sends, that matters which belongs to a response that the other has, too: one
	// with the same status.
	for _, kind := range slices.Sorted(maps.Keys(here)) {
		if there[kind] > 0 || slices.Contains(unsteady, kind) {
			continue
		}
		always := func(status string) bool {
			for _, r := range c.here {
				if has(r, status) && !has(r, kind) {
					return false
				}
			}
			return true
		}
		for _, status := range slices.Sorted(maps.Keys(there)) {
			if strings.Contains(status, " ") && here[status] > 0 && always(status) {
				c.add(there[status], "this gateway sends %s with %s, the WCS server does not", kind, status)
				break
			}
		}
	}
}

// order reports pairs of messages that the sides always send in opposite orders.
func (c *comparison) order() {
	here, there := orders(c.here), orders(c.there)
	for _, p := range slices.SortedFunc(maps.Keys(there), func(a, b pair) int {
		return strings.Compare(a.first+a.second, b.first+b.second)
	}) {
		back := pair{p.second, p.first}
		if there[back] == 0 && here[p] == 0 && here[back] > 0 && !slices.Contains(unsteady, p.first) && !slices.Contains(unsteady, p.second) {
			c.add(there[p], "the WCS server sends %s before %s, this gateway after it", p.first, p.second)
		}
	}
}

// members reports members that one side never sends, and different types, of the messages that both send.
func (c *comparison) members() {
	here, there := shapes(c.here), shapes(c.there)
	for _, kind := range slices.Sorted(maps.Keys(there)) {
		ours, theirs := here[kind], there[kind]
		if ours == nil {
			continue
		}
		// getUserData echoes what the client sent.
		skip := func(path string) bool {
			return strings.HasPrefix(kind, "getUserData") && slices.Contains(c.echoed, "connection."+path)
		}
		var missing, further []string
		n := 0
		for _, path := range slices.Sorted(maps.Keys(theirs.types)) {
			a, b := theirs.types[path], ours.types[path]
			switch {
			case skip(path):
			case b == nil && !ours.opaque(path):
				missing, n = append(missing, fmt.Sprintf("%s (%s)", path, words(a))), max(n, theirs.n[path])
			case b != nil && !overlap(a, b):
				c.add(theirs.n[path], "%s: %s is %s of the WCS server, and %s of this gateway", kind, path, words(a), words(b))
			}
		}
		for _, path := range slices.Sorted(maps.Keys(ours.types)) {
			if theirs.types[path] == nil && !skip(path) && !theirs.opaque(path) && ours.n[path] == ours.all {
				further = append(further, path)
			}
		}
		if missing != nil {
			c.add(n, "%s: the WCS server sends %s, this gateway does not", kind, strings.Join(missing, ", "))
		}
		if further != nil {
			c.add(theirs.all, "%s: this gateway sends %s, the WCS server does not", kind, strings.Join(further, ", "))
		}
	}
}

func has(r transcript.Response, kind string) bool {
	return slices.ContainsFunc(r.Messages, func(a transcript.Answer) bool { return a.Kind == kind })
}

// kinds returns the kinds of messages with the number of responses that have them.
func kinds(all []transcript.Response) map[string]int {
	counts := make(map[string]int)
	for _, r := range all {
		for _, a := range r.Messages {
			counts[a.Kind]++
		}
	}
	return counts
}

type pair struct{ first, second string }

// maxOrdered bounds the messages of a response whose order is looked at: pairs are many.
const maxOrdered = 20

func orders(all []transcript.Response) map[pair]int {
	counts := make(map[pair]int)
	for _, r := range all {
		messages := r.Messages[:min(len(r.Messages), maxOrdered)]
		for i, a := range messages {
			for _, b := range messages[i+1:] {
				counts[pair{a.Kind, b.Kind}]++
			}
		}
	}
	return counts
}

// shape is what messages of one kind look like.
type shape struct {
	all   int
	n     map[string]int                 // messages with a member, by path
	types map[string]map[string]struct{} // of members, by path
}

// shapes returns the shapes of messages by kind.
func shapes(all []transcript.Response) map[string]*shape {
	of := make(map[string]*shape)
	for _, r := range all {
		for _, a := range r.Messages {
			s := of[a.Kind]
			if s == nil {
				s = &shape{n: make(map[string]int), types: make(map[string]map[string]struct{})}
				of[a.Kind] = s
			}
			s.all++
			for i, v := range a.Data {
				if m, ok := v.(map[string]any); ok && i == 0 {
					s.object("", m)
				} else {
					s.value(fmt.Sprintf("data[%d]", i), v)
				}
			}
		}
	}
	return of
}

func (s *shape) object(prefix string, m map[string]any) {
	for name, v := range m {
		types, counted := v.(map[string]any)
		if name != transcript.NameOther || !counted {
			s.value(prefix+name, v)
			continue
		}
		s.n[prefix+name]++
		for description := range types {
			s.add(prefix+name, typeOf(description))
		}
	}
}

func (s *shape) add(path, typ string) {
	if s.types[path] == nil {
		s.types[path] = make(map[string]struct{})
	}
	s.types[path][typ] = struct{}{}
}

func (s *shape) value(path string, v any) {
	typ := "array"
	switch v := v.(type) {
	case map[string]any:
		if v["(sdp)"] != nil {
			typ = "string"
			break
		}
		typ = "object"
		s.object(path+".", v)
	case string:
		typ = typeOf(v)
	}
	s.add(path, typ)
	s.n[path]++
}

// typeOf returns the JSON type of a description (transcript.Writer.Text).
func typeOf(description string) string {
	switch description {
	case "true", "false":
		return "boolean"
	case "0", "integer":
		return "number"
	case "null", "number", "object", "array":
		return description
	}
	return "string"
}

// opaque reports whether a side has an object in the path of which members are not described.
func (s *shape) opaque(path string) bool {
	for i, c := range path {
		if c != '.' {
			continue
		}
		if _, ok := s.types[path[:i]]; !ok || !s.described(path[:i+1]) {
			return true
		}
	}
	return false
}

func (s *shape) described(prefix string) bool {
	for path := range s.types {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

func overlap(a, b map[string]struct{}) bool {
	for t := range a {
		if _, ok := b[t]; ok {
			return true
		}
	}
	return false
}

func words(types map[string]struct{}) string {
	return strings.Join(slices.Sorted(maps.Keys(types)), " or ")
}
