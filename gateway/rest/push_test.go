package rest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
)

// The form of the responses is that of WCS's transponders.
func TestPushHasFormOfWCS(t *testing.T) {
	const one = `{"mediaSessionId":"EG_1","streamName":"rtmp_s","rtmpUrl":"rtmp://h/a","width":0,"height":0,"muted":false,"soundEnabled":false,"options":{}}`
	two := strings.NewReplacer("EG_1", "EG_2", "rtmp_s", "rtmp_t").Replace(one)
	for _, tt := range []struct{ path, body, call, answer string }{
		{"/push/startup", `{"streamName":"s","rtmpUrl":"rtmp://h/a","options":{"x":1}}`, "push s to rtmp://h/a, full false", one},
		{"/push/startup", `{"streamName":"s","rtmpUrl":"rtmp://h/a","rtmpTransponderFullUrl":true}`, "push s to rtmp://h/a, full true", one},
		{"/push/find_all", "", `pushes to ""`, "[" + one + "," + two + "]"},
		{"/push/find", `{}`, `pushes to ""`, "[" + one + "," + two + "]"},
		{"/push/find", `{"streamName":"s"}`, `pushes to ""`, "[" + one + "]"},
		{"/push/find", `{"streamName":"rtmp_t","rtmpUrl":"rtmp://h/a"}`, `pushes to "rtmp://h/a"`, "[" + two + "]"},
		{"/push/find", `{"mediaSessionId":"EG_2"}`, `pushes to ""`, "[" + two + "]"},
		{"/push/terminate", `{"mediaSessionId":"EG_1"}`, "stop push EG_1", ""},
		{"/recorder/find_all", "", "recordings", `[{"fileName":"a/s.mp4","mediaSessionId":"pub"}]`},
	} {
		w := serve(t, Config{}, nil)
		if r := w.post(t, tt.path, tt.body); r.status != http.StatusOK || strings.TrimSpace(r.body) != tt.answer || !slices.Equal(w.parts.calls, []string{tt.call}) {
			t.Errorf("%s %s: %d %s, calls %q", tt.path, tt.body, r.status, r.body, w.parts.calls)
		}
	}
}

func TestPushErrorsHaveStatusOfWCS(t *testing.T) {
	start := `{"streamName":"s","rtmpUrl":"rtmp://h/secret-key"}`
	for _, tt := range []struct {
		path, body string
		fail       error
		status     int
	}{
		{"/push/startup", start, admin.ErrPushExists, http.StatusConflict},
		{"/push/startup", start, admin.ErrNoSuchStream, http.StatusNotFound},
		{"/push/startup", start, admin.ErrPushForbidden, http.StatusInternalServerError},
		{"/push/startup", start, admin.ErrPushFailed, http.StatusInternalServerError},
		{"/push/startup", start, admin.ErrEgresses, http.StatusInternalServerError},
		{"/push/startup", `{"streamName":"s"}`, nil, http.StatusInternalServerError},
		{"/push/startup", `{"rtmpUrl":"rtmp://h/a"}`, nil, http.StatusInternalServerError},
		{"/push/find", `{"streamName":"x"}`, nil, http.StatusNotFound},
		{"/push/find", `{"name":"s"}`, nil, http.StatusInternalServerError},
		{"/push/find_all", "", admin.ErrEgresses, http.StatusInternalServerError},
		{"/push/terminate", `{"mediaSessionId":"EG_9"}`, state.ErrNotFound, http.StatusNotFound},
		{"/push/terminate", `{}`, nil, http.StatusInternalServerError},
		{"/push/mute", `{"mediaSessionId":"EG_1"}`, nil, http.StatusNotImplemented},
		{"/push/unmute", `{"mediaSessionId":"EG_1"}`, nil, http.StatusNotImplemented},
		{"/push/sound_on", `{"mediaSessionId":"EG_1","soundFile":"a.wav"}`, nil, http.StatusNotImplemented},
		{"/push/sound_off", `{"mediaSessionId":"EG_1"}`, nil, http.StatusNotImplemented},
		{"/recorder/find_all", "", admin.ErrEgresses, http.StatusInternalServerError},
	} {
		w := serve(t, Config{}, nil)
		w.parts.fail = tt.fail
		if r := w.post(t, tt.path, tt.body); r.status != tt.status || tt.fail != nil && tt.status != http.StatusNotFound && !strings.Contains(r.body, tt.fail.Error()) {
			t.Errorf("%s %s: %d %s, want %d", tt.path, tt.body, r.status, r.body, tt.status)
		}
		if log := w.log.String(); strings.Contains(log, "secret-key") {
			t.Errorf("the log contains an address: %s", log)
		}
	}
}

func TestPushesOfOtherServerAreListedAndReached(t *testing.T) {
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/find_all") || strings.HasSuffix(r.URL.Path, "/find") {
			_, _ = io.WriteString(w, `[{"mediaSessionId":"old"}]`)
			return
		}
		w.WriteHeader(http.StatusConflict)
	})
	for path, want := range map[string][]string{
		"/push/find_all": {"EG_1", "EG_2", "old"}, "/push/find": {"EG_1", "EG_2", "old"}, "/recorder/find_all": {"pub", "old"},
	} {
		if r := w.do(t, http.MethodPost, prefix+path, "", asOps); r.status != http.StatusOK || !slices.Equal(names(t, r.body, "mediaSessionId"), want) {
			t.Errorf("%s: %+v", path, r)
		}
		<-got
	}
	for path, fail := range map[string]error{"/push/startup": admin.ErrNoSuchStream, "/push/terminate": state.ErrNotFound} {
		w.parts.fail = fail
		if r := w.do(t, http.MethodPost, prefix+path, `{"streamName":"old","rtmpUrl":"rtmp://h/a","mediaSessionId":"old"}`, asOps); r.status != http.StatusConflict {
			t.Errorf("%s: %+v", path, r)
			continue
		}
		<-got
	}
}
