package hooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The vendor's sample, and mistakes of backends.
func TestParsePoliciesRejectsMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		want         Policies
		faults       []string
	}{
		{name: "none"},
		{name: "null", config: "null"},
		{name: "empty", config: "{}", want: Policies{}},
		{
			name: "sample",
			config: `{"publishStream":{"restExclude":"sdp","clientExclude":"","restOnError":"FAIL","restPolicy":"OVERWRITE",
				"restOverwrite":"name"}}`,
			want: Policies{PublishStream: {RestExclude: []string{"sdp"}, Overwrite: []string{"name"}, OnError: Fail, Mode: Overwrite}},
		},
		{
			name:   "defaults written out",
			config: `{"connect":{"clientExclude":"","restExclude":"","restOnError":"LOG","restPolicy":"NOTIFY","restOverwrite":""}}`,
			want:   Policies{Connect: {}},
		},
		{
			name:   "lists",
			config: `{"playStream":{"restExclude":" sdp , custom,,sdp","clientExclude":"name,custom"}}`,
			want:   Policies{PlayStream: {RestExclude: []string{"sdp", "custom"}, ClientExclude: []string{"name", "custom"}}},
		},
		{
			name:   "disabled",
			config: `{"playStream":{"restPolicy":"DISABLE"},"StreamStatusEvent":{"restPolicy":"DISABLED"},"ErrorEvent":{"restPolicy":"disable"}}`,
			want:   Policies{PlayStream: {Mode: Disable}, StreamStatusEvent: {Mode: Disable}, ErrorEvent: {Mode: Disable}},
		},
		{
			name:   "unknown methods and fields, and nulls",
			config: `{"call":{"restOnError":7},"publishstream":1,"stopStream":{"restRetries":3,"restOnError":null},"connect":null}`,
			want:   Policies{StopStream: {}},
		},
		{
			name:   "protected members",
			config: `{"publishStream":{"restPolicy":"OVERWRITE","restOverwrite":"sdp,name,mediaSessionId,sessionId,appKey,nodeId"}}`,
			want:   Policies{PublishStream: {Mode: Overwrite, Overwrite: []string{"name"}}},
			faults: []string{"publishStream", "sdp cannot", "mediaSessionId cannot", "sessionId cannot", "appKey cannot", "nodeId cannot"},
		},
		{
			name:   "bad values do not affect valid ones",
			config: `{"publishStream":{"restOnError":"DENY","restPolicy":3,"restExclude":["sdp"],"clientExclude":"name"},"playStream":{"restOnError":"FAIL"}}`,
			want:   Policies{PublishStream: {ClientExclude: []string{"name"}}, PlayStream: {OnError: Fail}},
			faults: []string{"restOnError is neither", "restPolicy is not a string", "restExclude is not a string"},
		},
		{
			name:   "unknown policy",
			config: `{"publishStream":{"restPolicy":"IGNORE"}}`,
			want:   Policies{PublishStream: {}},
			faults: []string{"restPolicy is not NOTIFY"},
		},
		{name: "method is not an object", config: `{"publishStream":"FAIL"}`, want: Policies{PublishStream: {}}, faults: []string{"publishStream: not an object"}},
		{name: "array", config: `[]`, faults: []string{"restClientConfig is not an object"}},
		{name: "text", config: `"{}"`, faults: []string{"restClientConfig is not an object"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParsePolicies(json.RawMessage(tt.config))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (err != nil) != (len(tt.faults) > 0) {
				t.Errorf("error is %v", err)
			}
			for _, fault := range tt.faults {
				if err != nil && !strings.Contains(err.Error(), fault) {
					t.Errorf("error lacks %q: %v", fault, err)
				}
			}
		})
	}
}

// A backend's lists and objects are bounded: each name of a list is compared with each other.
func TestPoliciesAreBounded(t *testing.T) {
	names := make([]string, 2*maxNames)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	text := strings.Join(names, ",")
	ps, err := ParsePolicies(json.RawMessage(`{"publishStream":{"restExclude":"` + text + "," + text + `","restOverwrite":"` + text + `","restPolicy":"OVERWRITE"}}`))
	if err == nil || !strings.Contains(err.Error(), "restExclude has more than 256 names") || !strings.Contains(err.Error(), "restOverwrite has") {
		t.Errorf("fault: %v", err)
	}
	p := ps.For(PublishStream)
	if !slices.Equal(p.RestExclude, names[:maxNames]) || !slices.Equal(p.Overwrite, names[:maxNames]) || p.Mode != Overwrite {
		t.Errorf("%d names excluded, %d overwritten, mode %d", len(p.RestExclude), len(p.Overwrite), p.Mode)
	}
	members := `{"a` + strings.Join(names, `":0,"a`) + `":0,"b` + strings.Join(names, `":0,"b`) + `":0}`
	if _, err := decode([]byte(members)); !errors.Is(err, ErrBadResponse) || !strings.Contains(err.Error(), "more than 1000 members") {
		t.Errorf("answer: %v", err)
	}
	if _, err := ParsePolicies(json.RawMessage(members)); err == nil {
		t.Error("restClientConfig of many members has no fault")
	}
}

func TestPolicyDefaultsToLogAndNotify(t *testing.T) {
	want := Policy{OnError: Log, Mode: Notify}
	for name, ps := range map[string]Policies{"none": nil, "of another method": {PlayStream: {OnError: Fail}}} {
		if diff := cmp.Diff(want, ps.For(PublishStream)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// publishSample is the body of the vendor's sample.
const publishSample = `{"nodeId":"Hw47@192.168.1.101","appKey":"defaultApp","sessionId":"/192.168.1.102:4388/192.168.1.101:8443",
 "mediaSessionId":"56141d10-fddc-11e6-ac3a-4d67d5b3360d","name":"b4e7","published":true,
 "hasVideo":true,"hasAudio":true,"status":"PENDING","sdp":"v=0","record":false,
 "width":0,"height":0,"bitrate":0,"quality":0,"mediaProvider":"WebRTC"}`

func TestExcludedMembersAreOmitted(t *testing.T) {
	p := Policy{RestExclude: []string{"sdp", "missing"}, ClientExclude: []string{"name", "custom"}}
	o := object(t, publishSample)
	request, toClient := p.Request(o), p.ForClient(o)
	want := object(t, publishSample)
	delete(want, "sdp")
	equal(t, "request", request, want)
	want = object(t, publishSample)
	delete(want, "name")
	equal(t, "for the client", toClient, want)
	request["name"], toClient["sdp"] = nil, nil
	equal(t, "the object itself", o, object(t, publishSample))
	equal(t, "by default", Policy{}.Request(o), o)
}

func TestTakeAppliesOverwrite(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mode      Mode
		overwrite string
		got       string
		want      string // members that differ from the sample
		changed   []string
	}{
		{"the vendor's example", Overwrite, "name", `{"name":"hidden","sdp":"","record":true}`, `{"name":"hidden"}`, []string{"name"}},
		{"several", Overwrite, "record,name,custom", `{"name":"n","record":true,"custom":{"a":1}}`,
			`{"name":"n","record":true,"custom":{"a":1}}`, []string{"custom", "name", "record"}},
		{"an echo", Overwrite, "name,record,bitrate", publishSample, `{}`, nil},
		{"an echo with other white space and escapes", Overwrite, "name,record", `{"record": false ,"name":"\u00624e7"}`, `{}`, nil},
		{"absent", Overwrite, "name", `{}`, `{}`, nil},
		{"null", Overwrite, "name", `{"name":null}`, `{}`, nil},
		{"empty", Overwrite, "name", `{"name":""}`, `{"name":""}`, []string{"name"}},
		{"another case", Overwrite, "name", `{"Name":"x"}`, `{}`, nil},
		{"large numbers", Overwrite, "bitrate", `{"bitrate":9007199254740993}`, `{"bitrate":9007199254740993}`, []string{"bitrate"}},
		{"not by default", Notify, "name", `{"name":"x"}`, `{}`, nil},
		{"not when disabled", Disable, "name", `{"name":"x"}`, `{}`, nil},
		{"protected", Overwrite, "mediaSessionId,sdp,sessionId,appKey,nodeId",
			`{"mediaSessionId":"x","sdp":"x","sessionId":"x","appKey":"x","nodeId":"x"}`, `{}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Policy{Mode: tt.mode, Overwrite: strings.Split(tt.overwrite, ",")}
			sent := object(t, publishSample)
			o, changed := p.Take(sent, object(t, tt.got))
			want := object(t, publishSample)
			for name, v := range object(t, tt.want) {
				want[name] = v
			}
			equal(t, "taken", o, want)
			equal(t, "sent", sent, object(t, publishSample))
			if diff := cmp.Diff(tt.changed, changed); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
		})
	}
	if _, changed := (Policy{Mode: Overwrite, Overwrite: []string{"n"}}).Take(object(t, `{"n":9007199254740993}`), object(t, `{"n":9007199254740992}`)); changed == nil {
		t.Error("two different large numbers are treated as equal")
	}
}

func TestTakeConnectAppliesChangedMembers(t *testing.T) {
	got := object(t, connectSample)
	for name, v := range object(t, `{"custom":{"role":"host"},"keepAlive":true,"sessionId":"x","appKey":"x","nodeId":"x","authToken":"x",
		"origin":null,"restClientConfig":{"connect":{}},"sipLogin":"joe"}`) {
		got[name] = v
	}
	o, changed := TakeConnect(object(t, connectSample), got)
	want := object(t, connectSample)
	for name, v := range object(t, `{"custom":{"role":"host"},"keepAlive":true,"sipLogin":"joe"}`) {
		want[name] = v
	}
	equal(t, "taken", o, want)
	if diff := cmp.Diff([]string{"custom", "keepAlive", "sipLogin"}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if o, changed := TakeConnect(nil, Object{}); o == nil || changed != nil {
		t.Errorf("without members: %v, %v", o, changed)
	}
}

func TestParseMethodAcceptsCalledMethodsOnly(t *testing.T) {
	names := "connect publishStream playStream OnDataEvent snapshot unPublishStream stopStream " +
		"ConnectionStatusEvent StreamStatusEvent StreamKeepAliveEvent DataStatusEvent ErrorEvent"
	for name := range strings.FieldsSeq(names) {
		if m, err := ParseMethod(name); err != nil || string(m) != name {
			t.Errorf("%s: %q, %v", name, m, err)
		}
	}
	for _, name := range []string{"", "Connect", "connect/", "hangup", "../connect"} {
		if m, err := ParseMethod(name); err == nil {
			t.Errorf("%q is %q", name, m)
		}
	}
}
