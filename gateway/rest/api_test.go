package rest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/origins"
	"wcsgateway/state"
)

func ids(t *testing.T, r reply) (all []string) {
	t.Helper()
	var list []struct{ MediaSessionID, SessionID string }
	if err := json.Unmarshal([]byte(r.body), &list); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	for _, s := range list {
		all = append(all, s.MediaSessionID+s.SessionID)
	}
	return all
}

func TestFindReturnsMatches(t *testing.T) {
	w := serve(t, Config{}, nil)
	for _, tt := range []struct {
		method, path, body string
		want               []string
	}{
		{http.MethodGet, "/stream/find_all", "", []string{"pub/1", "play/2", "new/2"}},
		{http.MethodPost, "/stream/find_all", "", []string{"pub/1", "play/2", "new/2"}},
		{http.MethodPost, "/stream/find", "{}", []string{"pub/1", "play/2", "new/2"}},
		{http.MethodPost, "/stream/find", `{"mediaSessionId":"play"}`, []string{"play/2"}},
		{http.MethodPost, "/stream/find", `{"name":"s","published":true}`, []string{"pub/1"}},
		{http.MethodPost, "/stream/find", `{"published":false}`, []string{"play/2"}},
		{http.MethodPost, "/stream/find", `{"status":"PENDING","sessionId":"/2"}`, []string{"new/2"}},
		{http.MethodPost, "/stream/find", `{"mediaSessionIds":["pub","new","x"]}`, []string{"pub/1", "new/2"}},
		{http.MethodGet, "/connection/find_all", "", []string{"/1", "/2"}},
		{http.MethodPost, "/connection/find", `{"clientVersion":"2.0"}`, []string{"/1"}},
		{http.MethodPost, "/connection/find", `{"sessionId":"/2"}`, []string{"/2"}},
	} {
		r := w.do(t, tt.method, prefix+tt.path, tt.body, nil)
		if r.status != http.StatusOK || !slices.Equal(ids(t, r), tt.want) {
			t.Errorf("%s %s: %d %s, want %v", tt.path, tt.body, r.status, r.body, tt.want)
		}
	}
	w.deployment.figures["play"] = admin.Figures{}
	r := w.post(t, "/stream/find", `{"name":"s","display":["metrics"]}`)
	if strings.Count(r.body, `"metrics":{"VIDEO_RATE":500000,"VIDEO_WIDTH":640}`) != 1 || strings.Count(r.body, "metrics") != 1 {
		t.Errorf("metrics: %s", r.body)
	}
	want := `{"nodeId":"node","appKey":"defaultApp","sessionId":"/2","mediaSessionId":"play","name":"s","published":false,"hasVideo":false,"hasAudio":true,` +
		`"status":"PLAYING","audioCodec":"opus","minBitrate":0,"maxBitrate":0,"createDate":1616730493789,"mediaType":"play","mediaProvider":"WebRTC"}`
	if r := w.post(t, "/stream/find", `{"mediaSessionId":"play"}`); r.body != "["+want+"]" {
		t.Errorf("got  %s\nwant [%s]", r.body, want)
	}
}

// Callers check the status first.
func TestErrorsHaveStatusAndReason(t *testing.T) {
	for _, tt := range []struct {
		path, body string
		status     int
		text       string // in the message
	}{
		{"/stream/find", `{"name":"nobody"}`, 404, "nothing found"},
		{"/connection/find", `{"sessionId":"/3"}`, 404, "nothing found"},
		{"/connection/find", `{"clientVersion":"9"}`, 404, "nothing found"},
		{"/stream/find", `{"nmae":"s"}`, 500, `unknown member "nmae"`},
		{"/stream/find", `{"name":1}`, 404, "nothing found"},
		{"/stream/find", `{"name":[]}`, 500, "name must not be a JSON array"},
		{"/stream/find", `{"published":"yes"}`, 500, "published"},
		{"/stream/find", `{"name":"s","NAME":"t"}`, 500, `unknown member "NAME"`},
		{"/stream/event/send", `{"mediaSessionId":"play","payload":{"a":1,"A":2}}`, 500, `ambiguous member "A"`},
		{"/stream/find", `[1]`, 500, "must not be a JSON array"},
		{"/stream/find", `"s"`, 500, "must not be a JSON string"},
		{"/stream/terminate", `false`, 500, "must not be a JSON bool"},
		{"/stream/terminate", `[]`, 500, "must not be a JSON array"},
		{"/stream/find", `{"name":"s"} {}`, 500, "not JSON (at byte 14)"},
		{"/stream/find", `[`, 500, "bad request"},
		{"/stream/find", `{"display":["sdp"]}`, 500, "display"},
		{"/stream/find", `{"name":"` + strings.Repeat("x", bodyLimit) + `"}`, 413, "too big"},
		{"/stream/terminate", `{}`, 500, "rest.terminateAll"},
		{"/stream/terminate", ``, 500, "rest.terminateAll"},
		{"/stream/terminate", `{"publishd":true}`, 500, "unknown member"},
		{"/stream/terminate", `{"published":true,"name":""}`, 500, "name is empty"},
		{"/stream/terminate", `{"published":true,"sessionId":null}`, 500, "sessionId is empty"},
		{"/stream/terminate", `null`, 500, "rest.terminateAll"},
		{"/connection/find", `{"nmae":"s"}`, 500, "unknown member"},
		{"/stream/terminate", `{"mediaSessionIds":[]}`, 404, "nothing found"},
		{"/stream/terminate", `{"mediaSessionId":"pub","mediaSessionIds":["play"]}`, 500, "exclude each other"},
		{"/stream/terminate", `{"name":"nobody"}`, 404, "nothing found"},
		{"/stream/metrics", `{}`, 500, "mediaSessionId is missing"},
		{"/stream/metrics", `{"mediaSessionId":"x"}`, 404, "nothing found"},
		{"/stream/snapshot", `{}`, 500, "streamName is missing"},
		{"/stream/startRecording", `{"mediaSessionId":"play"}`, 500, "belongs to a player"},
		{"/stream/startRecording", `{"mediaSessionId":"pub","config":{"rotation":20}}`, 501, "rotation"},
		{"/stream/event/send", `{"payload":1}`, 500, "is required"},
		{"/stream/event/send", `{"mediaSessionId":"play","payload":1}`, 404, "nothing found"},
		{"/data/send", `{"payload":1}`, 500, "sessionId is missing"},
		{"/connection/terminate", `{}`, 500, "sessionId is missing"},
		{"/connection/terminate", `{"sessionId":"/3"}`, 404, "nothing found"},
		{"/connection/set_log_level", `{}`, 501, "log.level"},
		{"/push/mute", `{}`, 501, "egress"},
		{"/mixer/startup", `{}`, 501, "egress"},
		{"/pull/pull", `{}`, 501, "ingress"},
		{"/nothing", `{}`, 404, "no such endpoint"},
	} {
		w := serve(t, Config{}, nil)
		r := w.post(t, tt.path, tt.body)
		var e struct {
			Status               int
			Error, Message, Path string
			Timestamp            int64
		}
		if err := json.Unmarshal([]byte(r.body), &e); err != nil {
			t.Errorf("%s: %s: %v", tt.path, r.body, err)
		}
		body := tt.body[:min(len(tt.body), 60)]
		if r.status != tt.status || e.Status != tt.status || !strings.Contains(e.Message, tt.text) || e.Path != prefix+tt.path || e.Timestamp == 0 || e.Error == "" {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.path, body, r.status, r.body, tt.status, tt.text)
		}
		if len(w.deployment.ended)+len(w.parts.calls) > 0 {
			t.Errorf("%s %s: done although rejected: %v %v", tt.path, body, w.deployment.ended, w.parts.calls)
		}
	}
}

// Backends in PHP send [] for an empty array, and base URLs often end with a slash.
func TestRequestsThatWCSAcceptsAreServed(t *testing.T) {
	w := serve(t, Config{}, nil)
	want := w.do(t, http.MethodPost, "/rest-api/stream/find_all", "{}", nil)
	for _, tt := range []struct{ method, path, body string }{
		{http.MethodPost, "/rest-api/stream/find", "[]"}, {http.MethodPost, "/rest-api/stream/find", " false "}, {http.MethodPost, "/rest-api/stream/find", "17"},
		{http.MethodPost, "//rest-api/stream/find_all", ""}, {http.MethodPost, "/rest-api/stream/find_all/", ""}, {http.MethodGet, "/rest-api//stream/find_all", ""},
	} {
		if got := w.do(t, tt.method, tt.path, tt.body, nil); got.status != http.StatusOK || got.body != want.body {
			t.Errorf("%s %s %s: %d %s, want %s", tt.method, tt.path, tt.body, got.status, got.body, want.body)
		}
	}
	if got := w.do(t, http.MethodPost, "/rest-api/stream/find", `{"published":"true"}`, nil); got.status != http.StatusOK || len(got.body) >= len(want.body) {
		t.Errorf(`published "true": %d %s`, got.status, got.body)
	}
	if got := w.do(t, http.MethodHead, "/rest-api/stream/find_all", "", nil); got.status != http.StatusOK || got.body != "" {
		t.Errorf("HEAD: %d %q", got.status, got.body)
	}
	if got := w.do(t, http.MethodHead, "/rest-api/stream/terminate", `{"name":"s"}`, nil); got.status != http.StatusMethodNotAllowed || len(w.deployment.ended) != 0 {
		t.Errorf("HEAD of an action: %d, ended %v", got.status, w.deployment.ended)
	}
}

func TestTerminateEndsMatches(t *testing.T) {
	w := serve(t, Config{TerminateAll: true}, nil)
	for _, tt := range []struct {
		path, body string
		want       []string
	}{
		{"/stream/terminate", `{"mediaSessionId":"pub"}`, []string{"pub"}},
		{"/stream/terminate", `{"published":false}`, []string{"play"}},
		{"/stream/terminate", `{"mediaSessionIds":["pub","play"],"name":"s"}`, []string{"pub", "play"}},
		{"/stream/terminate", `{}`, []string{"pub", "play", "new"}},
		{"/connection/terminate", `{"sessionId":"/2"}`, []string{"/2"}},
	} {
		w.deployment.ended = nil
		r := w.post(t, tt.path, tt.body)
		if r.status != http.StatusOK || r.body != "" || !slices.Equal(w.deployment.ended, tt.want) {
			t.Errorf("%s %s: %d %q, ended %v, want %v", tt.path, tt.body, r.status, r.body, w.deployment.ended, tt.want)
		}
	}
	w.deployment.ended = nil
	for _, body := range []string{`{"name":"","mediaSessionId":""}`, `{"name":""}`, `{"mediaSessionIds":null}`, `{"mediaSessionIds":[]}`, `{"display":[]}`, `[]`, `false`, `17`} {
		if r := w.post(t, "/stream/terminate", body); r.status == http.StatusOK {
			t.Errorf("%s: ended %v", body, w.deployment.ended)
		}
	}
	if r := w.do(t, http.MethodGet, prefix+"/stream/terminate", "", nil); r.status != 500 || !strings.Contains(r.body, "requires POST") {
		t.Errorf("all streams by GET: %d %s", r.status, r.body)
	}
	if len(w.deployment.ended) > 0 {
		t.Errorf("ended %v", w.deployment.ended)
	}
	if r := w.do(t, http.MethodGet, prefix+"/stream/terminate", `{"name":"s"}`, nil); r.status != 200 {
		t.Errorf("some by GET: %d %s", r.status, r.body)
	}
	w.deployment.fail = admin.ErrPodUnreachable
	if r := w.post(t, "/stream/terminate", `{"name":"s"}`); r.status != 500 || !strings.Contains(r.body, "does not answer") {
		t.Errorf("dead pod: %d %s", r.status, r.body)
	}
}

func TestRequestReachesItsDependency(t *testing.T) {
	for _, tt := range []struct{ path, body, call, answer string }{
		{"/stream/snapshot", `{"streamName":"s"}`, "snapshot s", `{"data":"UE5HIG9mIHM="}`},
		{"/stream/startRecording", `{"mediaSessionId":"pub","config":{"fileTemplate":"a/{streamName}"}}`, `record s as "a/{streamName}"`, ""},
		{"/recorder/startup", `{"mediaSessionId":"pub"}`, `record s as ""`, ""},
		{"/stream/stopRecording", `{"mediaSessionId":"pub"}`, "stop s", ""},
		{"/recorder/terminate", `{"mediaSessionId":"pub"}`, "stop s", ""},
		{"/stream/event/send", `{"streamName":"s","payload":{"a":1}}`, `event of s: data {"a":1}`, ""},
		{"/stream/event/send", `{"mediaSessionId":"pub","type":"x"}`, `event of s: x `, ""},
		{"/stream/snapshot", `{"streamName":"s","mediaSessionId":"pub"}`, "snapshot s", `{"data":"UE5HIG9mIHM="}`},
		{"/stream/startRecording", `{"mediaSessionId":"pub","more":1,"config":{"more":1}}`, `record s as ""`, ""},
		{"/data/send", `{"sessionId":"/1","more":1,"operationId":"o","payload":"p"}`, `data for /1: "p" "o"`, ""},
	} {
		w := serve(t, Config{}, nil)
		if r := w.post(t, tt.path, tt.body); r.status != http.StatusOK || r.body != tt.answer || !slices.Equal(w.parts.calls, []string{tt.call}) {
			t.Errorf("%s: %d %s, calls %q, want %q", tt.path, r.status, r.body, w.parts.calls, tt.call)
		}
		w.parts.fail = state.ErrNotFound
		if r := w.post(t, tt.path, tt.body); r.status != http.StatusNotFound {
			t.Errorf("%s of an unknown stream: %d %s", tt.path, r.status, r.body)
		}
	}
}

func TestFileTemplateStaysInside(t *testing.T) {
	w := serve(t, Config{}, nil)
	for _, bad := range []string{"/etc/x", "../x", "a/../../x", "a/../b", "a//b", `a\b`, "a\x00b", "a\nb", ".."} {
		body, err := json.Marshal(map[string]any{"mediaSessionId": "pub", "config": map[string]any{"fileTemplate": bad}})
		if err != nil {
			t.Fatal(err)
		}
		if r := w.post(t, "/stream/startRecording", string(body)); r.status != 500 || !strings.Contains(r.body, "fileTemplate") {
			t.Errorf("%q: %d %s", bad, r.status, r.body)
		}
	}
	if len(w.parts.calls) > 0 {
		t.Errorf("recorded: %q", w.parts.calls)
	}
}

// A list that fails halfway is not valid JSON, and the connection is cut.
func TestFailedListIsCutOff(t *testing.T) {
	w := serve(t, Config{}, nil)
	w.deployment.fail = state.ErrUnavailable
	if r := w.post(t, "/stream/find_all", ""); r.status != 500 || !strings.Contains(r.body, "Redis does not answer") {
		t.Errorf("before anything was sent: %d %s", r.status, r.body)
	}
	w.deployment.streams = slices.Repeat(w.deployment.streams[:1], 1000)
	w.deployment.failAfter = 900
	if r := w.post(t, "/stream/find_all", ""); r.status != 200 || json.Valid([]byte(r.body)) || !strings.HasSuffix(r.body, " cut off") {
		t.Errorf("in the middle: %d, %d bytes: %.100s", r.status, len(r.body), r.body)
	}
}

func TestStatisticsAreTextOrJSON(t *testing.T) {
	w := serve(t, Config{}, nil)
	text := "-----Connection Stats-----\nconnections=3\nconnections_websocket=3\n-----Stream Stats-----\nstreams_webrtc_in=1\nstreams_webrtc_out=2\nstreams_viewers=2\n" +
		"-----Pod Stats-----\npods=1\npods_silent=0\nconnections_spliced=1"
	for path, want := range map[string]string{
		"/?action=stat":                                      text,
		"/?action=stat&preventCache=x":                       text,
		"/?action=stat&format=json&groups=connection_stats":  `{"connection_stats":{"connections":3,"connections_websocket":3}}`,
		"/?action=stat&groups=pod_stats&scope=deployment":    "-----Pod Stats-----\npods=2\npods_silent=0\nconnections_spliced=1",
		"/?action=stat&format=json&groups=transcoding_stats": "{}",
	} {
		if r := w.do(t, http.MethodGet, path, "", nil); r.status != 200 || r.body != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, path := range []string{"/?action=stat&scope=x", "/?action=stat&format=x"} {
		if r := w.do(t, http.MethodGet, path, "", nil); r.status != 500 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := w.do(t, http.MethodGet, "/?action=other", "", nil); r.status != 404 {
		t.Errorf("another action: %d", r.status)
	}
	w.deployment.closed = true
	if r := w.do(t, http.MethodGet, "/?action=stat", "", nil); r.status != 503 || r.body != text {
		t.Errorf("while the pod drains: %d %s", r.status, r.body)
	}
}

func TestOriginIsChecked(t *testing.T) {
	pages, err := origins.Parse([]string{"https://ops.example"})
	if err != nil {
		t.Fatal(err)
	}
	from := func(origin string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Origin", origin) }
	}
	for _, tt := range []struct {
		cfg            Config
		method, origin string
		status         int
		allowed        bool
	}{
		{Config{Origins: &pages}, http.MethodPost, "https://ops.example", 200, true},
		{Config{Origins: &pages, Users: users(t)}, http.MethodOptions, "https://ops.example", 204, true}, // browsers send preflights without password
		{Config{Origins: &pages}, http.MethodPost, "https://other.example", 403, false},
		{Config{}, http.MethodPost, "https://ops.example", 403, false},
		{Config{}, http.MethodPost, "null", 403, false},
		{Config{}, http.MethodPost, "own", 200, true},
		{Config{}, http.MethodOptions, "", 405, false},
		{Config{}, http.MethodDelete, "", 405, false},
	} {
		w := serve(t, tt.cfg, nil)
		if tt.origin == "own" {
			tt.origin = w.URL
		}
		r := w.do(t, tt.method, prefix+"/stream/terminate", `{"name":"s"}`, from(tt.origin))
		if r.status != tt.status || (r.header.Get("Access-Control-Allow-Origin") == tt.origin && tt.origin != "") != tt.allowed {
			t.Errorf("%s from %q: %d %v", tt.method, tt.origin, r.status, r.header)
		}
		if done := len(w.deployment.ended) > 0; done != (tt.status == 200) {
			t.Errorf("%s from %q: done %v", tt.method, tt.origin, done)
		}
	}
}

// Browsers send requests of embedded elements without Origin and with stored credentials, but with
// Sec-Fetch-Site.
func TestCrossSiteRequestsAreRejected(t *testing.T) {
	w := serve(t, Config{Users: users(t), TerminateAll: true}, nil)
	for _, tt := range []struct {
		method, path, site, mode string
		status                   int
	}{
		{http.MethodGet, "/stream/terminate", "cross-site", "no-cors", 403},
		{http.MethodGet, "/stream/terminate", "same-site", "no-cors", 403}, // a sibling subdomain
		{http.MethodGet, "/stream/terminate", "cross-site", "navigate", 403},
		{http.MethodPost, "/stream/terminate", "cross-site", "navigate", 403},
		{http.MethodGet, "/stream/find_all", "cross-site", "no-cors", 403},
		{http.MethodGet, "/stream/find_all", "cross-site", "navigate", 200}, // a link
		{http.MethodGet, "/openapi.yaml", "cross-site", "navigate", 200},
		{http.MethodGet, "/stream/terminate", "same-origin", "cors", 200},
		{http.MethodGet, "/stream/terminate", "none", "navigate", 200}, // the address bar
		{http.MethodGet, "/stream/terminate", "", "", 200},             // non-browser client
	} {
		w.deployment.ended = nil
		r := w.do(t, tt.method, prefix+tt.path, "", func(r *http.Request) {
			r.SetBasicAuth("ops", "secret")
			r.Body, r.ContentLength = http.NoBody, 0
			if strings.HasSuffix(tt.path, "terminate") && tt.status == 200 {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"name":"s"}`)), -1
			}
			for name, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Sec-Fetch-Mode": tt.mode} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
		})
		if r.status != tt.status || len(w.deployment.ended) > 0 && tt.status != 200 {
			t.Errorf("%s %s from %s by %s: %d %s, ended %v", tt.method, tt.path, tt.site, tt.mode, r.status, r.body, w.deployment.ended)
		}
	}
}

// Without passwords, host names are not accepted as own origin: DNS rebinding could point them here.
func TestDNSRebindingIsRejected(t *testing.T) {
	pages, err := origins.Parse([]string{"http://ops.example:8081"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg    Config
		host   string
		status int
	}{
		{Config{}, "evil.example:8081", 403},
		{Config{}, "127.0.0.1.evil.example:8081", 403},
		{Config{Users: users(t)}, "rest.example:8081", 200},
		{Config{}, "192.0.2.1:8081", 200},
		{Config{}, "[2001:db8::1]:8081", 200},
		{Config{}, "localhost:8081", 200},
		{Config{Origins: &pages}, "ops.example:8081", 200},
	} {
		w := serve(t, tt.cfg, nil)
		r := w.do(t, http.MethodPost, prefix+"/stream/terminate", `{"published":true}`, func(r *http.Request) {
			r.SetBasicAuth("ops", "secret")
			r.Host = tt.host
			r.Header.Set("Origin", "http://"+tt.host)
		})
		if r.status != tt.status || (len(w.deployment.ended) > 0) != (tt.status == 200) {
			t.Errorf("%s: %d %s, ended %v", tt.host, r.status, r.body, w.deployment.ended)
		}
	}
}

// The address of the API alone leads to the console, also behind a proxy that adds a path.
func TestRootLeadsToConsole(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("page " + r.URL.Path)) })
	w := serve(t, Config{}, func(d *Deps) { d.Console = page })
	for _, path := range []string{"/", "/console", "/console/"} {
		if got := w.do(t, http.MethodGet, path, "", nil); got.status != http.StatusOK || got.body != "page /console/" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := w.do(t, http.MethodGet, "/?action=stat", "", nil); !strings.Contains(got.body, "connections") {
		t.Errorf("statistics: %d %s", got.status, got.body)
	}
	if got := serve(t, Config{}, nil).do(t, http.MethodGet, "/", "", nil); got.status != http.StatusNotFound {
		t.Errorf("without a console: %d %s", got.status, got.body)
	}
}
