package hooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// OnError is a policy's restOnError: what a failed call means. What either does is a matter of the Class.
type OnError int

// Values of restOnError.
const (
	Log  OnError = iota // LOG, the default: log it and go on as if the backend had allowed it
	Fail                // FAIL
)

// Mode is a policy's restPolicy.
type Mode int

// Values of restPolicy.
const (
	Notify    Mode = iota // NOTIFY, the default: call, and use nothing of the answer
	Overwrite             // OVERWRITE: take the answer's members that restOverwrite names
	Disable               // DISABLE: do not call
)

// Policy is what a backend asks for one method in restClientConfig (integration.md §1.5). The zero Policy is the
// default. Names of members are case-sensitive.
type Policy struct {
	RestExclude   []string // members that the backend is not sent
	ClientExclude []string // members that the client is not sent
	Overwrite     []string // members that Take takes
	OnError       OnError
	Mode          Mode
}

// Request is a copy of what the backend is to be sent, without RestExclude.
func (p Policy) Request(o Object) Object { return without(o, p.RestExclude) }

// ForClient is a copy of what the client is to be sent, without ClientExclude.
func (p Policy) ForClient(o Object) Object { return without(o, p.ClientExclude) }

// Take gives sent with those members of the backend's answer that the policy lets it overwrite, and the names of the
// members that changed, sorted. A member that the answer lacks, or has as null, stays. Members that identify the session
// and the stream, and the SDP, stay always.
func (p Policy) Take(sent, got Object) (o Object, changed []string) {
	if p.Mode != Overwrite {
		return maps.Clone(sent), nil
	}
	return merge(sent, got, func(name string) bool { return slices.Contains(p.Overwrite, name) })
}

// TakeConnect is Take for the answer to connect, of which WCS takes each member that changed (integration.md §1.5). It
// leaves out restClientConfig, which is for ParsePolicies, and authToken, which is the gateway's alone.
func TakeConnect(sent, got Object) (o Object, changed []string) {
	return merge(sent, got, func(name string) bool { return name != "restClientConfig" && name != "authToken" })
}

func merge(sent, got Object, take func(name string) bool) (o Object, changed []string) {
	o = maps.Clone(sent)
	if o == nil {
		o = Object{}
	}
	for name, value := range got {
		if protected(name) || !take(name) || isNull(value) || same(sent[name], value) {
			continue
		}
		o[name] = value
		changed = append(changed, name)
	}
	slices.Sort(changed)
	return o, changed
}

// protected are the members that no answer changes: the client knows its stream by mediaSessionId, LiveKit by the SDP,
// and the backend itself knows the session by the others.
func protected(name string) bool {
	switch name {
	case "mediaSessionId", "sdp", "sessionId", "appKey", "nodeId":
		return true
	}
	return false
}

func isNull(value json.RawMessage) bool {
	v := bytes.TrimSpace(value)
	return len(v) == 0 || string(v) == "null"
}

// same tells whether two values mean the same: an echo may have other spaces, escapes and order.
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := value(a)
	y, errY := value(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func value(raw json.RawMessage) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // as a float64, two large numbers can be the same
	err = d.Decode(&v)
	return v, err
}

func without(o Object, names []string) Object {
	o = maps.Clone(o)
	for _, name := range names {
		delete(o, name)
	}
	return o
}

// Policies are a restClientConfig: what it says of each method. Nil is one without a word.
type Policies map[Method]Policy

// For is the method's policy, by default the zero Policy.
func (ps Policies) For(m Method) Policy { return ps[m] }

// ParsePolicies reads the restClientConfig of an answer to connect. It passes over methods and fields that it
// does not know without a word, since WCS has more of both. The Policies are good also when there is an error: it joins
// what was wrong and is therefore at its default, and which members may not be overwritten. No configuration, or null, is
// no error.
func ParsePolicies(raw json.RawMessage) (Policies, error) {
	if isNull(raw) {
		return nil, nil
	}
	var byMethod Object
	if err := json.Unmarshal(raw, &byMethod); err != nil {
		return nil, errors.New("restClientConfig is no object")
	}
	ps := make(Policies)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(byMethod)) {
		m, err := ParseMethod(name)
		if err != nil || isNull(byMethod[name]) {
			continue
		}
		p, err := parsePolicy(byMethod[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("restClientConfig of %s: %w", m, err))
		}
		ps[m] = p
	}
	return ps, errors.Join(faults...)
}

func parsePolicy(raw json.RawMessage) (p Policy, err error) {
	var fields Object
	if err := json.Unmarshal(raw, &fields); err != nil {
		return p, errors.New("is no object")
	}
	var faults []error
	text := func(field string) (s string) {
		if err := json.Unmarshal(fields[field], &s); err != nil && !isNull(fields[field]) {
			faults = append(faults, fmt.Errorf("%s is no string", field))
		}
		return s
	}
	p.RestExclude = commaList(text("restExclude"))
	p.ClientExclude = commaList(text("clientExclude"))
	p.Overwrite = slices.DeleteFunc(commaList(text("restOverwrite")), func(name string) bool {
		if protected(name) {
			faults = append(faults, fmt.Errorf("%s cannot be overwritten", name))
		}
		return protected(name)
	})
	switch s := text("restOnError"); strings.ToUpper(s) {
	case "", "LOG":
	case "FAIL":
		p.OnError = Fail
	default:
		faults = append(faults, errors.New("restOnError is neither LOG nor FAIL"))
	}
	switch s := text("restPolicy"); strings.ToUpper(s) {
	case "", "NOTIFY":
	case "OVERWRITE":
		p.Mode = Overwrite
	case "DISABLE", "DISABLED": // an old page has the second (integration.md §1.5)
		p.Mode = Disable
	default:
		faults = append(faults, errors.New("restPolicy is none of NOTIFY, OVERWRITE and DISABLE"))
	}
	return p, errors.Join(faults...)
}

// commaList gives the names in the list, each once.
func commaList(s string) (names []string) {
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
