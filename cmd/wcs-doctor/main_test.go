package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wcsgateway/cmd/internal/check"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/docs"
	"wcsgateway/translate/transcript"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const secret = "not-to-be-shown"

// message is one of a session with a WCS server.
type message struct {
	from transcript.Side
	text string
}

// phone is a session whose app uses what the gateway does not have.
var phone = []message{
	{transcript.Client, `{"message":"connection","data":[{"appKey":"phone","mediaProviders":["MSE","WebRTC"],"clientVersion":"2.0","custom":{"token":"` + secret + `"},"sipLogin":"` + secret + `","keepAlive":false}]}`},
	{transcript.Server, `{"message":"getUserData","data":[{"appKey":"phone","authToken":"` + secret + `","status":"ESTABLISHED","clusterNode":7}]}`},
	{transcript.Server, `{"message":"getVersion","data":["5.2.1"]}`},
	{transcript.Server, `{"message":"registered","data":[{"sipHeader":"x"}]}`},
	{transcript.Client, `{"message":"call","data":[{"callId":"` + secret + `","callee":"` + secret + `"}]}`},
	{transcript.Server, `{"message":"ring","data":[{"callId":"` + secret + `","status":"RING"}]}`},
	{transcript.Server, `{"message":"finish","data":[{"callId":"` + secret + `","status":"FINISH"}]}`},
}

// video is a session whose app uses what the gateway has.
var video = []message{
	{transcript.Client, `{"message":"connection","data":[{"appKey":"shop","mediaProviders":["WebRTC"],"clientVersion":"2.0","own":1}]}`},
	{transcript.Server, `{"message":"getUserData","data":[{"appKey":"shop","own":1,"authToken":"` + secret + `","status":"ESTABLISHED"}]}`},
	{transcript.Client, `{"message":"publishStream","data":[{"mediaSessionId":"p","name":"` + secret + `","record":true,"rtmpUrl":"rtmp://` + secret + `","bitrate":0,"published":true,"sdp":"v=0\r\nm=audio 9 x\r\n"}]}`},
	{transcript.Server, `{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"p","name":"` + secret + `","status":"PUBLISHING","createDate":"` + secret + `","gop":25,"streamInfo":{"alice":1,"bob":"x"}}]}`},
	{transcript.Server, `{"message":"setRemoteSDP","data":["p","v=0\r\nm=audio 9 x\r\n",true]}`},
	{transcript.Client, `{"message":"sendStreamEvent","data":[{"mediaSessionId":"p","type":"data","payload":{"a":"` + secret + `"}}]}`},
	{transcript.Client, `{"message":"playStream","data":[{"mediaSessionId":"q","name":"` + secret + `","published":false,"width":640,"height":0,"myMember":1}]}`},
	{transcript.Server, `{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"q","status":"FAILED","info":"Stream not found"}]}`},
	{transcript.Client, `{"message":"sendData","data":[{"operationId":"` + secret + `","payload":{"a":1},"urgent":true}]}`},
	{transcript.Server, `{"message":"DataStatusEvent","data":[{"operationId":"` + secret + `","status":"ACCEPTED","queue":1}]}`},
	{transcript.Client, `{"message":"unPublishStream","data":[{"mediaSessionId":"p","name":"` + secret + `","published":true,"hasVideo":true,"record":false}]}`},
	{transcript.Client, `{"message":"pauseStream","data":[{"mediaSessionId":"q"}]}`},
}

// write writes transcripts of sessions to a file.
func write(t *testing.T, file string, sessions map[string][]message) {
	t.Helper()
	var all bytes.Buffer
	for _, app := range []string{"phone", "shop"} {
		w := transcript.NewWriter(transcript.Transcript{App: app, Upstream: "wcs", ClientVersion: "2.0"}, []byte(app))
		for i, m := range sessions[app] {
			w.Text(time.Duration(i)*time.Second, m.from, []byte(m.text))
		}
		if err := json.NewEncoder(&all).Encode(w.Finish(transcript.EndSession)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

const properties = `# WCS
ws.port =8080
wss.port=443
keep_alive.server_interval = 10000
keep_alive.probes=5
allow_domains=example.com,*.example.org
rest_hook_secret_key=` + secret + `
rest_request_timeout=20
stream_record_policy_template={unknownElement}
snapshot_taking_interval_ms=soon
codecs=opus,\
 h264
strange name=` + secret + `
`

const accessLog = `192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "POST /rest-api/stream/find_all HTTP/1.1" 200 12
192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "POST //rest-api//stream//find_all/ HTTP/1.1" 200 12
192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "POST /rest-api/mixer/startup?x=` + secret + ` HTTP/1.1" 200 12
192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET /rest-api/` + secret + `1 HTTP/1.1" 404 12
192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET /?action=stat HTTP/1.1" 200 12
192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET /embed_player?streamName=` + secret + ` HTTP/1.1" 200 12
192.0.2.1 - - [01/Mar/2026:10:00:00 +0000] "GET /client2/examples/` + secret + ` HTTP/1.1" 200 12
10.0.0.1 - - [01/Mar/2026:10:00:00 +0000] "POST /hooks/publishStream HTTP/1.1" 200 12
10.0.0.1 - - [01/Mar/2026:10:00:00 +0000] "POST /hooks/CallStatusEvent HTTP/1.1" 200 12
10.0.0.1 - - [01/Mar/2026:10:00:00 +0000] "GET /` + secret + ` HTTP/1.1" 200 12
`

// inDirectory makes a directory with all inputs the working directory.
func inDirectory(t *testing.T) (golden string) {
	t.Helper()
	golden, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	write(t, "transcripts.jsonl", map[string][]message{"phone": phone, "shop": video})
	for name, text := range map[string]string{
		"flashphoner.properties": properties, "access.log": accessLog, "empty": "", "broken": "{}\n{\"messages\":", "other.log": "nothing\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return golden
}

func TestReportsAreGoldenFiles(t *testing.T) {
	golden := inDirectory(t)
	version = "1.2.3"
	t.Cleanup(func() { version = "" })
	const all = "--transcripts transcripts.jsonl --properties flashphoner.properties --log access.log"
	for name, tt := range map[string]struct {
		args string
		code int
	}{
		"help":           {"--help", exitOK},
		"version":        {"--version", exitOK},
		"report":         {all, exitAttention},
		"report-json":    {all + " --json", exitAttention},
		"config":         {all + " --print-config", exitAttention},
		"properties":     {"--properties flashphoner.properties", exitOK},
		"none":           {"", exitUsage},
		"unknown-flag":   {"--x", exitUsage},
		"missing":        {"--transcripts missing", exitUsage},
		"empty":          {"--transcripts empty", exitUsage},
		"broken":         {"--transcripts broken", exitUsage},
		"no-requests":    {"--log other.log", exitUsage},
		"no-properties":  {"--properties empty", exitUsage},
		"json-and-print": {all + " --json --print-config", exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			var out, fault bytes.Buffer
			if code := run(strings.Fields(tt.args), &out, &fault); code != tt.code {
				t.Errorf("exit code %d: %s", code, fault.String())
			}
			if strings.Contains(out.String()+fault.String(), secret) {
				t.Errorf("it shows a secret: %s", out.String())
			}
			got := "$ wcs-doctor " + tt.args + "\n" + out.String() + "--- standard error\n" + fault.String()
			file := filepath.Join(golden, name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The first configuration passes the check of the gateway, whatever the inputs are.
func TestFirstConfigurationIsAccepted(t *testing.T) {
	inDirectory(t)
	for _, in := range []inputs{
		{transcripts: []string{"transcripts.jsonl"}, properties: "flashphoner.properties", logs: []string{"access.log"}},
		{properties: "flashphoner.properties"}, {logs: []string{"access.log"}},
	} {
		r, err := examine(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("gateway.yaml", []byte(r.Config), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load("gateway.yaml", nil)
		if report := check.Configuration(cfg, err); report.Worst() == check.Fault {
			t.Errorf("%+v:\n%s", report.Results, r.Config)
		}
	}
}

// WCS lets every page use the REST API by default. The first configuration does not.
func TestFirstConfigurationDoesNotLetEveryPageUseTheRESTAPI(t *testing.T) {
	for value, want := range map[string]bool{"*": false, "https://a.example, *": false, "https://a.example": true} {
		text, err := firstConfig(nil, []property{{"rest_access_control_allow_origin", value}, {"http.port", "8081"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse([]byte(text))
		if err != nil || len(cfg.REST.Origins) == 1 != want || strings.Contains(text, "#   rest.origins: ") == want {
			t.Errorf("%s: origins %q, %v:\n%s", value, cfg.REST.Origins, err, text)
		}
	}
}

// A session with a server that sends what this gateway sends has no differences.
func TestOwnResponsesHaveNoDifferences(t *testing.T) {
	var own []transcript.Response
	if err := json.Unmarshal(reference, &own); err != nil || len(own) < 10 {
		t.Fatalf("reference of %d responses: %v", len(own), err)
	}
	c := comparison{here: own, there: own}
	c.messages()
	c.order()
	c.members()
	if len(c.found) > 0 {
		t.Errorf("differences %+v", c.found)
	}
}

// What the report says comes from the documents: their tables have what it looks up.
func TestDocumentsHaveWhatIsLookedUp(t *testing.T) {
	k := learn()
	for _, s := range sections {
		if len(docs.Table(s.file, s.heading)) == 0 {
			t.Errorf("%s has no table under %q", s.file, s.heading)
		}
	}
	for w, s := range k.rows {
		if s.support != full && s.support != partial && s.support != none {
			t.Errorf("%s %s: support is %q", w.kind, w.name, s.support)
		}
	}
	for w := range configure {
		if _, ok := k.rows[w]; !ok {
			t.Errorf("%s %s is in no table", w.kind, w.name)
		}
	}
	for _, kind := range []string{kindCommand, kindField, kindMessage, kindEvent, kindProvider, kindREST, kindHook, kindPage} {
		if n := len(k.namesOf(kind)); n < 3 {
			t.Errorf("%d rows of the kind %s", n, kind)
		}
	}
	for _, tr := range append(translations, perApplication...) {
		if here, ok := k.properties[tr.property]; !ok || !strings.Contains(here, tr.setting) {
			t.Errorf("the row of %s is %q, without %s", tr.property, here, tr.setting)
		}
	}
	for _, want := range []struct {
		w what
		s support
	}{
		{what{kindCommand, "publishStream"}, full}, {what{kindCommand, "unheardOf"}, none}, {what{kindField, "connection.sipLogin"}, none},
		{what{kindREST, "/mixer/startup"}, none}, {what{kindREST, "/stream/find_all"}, partial}, {what{kindREST, "/unheardOf"}, none},
		{what{kindMessage, "ring"}, none}, {what{kindHook, "connect"}, full}, {what{kindHook, "playHLS"}, none},
	} {
		if got := k.of(want.w).support; got != want.s {
			t.Errorf("%+v is served %q", want.w, got)
		}
	}
}

func TestControlCharactersAreNotPrinted(t *testing.T) {
	if got := printable("a\x1b[31mb\nc\u202ed\u0085"); got != "a[31mb\ncd" {
		t.Errorf("%q", got)
	}
}

func FuzzInputs(f *testing.F) {
	f.Add(`{"messages":[{"from":"server","message":"x","data":[{"a":{"b":[1]}}]}]}`, properties, accessLog)
	f.Fuzz(func(t *testing.T, transcripts, properties, log string) {
		t.Chdir(t.TempDir())
		for name, text := range map[string]string{"t": transcripts, "p": properties, "l": log} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, in := range []inputs{{transcripts: []string{"t"}}, {properties: "p"}, {logs: []string{"l"}}} {
			if r, err := examine(in); err == nil {
				if _, err := config.Parse([]byte(r.Config)); err != nil {
					t.Errorf("%v:\n%s", err, r.Config)
				}
			}
		}
	})
}
