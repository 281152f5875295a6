package rest

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"wcsgateway/gateway/admin"
)

// described returns the parsed OpenAPI description that the API serves.
func described(t *testing.T, w *world) *openapi3.T {
	t.Helper()
	r := w.do(t, http.MethodGet, prefix+"/openapi.yaml", "", nil)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryRouteIsDescribed(t *testing.T) {
	doc := described(t, serve(t, Config{}, nil))
	want := append(slices.Collect(maps.Keys(routes(true))), routeStatistics)
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(doc.Paths.Map())); !slices.Equal(got, want) {
		t.Errorf("described %q\nserved    %q", got, want)
	}
}

// validator checks each request and its response against the description.
type validator struct {
	t      *testing.T
	router routers.Router
	w      *world
	seen   map[string]bool // method and path of successful requests
}

func (v *validator) try(method, path, body string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.w.URL+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	}
	route, params, err := v.router.FindRoute(r)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	good := openapi3filter.ValidateRequest(v.t.Context(), in)
	r.Body = io.NopCloser(strings.NewReader(body))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if good != nil && res.StatusCode == http.StatusOK {
		v.t.Errorf("%s %s %s succeeds, but is not described: %v", method, path, body, good)
	}
	if res.StatusCode == http.StatusOK {
		v.seen[method+" "+route.Path] = true
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if len(answer) > 0 {
		out.SetBodyBytes(answer)
	} else {
		out.Body = io.NopCloser(bytes.NewReader(nil))
	}
	if err := openapi3filter.ValidateResponse(v.t.Context(), out); err != nil {
		v.t.Errorf("%s %s %s: response %d %s differs from the description: %v", method, path, body, res.StatusCode, answer, err)
	}
}

// Each operation is tried with success and with failure, as described.
func TestResponsesMatchDescription(t *testing.T) {
	w := serve(t, Config{TerminateAll: true}, func(d *Deps) { d.Puller = &fakeParts{} })
	w.deployment.figures["pub"] = admin.Figures{
		"VIDEO_WIDTH": 1, "VIDEO_HEIGHT": 1, "VIDEO_RATE": 1, "VIDEO_FPS": 1, "VIDEO_LOST": 1, "VIDEO_NACK": 1, "VIDEO_PLI": 1,
	}
	doc := described(t, w)
	doc.Servers = openapi3.Servers{{URL: w.URL}}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("application/yaml", openapi3filter.FileBodyDecoder)
	v := &validator{t: t, router: router, w: w, seen: make(map[string]bool)}
	for _, path := range []string{"/stream/find_all", "/stream/find", "/connection/find_all", "/connection/find", "/recorder/find_all", "/push/find", "/push/find_all", "/rtsp/find", "/rtsp/find_all", "/pull/find", "/pull/find_all", "/openapi.yaml"} {
		v.try(http.MethodGet, prefix+path, "")
	}
	v.try(http.MethodGet, "/?action=stat", "")
	v.try(http.MethodGet, "/?action=stat&format=json&scope=deployment", "")
	v.try(http.MethodGet, "/?action=stat&format=xml", "")
	for path, bodies := range map[string][]string{
		"/stream/find_all":       {""},
		"/stream/find":           {`{"display":["metrics"]}`, `{"name":"nobody"}`, `{"x":1}`},
		"/stream/terminate":      {`{"published":true,"status":"PUBLISHING"}`, `{"name":"nobody"}`, `{"name":1}`},
		"/stream/metrics":        {`{"mediaSessionId":"pub"}`, `{"mediaSessionId":"x"}`, `{}`},
		"/stream/snapshot":       {`{"streamName":"s"}`, `{}`},
		"/stream/startRecording": {`{"mediaSessionId":"pub","config":{"fileTemplate":"a"}}`, `{"mediaSessionId":"pub","config":{"rotation":1}}`},
		"/stream/stopRecording":  {`{"mediaSessionId":"pub"}`, `{"mediaSessionId":"x"}`},
		"/recorder/startup":      {`{"mediaSessionId":"pub"}`},
		"/recorder/terminate":    {`{"mediaSessionId":"pub"}`},
		"/recorder/find_all":     {""},
		"/push/startup":          {`{"streamName":"s","rtmpUrl":"rtmp://h/a","rtmpTransponderFullUrl":true,"options":{}}`, `{"streamName":"s"}`},
		"/push/find":             {`{"streamName":"rtmp_s","rtmpUrl":"rtmp://h/a"}`, `{"mediaSessionId":"EG_3"}`, `{"x":1}`},
		"/push/find_all":         {""},
		"/push/terminate":        {`{"mediaSessionId":"EG_1"}`, `{}`},
		"/rtsp/startup":          {`{"uri":"rtsp://cam/live"}`, `{}`},
		"/rtsp/find":             {`{"uri":"rtsp://cam/live#12345678","status":"PLAYING"}`, `{"uri":"rtsp://nobody"}`, `{"x":1}`},
		"/rtsp/find_all":         {""},
		"/rtsp/terminate":        {`{"uri":"rtsp://cam/live"}`, `{}`},
		"/pull/startup":          {`{"uri":"https://cdn/a.m3u8"}`, `{}`},
		"/pull/pull":             {`{"uri":"https://cdn/a.m3u8"}`},
		"/pull/find":             {`{"localMediaSessionId":"3"}`, `{"status":"NEW"}`, `{"x":1}`},
		"/pull/find_all":         {""},
		"/pull/terminate":        {`{"uri":"https://cdn/a.m3u8"}`, `{}`},
		"/stream/event/send":     {`{"streamName":"s","payload":{"a":1}}`, `{}`},
		"/data/send":             {`{"sessionId":"/1","operationId":"o","payload":[1]}`, `{}`},
		"/connection/find_all":   {""},
		"/connection/find":       {`{"clientVersion":"2.0"}`, `{"sessionId":"/3"}`},
		"/connection/terminate":  {`{"sessionId":"/1"}`, `{"sessionId":"/3"}`},
	} {
		for _, body := range bodies {
			v.try(http.MethodPost, prefix+path, body)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !v.seen[method+" "+path] {
				t.Errorf("%s %s never succeeded", method, path)
			}
		}
	}
}
