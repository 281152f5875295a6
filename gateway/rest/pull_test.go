package rest

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/pulls"
	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

func (f *fakeParts) Start(_ context.Context, address string) error {
	return f.record("pull %s", address)
}

func (f *fakeParts) List(_ context.Context, address string) (all []pulls.Listed, err error) {
	for _, l := range []pulls.Listed{
		{ID: "1", Address: "rtsp://cam/live#12345678", State: pull.Running, Kept: true},
		{ID: "2", Address: "RTSPS://cam2/live", State: pull.Connecting},
		{ID: "3", Address: "https://cdn/a.m3u8", State: pull.Running},
	} {
		if address == "" || address == l.Address {
			all = append(all, l)
		}
	}
	return all, f.record("pulls of %q", address)
}

func (f *fakeParts) Stop(_ context.Context, address string) error {
	return f.record("stop %s", address)
}

func (f *fakeParts) Stored(name string) []string {
	return []string{"other", strings.Replace(name, "rtsp://u:p@cam/live", "rtsp://cam/live#12345678", 1)}
}

func (f *fakeParts) Shown(name string) string { return strings.TrimSuffix(name, "#87654321") }

// The form of the responses is that of WCS's RTSP agents and pulled streams.
func TestPullHasFormOfWCS(t *testing.T) {
	const (
		first  = `{"uri":"rtsp://cam/live#12345678","status":"PLAYING"}`
		second = `{"uri":"RTSPS://cam2/live","status":"PENDING"}`
		third  = `{"localMediaSessionId":"3","remoteMediaSessionId":null,"localStreamName":"https://cdn/a.m3u8","remoteStreamName":null,"uri":"https://cdn/a.m3u8","status":"PROCESSED_REMOTE"}`
	)
	for _, tt := range []struct{ path, body, call, answer string }{
		{"/rtsp/startup", `{"uri":"rtsp://u:p@cam/live"}`, "pull rtsp://u:p@cam/live", ""},
		{"/rtsp/startup", `{"uri":"RTSPS://u:p@cam/live","toStream":""}`, "pull RTSPS://u:p@cam/live", ""},
		{"/rtsp/find_all", "", `pulls of ""`, "[" + first + "," + second + "]"},
		{"/rtsp/find", `{}`, `pulls of ""`, "[" + first + "," + second + "]"},
		{"/rtsp/find", `{"status":"PENDING"}`, `pulls of ""`, "[" + second + "]"},
		{"/rtsp/find", `{"uri":"rtsp://cam/live#12345678"}`, `pulls of "rtsp://cam/live#12345678"`, "[" + first + "]"},
		{"/rtsp/terminate", `{"uri":"rtsp://u:p@cam/live"}`, "stop rtsp://u:p@cam/live", ""},
		{"/pull/startup", `{"uri":"https://cdn/a.m3u8"}`, "pull https://cdn/a.m3u8", ""},
		{"/pull/pull", `{"uri":"rtmp://h/a"}`, "pull rtmp://h/a", ""},
		{"/pull/find", `{"localMediaSessionId":"3"}`, `pulls of ""`, "[" + third + "]"},
		{"/pull/find", `{"uri":"https://cdn/a.m3u8","status":"PROCESSED_REMOTE"}`, `pulls of "https://cdn/a.m3u8"`, "[" + third + "]"},
		{"/pull/terminate", `{"uri":"https://cdn/a.m3u8"}`, "stop https://cdn/a.m3u8", ""},
	} {
		parts := &fakeParts{}
		w := serve(t, Config{}, func(d *Deps) { d.Puller = parts })
		if r := w.post(t, tt.path, tt.body); r.status != http.StatusOK || strings.TrimSpace(r.body) != tt.answer || !slices.Equal(parts.calls, []string{tt.call}) {
			t.Errorf("%s %s: %d %s, calls %q", tt.path, tt.body, r.status, r.body, parts.calls)
		}
		if log := w.log.String(); strings.Contains(log, "u:p") {
			t.Errorf("the log has a password: %s", log)
		}
	}
}

func TestPullErrorsHaveStatusOfWCS(t *testing.T) {
	start := `{"uri":"rtsp://u:p@cam/live?key=k"}`
	for _, tt := range []struct {
		path, body string
		fail       error
		status     int
	}{
		{"/rtsp/startup", start, pulls.ErrExists, http.StatusConflict},
		{"/rtsp/startup", start, pulls.ErrBadAddress, http.StatusInternalServerError},
		{"/rtsp/startup", start, pulls.ErrNoWorker, http.StatusInternalServerError},
		{"/pull/startup", start, pulls.ErrLimit, http.StatusInternalServerError},
		{"/rtsp/startup", `{}`, nil, http.StatusInternalServerError},
		{"/rtsp/startup", `{"uri":"https://cdn/a"}`, nil, http.StatusInternalServerError},
		{"/rtsp/startup", `{"uri":"rtsp://cam/live","toStream":"s"}`, nil, http.StatusNotImplemented},
		{"/pull/pull", `{"uri":"wss://wcs:8443","localStreamName":"s","remoteStreamName":"s"}`, nil, http.StatusInternalServerError},
		{"/pull/startup", `{"uri":"rtmp://h/a","localStreamName":"s"}`, nil, http.StatusNotImplemented},
		{"/pull/push", `{}`, nil, http.StatusNotImplemented},
		{"/rtsp/find", `{"uri":"rtsp://nobody"}`, nil, http.StatusNotFound},
		{"/rtsp/find", `{"x":1}`, nil, http.StatusInternalServerError},
		{"/pull/find_all", "", state.ErrUnavailable, http.StatusInternalServerError},
		{"/rtsp/terminate", start, state.ErrNotFound, http.StatusNotFound},
		{"/rtsp/terminate", `{"uri":"https://cdn/a.m3u8"}`, nil, http.StatusNotFound},
		{"/pull/terminate", `{}`, nil, http.StatusInternalServerError},
	} {
		w := serve(t, Config{}, func(d *Deps) { d.Puller = &fakeParts{fail: tt.fail} })
		if r := w.post(t, tt.path, tt.body); r.status != tt.status {
			t.Errorf("%s %s: %d %s, want %d", tt.path, tt.body, r.status, r.body, tt.status)
		}
		if log := w.log.String(); strings.Contains(log, "u:p") || strings.Contains(log, "key=k") {
			t.Errorf("the log has a secret of the address: %s", log)
		}
	}
}

// A request names a source as clients do. Its players are stored without credentials.
func TestStreamsOfASourceAreFoundByItsAddress(t *testing.T) {
	w := serve(t, Config{}, func(d *Deps) { d.Puller = &fakeParts{} })
	w.deployment.streams = append(w.deployment.streams,
		admin.StreamEntry{MediaID: "cam", Name: "rtsp://cam/live#12345678"}, admin.StreamEntry{MediaID: "open", Name: "rtsp://open/live#87654321"})
	if r := w.post(t, "/stream/find", `{"name":"rtsp://u:p@cam/live"}`); !strings.Contains(r.body, `"mediaSessionId":"cam"`) || strings.Contains(r.body, "u:p") {
		t.Errorf("find: %d %s", r.status, r.body)
	}
	if r := w.post(t, "/stream/find", `{"mediaSessionId":"open"}`); !strings.Contains(r.body, `"name":"rtsp://open/live"`) {
		t.Errorf("a source without secrets: %d %s", r.status, r.body)
	}
	if r := w.post(t, "/stream/terminate", `{"name":"rtsp://u:p@cam/live"}`); r.status != http.StatusOK || !slices.Equal(w.deployment.ended, []string{"cam"}) {
		t.Errorf("terminate: %d %s, ended %q", r.status, r.body, w.deployment.ended)
	}
	if log := w.log.String(); strings.Contains(log, "u:p") {
		t.Errorf("the log has a password: %s", log)
	}
}

func TestSourcesOfOtherServerAreListedAndReached(t *testing.T) {
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/find_all") {
			_, _ = io.WriteString(w, `[{"uri":"rtsp://old/cam"}]`)
		}
	})
	parts := &fakeParts{}
	w.api.deps.Puller, w.api.routes = parts, routes(true)
	post := func(path, body string) reply {
		return w.do(t, http.MethodPost, prefix+path, body, asOps)
	}
	if r := post("/rtsp/find_all", ""); !strings.Contains(r.body, "rtsp://cam/live") || !strings.Contains(r.body, "rtsp://old/cam") {
		t.Errorf("list: %d %s", r.status, r.body)
	}
	<-got
	for _, tt := range []struct {
		path, body string
		fail       error
	}{
		{"/rtsp/startup", `{"uri":"rtsp://old/cam"}`, pulls.ErrBadAddress},
		{"/rtsp/startup", `{"uri":"rtsp://cam/live","toStream":"s"}`, nil},
		{"/pull/pull", `{"uri":"wss://old2:8443","localStreamName":"s"}`, nil},
		{"/rtsp/terminate", `{"uri":"rtsp://old/cam"}`, state.ErrNotFound},
	} {
		parts.fail = tt.fail
		if r := post(tt.path, tt.body); r.status != http.StatusOK || len(got) != 1 {
			t.Errorf("%s %s: %d %s, passed on %d times", tt.path, tt.body, r.status, r.body, len(got))
		}
		<-got
	}
}

func TestAuditLogHasNoPasswordOfAnAddress(t *testing.T) {
	for _, text := range []string{
		"rtsp://admin:hunter?2@cam.example.com/live", "rtsp://admin:hunter/2@cam.example.com/live", "rtsp://admin:hunter2@cam.example.com/live",
		"rtsp:/admin:hunter2@cam.example.com/live", "//admin:hunter2@cam.example.com/live", "rtsp://cam.example.com/user=admin_password=hunter2_channel=1",
		"rtsp://cam.example.com/live;password=hunter2", "rtsp://cam.example.com/live#password=hunter2", "ftp://admin:hunter2@cam.example.com/live",
	} {
		if got := abridge(text); strings.Contains(got, "hunter") {
			t.Errorf("%s: the audit log has %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"rtsp://admin:secret@cam.example.com/live?key=k": "rtsp://cam.example.com/live", "room/stream-1": "room/stream-1", "anna@example.com": "anna@example.com",
	} {
		if got := abridge(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
