package session

import (
	"encoding/json"
	"testing"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

const testNode = "abcdefghijklmnopqrstuvwxyz012345"

// FuzzAnswers checks that no answer changes the ids of session and stream, that stream names stay valid, and
// that clients only get valid JSON.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"mediaProviders":["WebRTC"],"custom":{"a":1},"sipLogin":"l","appKey":"x","sessionId":"x","authToken":"x"}`,
		`{"restClientConfig":{"publishStream":{"restPolicy":"OVERWRITE","restOverwrite":"name,sdp,record,custom","clientExclude":"name,status"}},"name":"b"}`,
		`{"name":"a\nb","minBitrate":"300","sdp":"","mediaSessionId":null}`, `{"mediaProviders":7}`, `{"name":{}}`,
		`{"restClientConfig":{"connect":{"clientExclude":"custom,authToken,status"}},"status":"FAILED","message":1}`,
	} {
		f.Add([]byte(s))
	}
	sent := map[string]json.RawMessage{"appKey": hooks.Raw("defaultApp"), "custom": hooks.Raw(1), "authToken": hooks.Raw("old")}
	f.Fuzz(func(t *testing.T, b []byte) {
		var answer hooks.Object
		if json.Unmarshal(b, &answer) != nil || answer == nil {
			return
		}
		table := &Table{Env: &Env{Config: Config{NodeID: testNode}}}
		table.Reload(apps.Reloadable{Limits: apps.Limits{NameBytes: 255}})
		s := &Session{table: table, established: established{app: &apps.App{Key: "defaultApp", Room: "wcs.{name}"}}}
		h := &sessionHooks{sess: s, app: s.app, id: newSessionID("1.2.3.4:5"), log: zerolog.Nop()}
		s.hooks = h
		h.connection = h.connectBody(&wcs.Connection{Sent: sent})
		c := &wcs.Connection{AppKey: "defaultApp", Sent: sent}
		err := h.takeConnect(c, answer)
		if err == nil {
			id := h.connection
			if string(id["appKey"]) != `"defaultApp"` || string(id["sessionId"]) != string(hooks.Raw(h.id.public)) || string(id["nodeId"]) != string(hooks.Raw(testNode)) {
				t.Fatalf("identity changed: %s", id)
			}
			if _, there := id["authToken"]; there || string(c.Sent["authToken"]) != `"old"` || c.AppKey != "defaultApp" {
				t.Fatalf("%s, %s", id, c.Sent)
			}
			frame := h.forClient(wcs.UserData{Sent: c.Sent, AuthToken: "new"}.Frame(), hooks.Connect)
			if !json.Valid(frame) {
				t.Fatalf("getUserData is not JSON: %s", frame)
			}
		}
		fuzzOverwrite(t, s, answer)
	})
}

func fuzzOverwrite(t *testing.T, s *Session, answer hooks.Object) {
	st := s.requestedStream(published, wcs.StreamRequest{StreamRequestHead: wcs.StreamRequestHead{MediaSessionID: "m", Name: "a"}, SDP: "v=0"})
	all := hooks.Policy{Mode: hooks.Overwrite}
	for name := range answer {
		all.Overwrite = append(all.Overwrite, name)
	}
	err := st.overwrite(all, s.hooks.addressed(hooks.Body(st.requestBody())), answer)
	if st.id != "m" || st.req.MediaSessionID != "m" || st.req.SDP != "v=0" {
		t.Fatalf("identity changed: %+v", st.req)
	}
	if err == nil && s.checkName(st.name) != nil {
		t.Fatalf("bad name %q", st.name)
	}
	methods := []hooks.Method{hooks.PublishStream, hooks.StreamStatusEvent}
	frame := s.hooks.forClient(st.status(wcs.StatusFailed, "").Frame(), methods...)
	var e struct {
		Data []struct{ MediaSessionID, Status string }
	}
	if err := json.Unmarshal(frame, &e); err != nil || len(e.Data) != 1 || e.Data[0].MediaSessionID != "m" || e.Data[0].Status != "FAILED" {
		t.Fatalf("%v: %s", err, frame)
	}
}
