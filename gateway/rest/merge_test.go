package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/gateway/upstream"
	"wcsgateway/state"
)

// names returns the given member of each entry of a list.
func names(t *testing.T, body, member string) (all []string) {
	t.Helper()
	var entries []map[string]any
	if err := json.Unmarshal([]byte(body), &entries); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for _, e := range entries {
		name, _ := e[member].(string)
		all = append(all, name)
	}
	return all
}

func TestListHasEntriesOfOtherServerAfterThoseHere(t *testing.T) {
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, prefix+"/stream/"):
			_, _ = io.WriteString(w, ` [ {"mediaSessionId":"old-1", "sdp":"v=0"}, {"mediaSessionId":"old-2"} ]
`)
		case r.URL.Path == prefix+"/connection/find":
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = io.WriteString(w, `[{"sessionId":"/old"}]`)
		}
	})
	for _, tt := range []struct {
		method, path, body, member string
		want                       []string
	}{
		{http.MethodGet, "/stream/find_all", "", "mediaSessionId", []string{"pub", "play", "new", "old-1", "old-2"}},
		{http.MethodPost, "/stream/find", `{"name":"t"}`, "mediaSessionId", []string{"new", "old-1", "old-2"}},
		{http.MethodPost, "/stream/find", `{"name":"nowhere"}`, "mediaSessionId", []string{"old-1", "old-2"}},
		{http.MethodPost, "/connection/find_all", "", "sessionId", []string{"/1", "/2", "/old"}},
		{http.MethodPost, "/connection/find", `{"sessionId":"/1"}`, "sessionId", []string{"/1"}},
	} {
		r := w.do(t, tt.method, prefix+tt.path, tt.body, asOps)
		if r.status != http.StatusOK || r.header.Get(OtherHeader) != "" || r.header.Get("Content-Type") != "application/json;charset=UTF-8" {
			t.Errorf("%s %s: %+v", tt.path, tt.body, r)
			continue
		}
		if all := names(t, r.body, tt.member); !slices.Equal(all, tt.want) {
			t.Errorf("%s %s: %q, want %q", tt.path, tt.body, all, tt.want)
		}
		q := <-got
		body, _ := io.ReadAll(q.Body)
		user, password, _ := q.BasicAuth()
		if q.Method != tt.method || q.URL.Path != prefix+tt.path || string(body) != tt.body || user != "gateway" || password != "other-secret" {
			t.Errorf("%s %s as %s: %s", q.Method, q.URL.Path, user, body)
		}
	}
	if r := w.do(t, http.MethodPost, prefix+"/connection/find", `{"sessionId":"/3"}`, asOps); r.status != http.StatusNotFound || r.header.Get(OtherHeader) != "" {
		t.Errorf("a session that no server has: %+v", r)
	}
	if r := w.do(t, http.MethodHead, prefix+"/stream/find_all", "", asOps); r.status != http.StatusOK {
		t.Errorf("HEAD: %+v", r)
	}
}

func TestFailureOfOtherServerIsInHeaderOfList(t *testing.T) {
	answer := make(chan http.HandlerFunc, 1)
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, r *http.Request) { (<-answer)(w, r) })
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	}
	const silent = "does not answer"
	first := "" // reason; later lines of the log can be dropped by its limit
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"closes": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, otherUnavailable},
		silent:   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, otherUnavailable},
		"closes in mid-list": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `[{"sessionId":"/old"},`)
		}, otherUnavailable},
		"rejects the password": {status(http.StatusUnauthorized), otherStatus},
		"fails":                {status(http.StatusInternalServerError), otherStatus},
		"redirects":            {status(http.StatusFound), otherStatus},
		"sends an object":      {text(`{"sessionId":"/old"}`), otherInvalid},
		"sends nothing":        {text(""), otherInvalid},
		"sends an open array":  {text(`[{"sessionId":"/old"}`), otherInvalid},
		"sends two arrays":     {text(`[{"sessionId":"/old"}] [1]`), otherInvalid},
		"sends too much":       {text("[" + strings.Repeat(" ", maxOtherList) + "]"), otherTooLarge},
	} {
		first = cmp.Or(first, tt.want)
		w.api.listTimeout = listTimeout
		if name == silent {
			w.api.listTimeout = 50 * time.Millisecond
		}
		answer <- tt.answer
		r := w.do(t, http.MethodPost, prefix+"/connection/find_all", "", asOps)
		if r.status != http.StatusOK || r.header.Get(OtherHeader) != "old="+tt.want || strings.Contains(r.body, "old") || len(names(t, r.body, "sessionId")) != 2 {
			t.Errorf("a server that %s: %d %s %s, want %s", name, r.status, r.header.Get(OtherHeader), r.body, tt.want)
		}
		answer <- tt.answer
		r = w.do(t, http.MethodPost, prefix+"/stream/find", `{"name":"nowhere"}`, asOps)
		if r.status != http.StatusBadGateway || r.header.Get(OtherHeader) != "old="+tt.want {
			t.Errorf("nothing here and a server that %s: %+v", name, r)
		}
		<-got
		<-got
	}
	if log := w.log.String(); !strings.Contains(log, `"reason":"`+first+`"`) || strings.Contains(log, "other-secret") {
		t.Errorf("log without %s: %s", first, log)
	}
}

func TestListsOfOtherServerInMemoryAreBounded(t *testing.T) {
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })
	w.api.listTimeout = 50 * time.Millisecond
	if err := w.api.lists.Acquire(context.Background(), maxOtherLists); err != nil {
		t.Fatal(err)
	}
	if r := w.do(t, http.MethodGet, prefix+"/stream/find_all", "", asOps); r.status != http.StatusOK || r.header.Get(OtherHeader) != "old="+otherBusy {
		t.Errorf("one more list: %+v", r)
	}
	w.api.lists.Release(maxOtherLists)
	w.api.listTimeout = listTimeout
	w.deployment.fail = io.ErrUnexpectedEOF
	w.deployment.failAfter = 1
	for range 2 * maxOtherLists { // lists that succeed, are empty and fail
		_ = w.do(t, http.MethodGet, prefix+"/stream/find_all", "", asOps)
		_ = w.do(t, http.MethodPost, prefix+"/connection/find", `{"appKey":"x"}`, asOps)
		for range 2 {
			<-got
		}
	}
	if !w.api.lists.TryAcquire(maxOtherLists) {
		t.Error("lists are held after their requests")
	}
}

func TestRequestForAbsentStreamIsPassedOn(t *testing.T) {
	const answer = `{"of":"the other server"}`
	w, got := serveWithOther(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, answer)
	})
	for _, tt := range []struct{ path, body string }{
		{"/stream/terminate", `{"mediaSessionId":"old"}`},
		{"/stream/terminate", `{"name":"old","published":true}`},
		{"/stream/metrics", `{"mediaSessionId":"old"}`},
		{"/stream/startRecording", `{"mediaSessionId":"old","config":{"rotation":"10M","fileTemplate":"/abs"}}`},
		{"/stream/stopRecording", `{"mediaSessionId":"old"}`},
		{"/recorder/startup", `{"mediaSessionId":"old"}`},
		{"/recorder/terminate", `{"mediaSessionId":"old"}`},
		{"/stream/event/send", `{"mediaSessionId":"old","payload":{"a":1}}`},
		{"/connection/terminate", `{"sessionId":"/old"}`},
	} {
		r := w.do(t, http.MethodPost, prefix+tt.path, tt.body, asOps)
		if r.status != http.StatusConflict || r.body != answer {
			t.Errorf("%s %s: %+v", tt.path, tt.body, r)
			continue
		}
		q := <-got
		if body, _ := io.ReadAll(q.Body); q.URL.Path != prefix+tt.path || string(body) != tt.body {
			t.Errorf("passed on: %s %s", q.URL.Path, body)
		}
	}
	if log := w.log.String(); !strings.Contains(log, `"audit":"connection/terminate","user":"ops"`) || !strings.Contains(log, `"passedOn":true,"status":409,"result":"Conflict"`) {
		t.Errorf("log %s", log)
	}
	w.parts.fail = fmt.Errorf("of the deployment: %w", state.ErrNotFound)
	for path, body := range map[string]string{
		"/stream/snapshot": `{"streamName":"old"}`, "/data/send": `{"sessionId":"/old","payload":1}`, "/stream/event/send": `{"streamName":"old","type":"x"}`,
	} {
		if r := w.do(t, http.MethodPost, prefix+path, body, asOps); r.status != http.StatusConflict || r.body != answer {
			t.Errorf("%s %s: %+v", path, body, r)
			continue
		}
		<-got
	}
}

func TestRequestForOwnOrUnnamedStreamIsNotPassedOn(t *testing.T) {
	w, got := serveWithOther(t, nil, func(http.ResponseWriter, *http.Request) {})
	w.api.cfg.TerminateAll = true
	for _, tt := range []struct {
		path, body string
		status     int
	}{
		{"/stream/terminate", `{"mediaSessionId":"pub"}`, http.StatusOK},
		{"/stream/terminate", `{"mediaSessionIds":[]}`, http.StatusNotFound},
		{"/stream/terminate", `{"name":""}`, http.StatusInternalServerError},
		{"/stream/find", `{"mediaSessionIds":[]}`, http.StatusNotFound},
		{"/stream/find", `{"x":1}`, http.StatusInternalServerError},
		{"/stream/metrics", `{"mediaSessionId":"pub"}`, http.StatusOK},
		{"/stream/snapshot", `{}`, http.StatusInternalServerError},
		{"/stream/startRecording", `{"mediaSessionId":"pub","config":{"rotation":1}}`, http.StatusNotImplemented},
		{"/stream/startRecording", `{"mediaSessionId":"play"}`, http.StatusInternalServerError},
		{"/stream/event/send", `{"mediaSessionId":"play"}`, http.StatusNotFound},
		{"/data/send", `{"sessionId":"/1"}`, http.StatusOK},
		{"/connection/terminate", `{"sessionId":"/1"}`, http.StatusOK},
	} {
		if r := w.do(t, http.MethodPost, prefix+tt.path, tt.body, asOps); r.status != tt.status {
			t.Errorf("%s %s: %+v, want %d", tt.path, tt.body, r, tt.status)
		}
	}
	w.deployment.streams = nil
	if r := w.do(t, http.MethodPost, prefix+"/stream/terminate", `{}`, asOps); r.status != http.StatusNotFound {
		t.Errorf("all streams of a server without streams: %+v", r)
	}
	back := func(r *http.Request) {
		asOps(r)
		r.Header.Set(upstream.ViaHeader, "media")
	}
	if r := w.do(t, http.MethodPost, prefix+"/connection/terminate", `{"sessionId":"/old"}`, back); r.status != http.StatusNotFound {
		t.Errorf("a request that came back: %+v", r)
	}
	if r := w.do(t, http.MethodPost, prefix+"/connection/find_all", "", back); r.status != http.StatusOK || r.header.Get(OtherHeader) != "" {
		t.Errorf("a list that came back: %+v", r)
	}
	(*w.api.others.Load())[0].Users = []string{"boss"}
	if r := w.do(t, http.MethodPost, prefix+"/connection/terminate", `{"sessionId":"/old"}`, asOps); r.status != http.StatusNotFound {
		t.Errorf("a user who may not use the other server: %+v", r)
	}
	if r := w.do(t, http.MethodPost, prefix+"/connection/find_all", "", asOps); r.status != http.StatusOK || r.header.Get(OtherHeader) != "" {
		t.Errorf("a list of a user who may not use the other server: %+v", r)
	}
	if len(got) > 0 {
		t.Errorf("the other server got %s", (<-got).URL)
	}
}

func TestLargeResponseOfOtherServerIsCutOff(t *testing.T) {
	part := []byte(strings.Repeat("part ", 1<<18))
	w, _ := serveWithOther(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		for range maxPassedOn/len(part) + 2 {
			_, _ = w.Write(part)
		}
	})
	r := w.do(t, http.MethodPost, prefix+"/call/find_all", `{}`, asOps)
	if !strings.HasSuffix(r.body, " cut off") || len(r.body) > maxPassedOn+1000 {
		t.Errorf("%d bytes", len(r.body))
	}
}
