package wcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestDecodeRejectsMalformedFrames(t *testing.T) {
	for _, c := range []struct {
		frame string
		name  Name
		arg   string // "" = none
		fault string // "" = fine
	}{
		{`{"message":"ping","data":[null]}`, "ping", "", ""},
		{`{"message":"pong"}`, "pong", "", ""},
		{`{"message":"pong","data":null}`, "pong", "", ""},
		{`{"message":"pong","data":[]}`, "pong", "", ""},
		{`{"message":"x","data":[{"a":1}]}`, "x", `{"a":1}`, ""},
		{`{"message":"x","data":{"a":1}}`, "x", `{"a":1}`, ""},
		{`{"message":"x","data":[{"a":1},2],"more":true}`, "x", `{"a":1}`, ""},
		{`{"data":[{}]}`, "", "", `no "message"`},
		{`{"message":5,"data":[{}]}`, "", "", "message must not be a JSON number"},
		{`{"message":"x","data":[`, "", "", "not JSON"},
		{`hello`, "", "", "not JSON"},
		{``, "", "", "not JSON"},
		{`[1]`, "", "", "must not be a JSON array"},
		{`null`, "", "", `no "message"`},
	} {
		got, err := Decode([]byte(c.frame))
		if c.fault != "" {
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: got %v, want %q", c.frame, err, c.fault)
			}
			continue
		}
		if err != nil || got.Name != c.name || string(got.Arg) != c.arg {
			t.Errorf("%s: got %q %s %v", c.frame, got.Name, got.Arg, err)
		}
	}
}

func TestBindNamesTheMemberAndNotItsValue(t *testing.T) {
	cmd, err := Decode([]byte(`{"message":"publishStream","data":[{"mediaSessionId":"m","name":{"secret":"s3cr3t"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var req StreamRequest
	err = cmd.Bind(&req)
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "name must not be a JSON object") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("error contains client data: %v", err)
	}
	if err := (Command{Name: "stopStream"}).Bind(&StreamRef{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("no argument: got %v", err)
	}
}

func TestIntAcceptsAllForms(t *testing.T) {
	for in, want := range map[string]Int{
		`640`: 640, `"640"`: 640, `"500.7"`: 500, `{"exact":640}`: 0, `null`: 0, `true`: 0, `"x"`: 0, `[1]`: 0,
		`1e300`: maxInt, `-1e300`: -maxInt, `12.9`: 12, `"NaN"`: 0,
	} {
		var got struct{ V Int }
		if err := json.Unmarshal([]byte(`{"V":`+in+`}`), &got); err != nil || got.V != want {
			t.Errorf("%s: got %d, %v, want %d", in, got.V, err, want)
		}
	}
}

func TestUserDataOmitsSIPAccountAndToken(t *testing.T) {
	var c Connection
	if err := json.Unmarshal([]byte(`{"appKey":"a","custom":{"token":"x"},"keepAlive":true,"authToken":"old","sipLogin":"l","sipPassword":"p","mediaProviders":["WebRTC","MSE"]}`), &c); err != nil {
		t.Fatal(err)
	}
	frame := UserData{Sent: c.Sent, MediaProviders: []string{"WebRTC"}, AuthToken: "new"}.Frame()
	for _, absent := range []string{"sip", "old", `"MSE"`} {
		if bytes.Contains(frame, []byte(absent)) {
			t.Errorf("%s is in %s", absent, frame)
		}
	}
	for _, there := range []string{`"authToken":"new"`, `"keepAlive":true`, `"custom":{"token":"x"}`, `"forceLogger":false`} {
		if !bytes.Contains(frame, []byte(there)) {
			t.Errorf("%s is not in %s", there, frame)
		}
	}
}

// Clients throw on a message whose data is missing or null.
func TestEveryNotificationHasData(t *testing.T) {
	frames := [][]byte{
		Ping(), Version("v"), RemoteSDP("m", "s"), AudioCodec("m", "opus"), Available("m", true, ""), SnapshotFailed("m", "i"),
		DataStatus{"o", DataFailed, "i"}.Frame(), DataStatus{"o", DataAccepted, ""}.Frame(), CallFinished("c", StatusFailed), SessionDebugStatus(DebugStarted), StreamData("i", nil), OnData("", nil), ConnectionFailed("i"), ErrorEvent("i"), UserData{}.Frame(), StreamStatus{}.Frame(),
	}
	frames = append(frames, VideoFormat{}.Frames(true)...)
	for _, f := range frames {
		var e struct {
			Message string `json:"message"`
			Data    []any  `json:"data"`
		}
		if err := json.Unmarshal(f, &e); err != nil || e.Message == "" || e.Data == nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Whatever is removed from a message, the members by which the client correlates it stay.
func TestEditKeepsCorrelationMembers(t *testing.T) {
	nothing := func(map[string]json.RawMessage) map[string]json.RawMessage { return map[string]json.RawMessage{} }
	for frame, want := range map[string]string{
		string(DataStatus{"o", DataFailed, "i"}.Frame()): `{"data":[{"operationId":"o","status":"FAILED"}],"message":"DataStatusEvent"}`,
		string(ConnectionFailed("i")):                    `{"data":[{"apiMethod":"ConnectionStatusEvent","status":"FAILED"}],"message":"fail"}`,
		string(StreamStatus{StreamHead: StreamHead{MediaSessionID: "m", Name: "n", Status: StatusPlaying}}.Frame()): `{"data":[{"mediaSessionId":"m","status":"PLAYING"}],` +
			`"mediaSessionId":"m","message":"notifyStreamStatusEvent"}`,
		string(Ping()):                string(Ping()), // has no argument
		string(RemoteSDP("m", "sdp")): string(RemoteSDP("m", "sdp")),
	} {
		if got := string(Edit([]byte(frame), nothing)); got != want {
			t.Errorf("%s became %s, want %s", frame, got, want)
		}
	}
	info := func(arg map[string]json.RawMessage) map[string]json.RawMessage {
		delete(arg, "info")
		return arg
	}
	if got := string(Edit(DataStatus{"o", DataFailed, "i"}.Frame(), info)); got != `{"data":[{"operationId":"o","status":"FAILED"}],"message":"DataStatusEvent"}` {
		t.Errorf("without info: %s", got)
	}
}

func TestAvailableIsSentAsString(t *testing.T) {
	if got := string(Available("m", true, "")); got != `{"message":"availableStream","data":[{"id":"m","status":"true"}]}` {
		t.Error(got)
	}
}

// FuzzDecode checks that no frame panics, and that a decoded frame either binds or is rejected as malformed.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"message":"publishStream","data":[{"mediaSessionId":"m","name":"n","width":"640","sdp":"v=0"}]}`,
		`{"message":"connection","data":[{"appKey":"a","mediaProviders":["WebRTC"],"clientInfo":{}}]}`,
		`{"message":"pong"}`, `{"message":"x","data":{}}`, `[]`, `{"message":"sendData","data":[{"operationId":"o"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		cmd, err := Decode(frame)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("not malformed: %v", err)
			}
			return
		}
		for _, v := range []any{&StreamRequest{}, &StreamRef{}, &SendData{}, &Call{}} {
			if err := cmd.Bind(v); err != nil && !errors.Is(err, ErrMalformed) {
				t.Fatalf("%T: not malformed: %v", v, err)
			}
		}
		var c Connection
		if cmd.Bind(&c) == nil {
			out := UserData{Sent: c.Sent, MediaProviders: c.MediaProviders}.Frame()
			if !json.Valid(out) {
				t.Fatalf("getUserData is not JSON: %s", out)
			}
		}
	})
}
