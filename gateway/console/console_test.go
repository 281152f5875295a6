package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/gateway"
	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/ends"
	"wcsgateway/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDeployment is an in-memory Deployment.
type fakeDeployment struct {
	sides     []admin.Side
	streams   []admin.StreamEntry
	sessions  []state.Session
	histories map[string]*json.RawMessage
	failures  map[string]*[]ends.Failure
	hosts     map[string]string // of more pods that answer
	ends      *ends.Recorder
	gone      atomic.Bool // the streams have ended
	closed    atomic.Bool
	fail      error
}

func (f *fakeDeployment) EachStream(_ context.Context, filter admin.StreamFilter, yield func([]admin.StreamEntry) error) error {
	for _, e := range f.streams {
		if f.gone.Load() || len(filter.MediaIDs) > 0 && filter.MediaIDs[0] != e.MediaID || filter.Name != "" && filter.Name != e.Name || filter.Session != "" && filter.Session != e.Session {
			continue
		}
		if err := yield([]admin.StreamEntry{e}); err != nil {
			return err
		}
	}
	return f.fail
}

func (f *fakeDeployment) Figures(context.Context, []admin.StreamEntry) (map[string]admin.Figures, error) {
	return map[string]admin.Figures{"m0": {"VIDEO_RATE": 500_000, "VIDEO_LOST": 3}}, nil
}

func (f *fakeDeployment) EachSession(_ context.Context, yield func([]state.Session) error) error {
	for page := range slices.Chunk(f.sessions, 256) {
		if err := yield(page); err != nil {
			return err
		}
	}
	return f.fail
}

func (f *fakeDeployment) SessionDetails(_ context.Context, id string) (state.Session, admin.SessionDetails, error) {
	for _, s := range f.sessions {
		if s.ID == id {
			return s, admin.SessionDetails{Login: "alice", Remote: "192.0.2.1:5", Messages: []admin.MessageInfo{{In: true, Type: "connection", Bytes: 100}}}, nil
		}
	}
	return state.Session{}, admin.SessionDetails{}, state.ErrNotFound
}

func (f *fakeDeployment) PodStates(context.Context) (map[string]*admin.PodState, error) {
	states := map[string]*admin.PodState{"a": {Statistics: admin.Statistics{Connections: 2, Spliced: 1, Published: 1}, Version: "5.2.0"}, "b": nil}
	if f.sides != nil {
		states = map[string]*admin.PodState{"a": {Sides: f.sides}, "b": {Sides: f.sides}, "c": nil, "d": {}}
	}
	for pod, host := range f.hosts {
		states[pod] = &admin.PodState{Host: host}
	}
	return states, f.fail
}

func (f *fakeDeployment) Histories(context.Context) (map[string]*json.RawMessage, error) {
	return f.histories, nil
}

func (f *fakeDeployment) Failures(context.Context) (map[string]*[]ends.Failure, error) {
	return f.failures, nil
}

func (f *fakeDeployment) StreamRecord(_ context.Context, e admin.StreamEntry) (*ends.Record, error) {
	if e.MediaID != "m0" {
		return nil, f.fail
	}
	return &ends.Record{
		Hooks:   []ends.Hook{{Method: "publishStream", Count: 1}, {Method: "StreamStatusEvent", Count: 2, Took: 5 * time.Millisecond, Failed: true}},
		Quality: []ends.Quality{{At: 1000, Kbps: 400, FPS: 24}, {At: 1002, Kbps: 500, FPS: 25, Lost: 3}},
	}, nil
}

func (f *fakeDeployment) EndedStream(_ context.Context, mediaID string) (*ends.Record, error) {
	return f.ends.Stream(ends.Stream{MediaID: mediaID}), nil
}

func (f *fakeDeployment) EndedStreams(context.Context) (map[string]*[]ends.Record, error) {
	list := []ends.Record{}
	if f.ends != nil {
		list = f.ends.LastEnded(100)
	}
	return map[string]*[]ends.Record{"a": &list, "b": nil}, nil
}

func newDeployment(sessions int) *fakeDeployment {
	f := &fakeDeployment{}
	for i := range sessions {
		f.sessions = append(f.sessions, state.Session{ID: fmt.Sprintf("/192.0.2.%d:80/%04d", i%250, i), App: fmt.Sprint("app", i%3), Owner: state.Owner{Pod: "a"}})
	}
	for i := range 3 {
		id := f.sessions[i].ID
		f.streams = append(f.streams, admin.StreamEntry{MediaID: fmt.Sprint("m", i), Name: fmt.Sprint("s", i), App: "app0", Session: id, Published: true, Status: "PUBLISHING", Pod: "a",
			Tracks: []state.Track{{Kind: "video", Mime: "video/VP8", Width: 640, Height: 360}, {Kind: "audio", Mime: "audio/opus"}}, AudioMuted: i == 1})
		for j := range i {
			f.streams = append(f.streams, admin.StreamEntry{MediaID: fmt.Sprint("p", i, j), Name: fmt.Sprint("s", i), Session: id, Status: "PLAYING", Pod: "b"})
		}
	}
	return f
}

func serve(t *testing.T, f *fakeDeployment, viewers int) string {
	t.Helper()
	c := New(Config{Pod: "a", Ready: func() bool { return !f.closed.Load() }, Version: "5.2.0", Settings: func() string { return "rest: {users: {ops: '***'}}\n" }, Viewers: viewers, Refresh: 10 * time.Millisecond}, f, zerolog.New(zerolog.NewTestWriter(t)))
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Cleanup(func() { f.closed.Store(true) }) // ends live feeds
	return server.URL + pathPrefix
}

func get(t *testing.T, method, address string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// viewer reads events.
type viewer struct {
	t     *testing.T
	lines *bufio.Scanner
}

func watch(t *testing.T, address string) *viewer {
	t.Helper()
	res := get(t, http.MethodGet, address)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %d %s", address, res.StatusCode, res.Header.Get("Content-Type"))
	}
	v := &viewer{t: t, lines: bufio.NewScanner(res.Body)}
	v.lines.Buffer(nil, 1<<20)
	return v
}

// await reads up to an event and returns its data; ok is false at the end of the stream.
func (v *viewer) await(event string, into any) (ok bool) {
	v.t.Helper()
	for v.lines.Scan() {
		if v.lines.Text() != "event: "+event {
			continue
		}
		v.lines.Scan()
		if err := json.Unmarshal([]byte(strings.TrimPrefix(v.lines.Text(), "data: ")), into); err != nil {
			v.t.Fatalf("%s: %v", event, err)
		}
		return true
	}
	return false
}

func TestPageHasSecurityPolicy(t *testing.T) {
	base := serve(t, newDeployment(3), 1)
	for path, status := range map[string]int{"": 200, "nothing": 404, "static/": 404, "live?view=nonsense": 400, "live?view=streams&limit=201": 400, "live?view=streams&sort=kbps": 400, "live?view=session": 400} {
		res := get(t, http.MethodGet, base+path)
		if res.StatusCode != status {
			t.Errorf("%q: %d, want %d", path, res.StatusCode, status)
		}
		if p := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; script-src 'self';") || strings.Contains(p, "unsafe") {
			t.Errorf("%q: policy %q", path, p)
		}
	}
	if res := get(t, http.MethodPost, base); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

// Browsers cache files of this version, whose address has a hash, but not those of another version.
func TestFilesAreCachedByVersion(t *testing.T) {
	base := serve(t, newDeployment(3), 1)
	files, err := fs.Sub(static, "static")
	if err != nil {
		t.Fatal(err)
	}
	for version, kept := range map[string]bool{hash(files): true, "older": false} {
		res := get(t, http.MethodGet, base+"static/"+version+"/app.js")
		if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") || strings.Contains(res.Header.Get("Cache-Control"), "immutable") != kept {
			t.Errorf("%s: %d %v", version, res.StatusCode, res.Header)
		}
	}
}

func TestPodsAreSortedByWhatIsWrong(t *testing.T) {
	of := func(level string) []admin.Finding { return []admin.Finding{{Level: level}} }
	pods := []podRow{
		{Pod: "silent", State: "silent"},
		{Pod: "faulty", State: "ready", Health: append(of("warning"), of("fault")...)},
		{Pod: "draining", State: "draining"},
		{Pod: "warned", State: "ready", Health: of("warning")},
		{Pod: "sound", State: "ready"},
	}
	for i, p := range pods[1:] {
		if p.trouble() >= pods[i].trouble() {
			t.Errorf("%s is not before %s", pods[i].Pod, p.Pod)
		}
	}
}

func TestConsoleServesSettingsAndDocuments(t *testing.T) {
	base := serve(t, newDeployment(3), 1)
	for _, tt := range []struct {
		path, text string
		status     int
	}{
		{"settings.yaml", "ops: '***'", http.StatusOK},
		{"docs/", `<a href="configuration.md">Configuration</a>`, http.StatusOK},
		{"docs/metrics.md", "<title>Metrics – WCS gateway</title>", http.StatusOK},
		{"docs/metrics.md", `<td><code>wcs_stream_ends_total</code></td>`, http.StatusOK},
		{"docs/metrics.md", `<h2 id="reasons">Reasons</h2>`, http.StatusOK},
		{"docs/docs.go", "no such document", http.StatusNotFound},
		{"docs/..%2fdocs/metrics.md", "no such document", http.StatusNotFound},
	} {
		res, err := http.Get(base + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tt.status || !strings.Contains(string(body), tt.text) {
			t.Errorf("%s: %d %.300s", tt.path, res.StatusCode, body)
		}
	}
}

func TestConsoleShowsStreamsAndTheirPlayers(t *testing.T) {
	base := serve(t, newDeployment(3), 2)
	v := watch(t, base+"live?view=streams&sort=players&desc=1&limit=2")
	var hello struct{ Pod, Assets string }
	var o overview
	var rows rowsEvent[streamRow]
	if !v.await("hello", &hello) || hello.Pod != "a" || len(hello.Assets) != 16 {
		t.Errorf("hello %+v", hello)
	}
	if !v.await("overview", &o) || o.Totals != (totals{Sessions: 2, Spliced: 1, Published: 1}) || len(o.Pods) != 2 || o.Pods[0].State != "silent" {
		t.Errorf("overview %+v", o)
	}
	if !v.await("rows", &rows) || rows.Total != 3 || len(rows.Rows) != 2 || rows.Rows[0].Name != "s2" || rows.Rows[0].ByPod["b"] != 2 || rows.Rows[0].Kbps != nil {
		t.Errorf("rows %+v", rows)
	}
	var one streamPage
	if !watch(t, base+"live?view=stream&id=m0").await("stream", &one) || *one.Kbps != 500 || one.Video.Codec != "VP8" || one.Audio.Codec != "opus" || len(one.List) != 0 {
		t.Errorf("stream %+v", one)
	}
	if h := one.Hooks; len(h) != 2 || h[0].Method != "StreamStatusEvent" || h[0].Count != 2 || h[0].Took != 5 || !h[0].Failed || h[1].Method != "publishStream" {
		t.Errorf("hooks %+v", h)
	}
	q := one.Quality
	if n := len(q.Series.Kbps); n != 60 || q.Step != 10_000 || q.End != 10_020_000 || *q.Series.Kbps[n-1] != 500 || *q.Series.Lost[n-1] != 3 ||
		q.Series.FPS[n-2] != nil || *q.Series.FPS[n-3] != 24 || q.Series.Kbps[0] != nil {
		t.Errorf("quality %+v", q)
	}
}

func TestOverviewAddsUpSidesOfApplications(t *testing.T) {
	f := newDeployment(3)
	f.sides = []admin.Side{
		{App: "shop", Upstream: "old", Sessions: 3, Linked: 2, Published: 1, Played: 5, Commands: map[string]int64{"call": 1, "playStream": 5, "ping": 1}},
		{App: "shop", Sessions: 2, Published: 1, Played: 4, Commands: map[string]int64{"playStream": 4}}, {Upstream: "old", Sessions: 1},
	}
	want := []sideRow{
		{Upstream: "old", Sessions: 2, Commands: []commandCount{}},
		{App: "shop", Sessions: 4, Published: 2, Played: 8, Commands: []commandCount{{"playStream", 8}}},
		{App: "shop", Upstream: "old", Sessions: 6, Linked: 4, Published: 2, Played: 10, Commands: []commandCount{{"playStream", 10}, {"call", 2}, {"ping", 2}}},
	}
	var o overview
	if !watch(t, serve(t, f, 1)+"live?view=pods").await("overview", &o) || !reflect.DeepEqual(o.Sides, want) {
		t.Errorf("sides %+v, want %+v", o.Sides, want)
	}
}

func TestConsoleShowsSessionsAndDetails(t *testing.T) {
	f := newDeployment(1000)
	base := serve(t, f, 4)
	var rows rowsEvent[sessionRow]
	if !watch(t, base+"live?view=sessions&q=APP1&offset=20&limit=10").await("rows", &rows) || rows.Total != 1000 || rows.Matched != 333 || len(rows.Rows) != 10 || rows.Offset != 20 {
		t.Errorf("rows %+v", rows)
	}
	var one sessionPage
	if !watch(t, base+"live?view=session&id="+f.sessions[2].ID).await("session", &one) || one.Login != "alice" || one.Published != 1 || one.Played != 2 || one.Messages[0].Dir != "in" {
		t.Errorf("session %+v", one)
	}
	var none struct{ Gone bool }
	if !watch(t, base+"live?view=session&id=nobody").await("session", &none) || !none.Gone {
		t.Error("an unknown session is not reported as gone")
	}
}

func TestPageOfStreamShowsWhyItEnded(t *testing.T) {
	f := newDeployment(3)
	f.ends = ends.New(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ends"}, nil), true)
	base := serve(t, f, 3)
	v := watch(t, base+"live?view=stream&id=m1")
	var page endedPage
	if !v.await("stream", &page) || page.Gone || page.Name != "s1" {
		t.Fatalf("page %+v", page)
	}
	f.gone.Store(true)
	page = endedPage{}
	if !v.await("stream", &page) || page.endedRow != (endedRow{Name: "s1"}) || !page.Gone {
		t.Errorf("before the end is recorded: %+v", page)
	}
	f.ends.Called(f.sessions[1].ID, "publishStream", map[string]json.RawMessage{"mediaSessionId": json.RawMessage(`"m1"`), "published": json.RawMessage("true")}, time.Now(), nil)
	f.ends.Keep(ends.Stream{Session: f.sessions[1].ID, MediaID: "m1"}, ends.Publish,
		ends.Ended{Name: "s1", App: "app0", Status: "FAILED", Info: "Failed by ICE timeout", Reason: ends.ICETimeout})
	for page.Gone && page.Reason == "" && v.await("stream", &page) {
	}
	wantEnd := func(r endedRow) {
		t.Helper()
		want := endedRow{MediaID: "m1", Name: "s1", App: "app0", Session: f.sessions[1].ID, Status: "FAILED", Info: "Failed by ICE timeout", Reason: ends.ICETimeout, Class: ends.Client, Failed: true, At: r.At}
		if r != want || r.At == 0 {
			t.Errorf("end %+v, want %+v", r, want)
		}
	}
	wantEnd(page.endedRow)
	var later endedPage
	if !watch(t, base+"live?view=stream&id=m1").await("stream", &later) || len(later.Hooks) != 1 {
		t.Errorf("a page that is opened after the end: %+v", later)
	}
	wantEnd(later.endedRow)
	var list endedEvent
	if !watch(t, base+"live?view=streams").await("ended", &list) || len(list.Rows) != 1 {
		t.Fatalf("ended streams %+v", list)
	}
	wantEnd(list.Rows[0])
}

// Pods are found and sorted by the hosts that tables show. A pod that does not answer has only its id.
func TestTablesSearchAndSortPodsByHost(t *testing.T) {
	f := newDeployment(4)
	f.hosts = map[string]string{"a": "zeta", "c": "eta"}
	f.sessions[1].Owner.Pod, f.streams[0].Pod, f.sessions[2].Owner.Pod = "c", "c", "b"
	base := serve(t, f, 3)
	var sessions rowsEvent[sessionRow]
	if !watch(t, base+"live?view=sessions&q=ZETA&limit=1").await("rows", &sessions) || sessions.Matched != 2 {
		t.Errorf("rows of a host: %+v", sessions)
	}
	pods := func(rows []sessionRow) (list []string) {
		for _, r := range rows {
			list = append(list, r.Pod)
		}
		return list
	}
	if !watch(t, base+"live?view=sessions&sort=pod").await("rows", &sessions) || !slices.Equal(pods(sessions.Rows), []string{"b", "c", "a", "a"}) {
		t.Errorf("rows by host: %+v", sessions)
	}
	var streams rowsEvent[streamRow]
	if !watch(t, base+"live?view=streams&sort=pod&desc=1&q=eta").await("rows", &streams) || streams.Matched != 3 || streams.Rows[2].Pod != "c" {
		t.Errorf("rows by host: %+v", streams)
	}
}

func TestViewersAreBounded(t *testing.T) {
	base := serve(t, newDeployment(3), 1)
	var hello any
	watch(t, base+"live").await("hello", &hello)
	if res := get(t, http.MethodGet, base+"live"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second viewer: %d", res.StatusCode)
	}
}

func TestLiveEventsEndWhenPodDrains(t *testing.T) {
	f := newDeployment(3)
	base := serve(t, f, 1)
	v := watch(t, base+"live")
	var any any
	v.await("overview", &any)
	f.closed.Store(true)
	if v.await("never", &any) {
		t.Error("unexpected event")
	}
	if res := get(t, http.MethodGet, base+"live"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("viewer of a draining pod: %d", res.StatusCode)
	}
}

func TestPageReportsUnavailableRedis(t *testing.T) {
	f := newDeployment(3)
	f.fail = state.ErrUnavailable
	var problem struct{ Text string }
	if !watch(t, serve(t, f, 1)+"live?view=sessions").await("problem", &problem) || !strings.Contains(problem.Text, "Redis") {
		t.Errorf("problem %+v", problem)
	}
}

// A page equals that of a full sort, for any order of rows, and few other rows are held.
func TestTableSelectsSortedPage(t *testing.T) {
	for range 200 {
		v := view{Name: viewSessions, Offset: rand.IntN(50), Limit: rand.IntN(50), Down: rand.IntN(2) == 0}
		tab := table[sessionRow]{view: v, order: sessionOrder("app", nil)}
		var all []sessionRow
		for i := range rand.IntN(2000) {
			r := sessionRow{Session: fmt.Sprintf("%05d", i), App: fmt.Sprint(rand.IntN(5))}
			all = append(all, r)
		}
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, r := range all {
			tab.add(r)
			if most := 2*(v.Offset+v.Limit) + maxRows; len(tab.rows) > most {
				t.Fatalf("%d rows are held, want at most %d", len(tab.rows), most)
			}
		}
		slices.SortFunc(all, sessionOrder("app", nil))
		if v.Down {
			slices.Reverse(all)
		}
		want := all[min(v.Offset, len(all)):min(v.Offset+v.Limit, len(all))]
		if got := tab.page(); !slices.Equal(got, want) || tab.matched != len(all) {
			t.Fatalf("%+v: %d rows, want %d", v, len(got), len(want))
		}
	}
}

// The metrics are the gateway's: the test fails if one is renamed.
func TestRecorderSamplesMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := gateway.NewMetrics(registry)
	r := NewRecorder(registry, func() admin.Statistics { return admin.Statistics{Connections: 7, Published: 2, Played: 5} }, zerolog.Nop())
	was, err := r.totals()
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		m.StoreCall("claim_stream", 3*time.Millisecond, nil)
	}
	m.StoreCall("claim_stream", time.Hour, nil)
	m.SFUCall("whip", 30*time.Millisecond, nil)
	recorder := m.Ends(false)
	for _, reason := range []ends.Reason{ends.ICETimeout, ends.Limit, ends.Stopped} {
		recorder.Add(ends.End{Kind: ends.Play, Reason: reason, App: "defaultApp"})
	}
	is, err := r.totals()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_000_000, 0)
	r.add(is.since(was), at)
	s := r.Samples()[0]
	half, most := s.Redis.quantile(.5), s.Redis.quantile(.95)
	if half == nil || *half < 3 || *half > 10 || most != nil || s.SFU.quantile(.95) == nil || s.Sessions != 7 || s.Failed != 2 || s.NoMedia != 1 || s.At != 100_000 {
		t.Errorf("%+v: %v, %v", s, half, most)
	}
	for range 2 * sampleSteps {
		r.add(Sample{}, at)
	}
	if n := len(r.Samples()); n != sampleSteps {
		t.Errorf("%d samples, want %d", n, sampleSteps)
	}
}

// The samples of all pods are summed by moment. A moment without samples is null. The newest moment is absent
// while a pod does not have it.
func TestHistorySumsPods(t *testing.T) {
	raw := func(s ...Sample) *json.RawMessage {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		m := json.RawMessage(b)
		return &m
	}
	f := newDeployment(3)
	f.histories = map[string]*json.RawMessage{
		"a": raw(Sample{At: 1000, Sessions: 1, SFU: calls{1000: 1}}, Sample{At: 1002, Sessions: 2, Failed: 3}, Sample{At: 1003, Sessions: 3}),
		"b": raw(Sample{At: 1000, Sessions: 10, SFU: calls{2000: 9}}), "c": nil,
	}
	var h historyEvent
	if !watch(t, serve(t, f, 1)+"live").await("history", &h) {
		t.Fatal("no history")
	}
	n := len(h.Series.Sessions)
	if n != sampleSteps || *h.Series.Sessions[n-3] != 11 || h.Series.Sessions[n-2] != nil || *h.Series.Sessions[n-1] != 2 || *h.Series.SFUP50[n-3] != 2 || h.Series.SFUP50[n-1] != nil {
		t.Errorf("series %v", h.Series)
	}
	if h.Pods != 2 || !slices.Equal(h.Silent, []string{"c"}) || *h.Series.Failed[n-1] != 3 || h.End != 10_020_000 {
		t.Errorf("%+v", h)
	}
}

// The failures of all pods are summed by kind, reason and application. The last client is that of the latest.
func TestFailuresOfPodsAreSummed(t *testing.T) {
	at := func(minute int) time.Time { return time.UnixMilli(0).Add(time.Duration(minute) * time.Minute) }
	one := func(reason ends.Reason, app string, n int, remote string, minute int) ends.Failure {
		return ends.Failure{Kind: ends.Publish, Reason: reason, Class: reason.Class(), App: app, Count: n, Remote: remote, At: at(minute)}
	}
	f := newDeployment(3)
	many := []ends.Failure{one(ends.ICETimeout, "app0", 4, "192.0.2.1:1", 9), one(ends.Limit, "app0", 7, "192.0.2.2:1", 3)}
	for i := range maxFailures {
		many = append(many, one(ends.BadOffer, fmt.Sprint("other", i), 1, "", 0))
	}
	f.failures = map[string]*[]ends.Failure{"a": &many, "b": {one(ends.ICETimeout, "app0", 5, "192.0.2.3:1", 8)}, "c": nil}
	var got failuresEvent
	if !watch(t, serve(t, f, 1)+"live").await("failures", &got) {
		t.Fatal("no failures")
	}
	want := []failureRow{
		{ends.Publish, ends.ICETimeout, ends.Client, "app0", 9, "192.0.2.1:1", at(9).UnixMilli()},
		{ends.Publish, ends.Limit, ends.Client, "app0", 7, "192.0.2.2:1", at(3).UnixMilli()},
	}
	if len(got.Rows) != maxFailures || got.More != 2 || !slices.Equal(got.Rows[:2], want) {
		t.Errorf("%d rows and %d more, first %+v", len(got.Rows), got.More, got.Rows[:2])
	}
}
