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

	"wcsgateway/translate/wcs"
)

// OnError is a policy's restOnError. Its effect depends on the method: a failed connect always rejects the
// connection, and a failed event is at most reported to the client. OnDataEvent is no event in this sense.
type OnError int

// Values of restOnError.
const (
	Log  OnError = iota // LOG, the default: log the failure and continue as if the backend had agreed
	Fail                // FAIL: the failure counts
)

// Mode is a policy's restPolicy.
type Mode int

// Values of restPolicy.
const (
	Notify    Mode = iota // NOTIFY, the default: call, and ignore the answer's members
	Overwrite             // OVERWRITE: apply the answer's members that restOverwrite names
	Disable               // DISABLE: do not call
)

// Policy holds a backend's settings for one method in restClientConfig. The zero Policy is the default. Names
// of members are case-sensitive.
type Policy struct {
	RestExclude   []string // members omitted from calls to the backend
	ClientExclude []string // members omitted from messages to the client
	Overwrite     []string // members that Take applies
	OnError       OnError
	Mode          Mode
}

// Request returns a copy of o without RestExclude, for the backend.
func (p Policy) Request(o Object) Object { return without(o, p.RestExclude) }

// ForClient returns a copy of o without ClientExclude, for the client.
func (p Policy) ForClient(o Object) Object { return without(o, p.ClientExclude) }

// Take returns a copy of sent with the members of the backend's answer got that the policy allows to
// overwrite, and the sorted names of the members that changed. Members that got lacks, or has as null, keep
// their value. Members that identify the session and the stream, and the SDP, are never changed.
func (p Policy) Take(sent, got Object) (o Object, changed []string) {
	if p.Mode != Overwrite {
		return maps.Clone(sent), nil
	}
	return merge(sent, got, func(name string) bool { return slices.Contains(p.Overwrite, name) })
}

// TakeConnect is Take for the answer to connect, of which WCS applies every changed member. It ignores
// restClientConfig, which ParsePolicies reads, and authToken, which only the gateway sets.
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

// protected reports whether no answer can change the member: the client identifies its stream by
// mediaSessionId, LiveKit by the SDP, and the backend identifies the session by the others.
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

// same reports whether two values are equal apart from white space, escapes and the order of members. Values
// of very different size are not compared: an escape has six bytes for one, and decoding costs a multiple.
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(b) > 6*len(a) || len(a) > 6*len(b) {
		return false
	}
	x, errX := value(a)
	y, errY := value(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func value(raw json.RawMessage) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // as float64, two different large numbers could be equal
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

// Policies is a restClientConfig: the policy of each method. Nil is an empty one.
type Policies map[Method]Policy

// For returns the method's policy, by default the zero Policy.
func (ps Policies) For(m Method) Policy { return ps[m] }

// ParsePolicies reads the restClientConfig of an answer to connect, which Call has returned. It ignores
// unknown methods and fields, because WCS has more of both. The Policies are usable even if err is not nil:
// invalid settings are at their defaults, and protected members are removed from Overwrite. A missing or null
// configuration is not an error.
func ParsePolicies(raw json.RawMessage) (Policies, error) {
	if isNull(raw) {
		return nil, nil
	}
	byMethod, err := wcs.Members(raw)
	if err != nil {
		return nil, fmt.Errorf("restClientConfig is not an object: %s", wcs.FaultOf(err))
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
			faults = append(faults, fmt.Errorf("restClientConfig.%s: %w", m, err))
		}
		ps[m] = p
	}
	return ps, errors.Join(faults...)
}

func parsePolicy(raw json.RawMessage) (p Policy, err error) {
	fields, err := wcs.Members(raw)
	if err != nil {
		return p, fmt.Errorf("not an object: %s", wcs.FaultOf(err))
	}
	var faults []error
	text := func(field string) (s string) {
		if err := json.Unmarshal(fields[field], &s); err != nil && !isNull(fields[field]) {
			faults = append(faults, fmt.Errorf("%s is not a string", field))
		}
		return s
	}
	list := func(field string) []string {
		names, more := commaList(text(field))
		if more {
			faults = append(faults, fmt.Errorf("%s has more than %d names, of which the first count", field, maxNames))
		}
		return names
	}
	p.RestExclude = list("restExclude")
	p.ClientExclude = list("clientExclude")
	p.Overwrite = slices.DeleteFunc(list("restOverwrite"), func(name string) bool {
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
	case "DISABLE", "DISABLED": // the second is in old vendor documents
		p.Mode = Disable
	default:
		faults = append(faults, errors.New("restPolicy is not NOTIFY, OVERWRITE or DISABLE"))
	}
	return p, errors.Join(faults...)
}

// maxNames bounds the lists of a policy, which are searched for each name and each member.
const maxNames = 256

// commaList returns the distinct names in a comma-separated list, up to maxNames, and reports whether there
// are more.
func commaList(s string) (names []string, more bool) {
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name == "" || slices.Contains(names, name) {
			continue
		}
		if len(names) == maxNames {
			return names, true
		}
		names = append(names, name)
	}
	return names, false
}
