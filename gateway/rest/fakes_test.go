package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDeployment is an in-memory Deployment.
type fakeDeployment struct {
	streams    []admin.StreamEntry
	sessions   []state.Session
	figures    map[string]admin.Figures
	statistics admin.Statistics
	closed     bool // accepts no new clients
	fail       error
	failAfter  int // streams or sessions that are returned before fail

	ended []string // streams and sessions
}

func (f *fakeDeployment) matching(filter admin.StreamFilter) (some []admin.StreamEntry) {
	for _, e := range f.streams {
		fits := filter.Published == nil || *filter.Published == e.Published
		for _, pair := range [][2]string{{filter.Name, e.Name}, {filter.Session, e.Session}, {filter.Status, string(e.Status)}} {
			fits = fits && (pair[0] == "" || pair[0] == pair[1])
		}
		named := len(filter.MediaIDs) == 0
		for _, id := range filter.MediaIDs {
			named = named || id == e.MediaID
		}
		if fits && named {
			some = append(some, e)
		}
	}
	return some
}

func (f *fakeDeployment) EachStream(_ context.Context, filter admin.StreamFilter, yield func([]admin.StreamEntry) error) error {
	for i, e := range f.matching(filter) {
		if f.fail != nil && i == f.failAfter {
			return f.fail
		}
		if err := yield([]admin.StreamEntry{e}); err != nil {
			return err
		}
	}
	return f.fail
}

func (f *fakeDeployment) TerminateStreams(_ context.Context, filter admin.StreamFilter) (int, error) {
	matching := f.matching(filter)
	for _, e := range matching {
		f.ended = append(f.ended, e.MediaID)
	}
	return len(matching), f.fail
}

func (f *fakeDeployment) Figures(context.Context, []admin.StreamEntry) (map[string]admin.Figures, error) {
	return f.figures, f.fail
}

func (f *fakeDeployment) EachSession(_ context.Context, yield func([]state.Session) error) error {
	for _, s := range f.sessions {
		if err := yield([]state.Session{s}); err != nil {
			return err
		}
	}
	return f.fail
}

func (f *fakeDeployment) FindSession(_ context.Context, id string) (state.Session, error) {
	for _, s := range f.sessions {
		if s.ID == id {
			return s, f.fail
		}
	}
	return state.Session{}, fmt.Errorf("find: %w", state.ErrNotFound)
}

func (f *fakeDeployment) TerminateSession(ctx context.Context, id string) error {
	if _, err := f.FindSession(ctx, id); err != nil {
		return err
	}
	f.ended = append(f.ended, id)
	return nil
}

func (f *fakeDeployment) PodStatistics() admin.Statistics { return f.statistics }

func (f *fakeDeployment) DeploymentStatistics(context.Context) (admin.Statistics, error) {
	s := f.statistics
	s.Pods, s.Connections = 2, 2*s.Connections
	return s, f.fail
}

func (f *fakeDeployment) Ready() bool { return !f.closed }

// fakeParts implements the optional dependencies and records their calls.
type fakeParts struct {
	calls []string
	fail  error
}

func (f *fakeParts) record(format string, args ...any) error {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.fail
}

func (f *fakeParts) Snapshot(_ context.Context, name string) ([]byte, error) {
	return []byte("PNG of " + name), f.record("snapshot %s", name)
}

func (f *fakeParts) StartRecording(_ context.Context, name string, template translate.FileTemplate) (string, error) {
	return "file", f.record("record %s as %q", name, template)
}

func (f *fakeParts) StopRecording(_ context.Context, name string) error {
	return f.record("stop %s", name)
}

func (f *fakeParts) Recordings(context.Context) ([]admin.Recording, error) {
	return []admin.Recording{{MediaID: "pub", File: "a/s.mp4"}}, f.record("recordings")
}

func (f *fakeParts) StartPush(_ context.Context, name, address string, full bool) (admin.Push, error) {
	return admin.Push{ID: "EG_1", Stream: name, Address: address}, f.record("push %s to %s, full %v", name, address, full)
}

func (f *fakeParts) Pushes(_ context.Context, address string) (all []admin.Push, err error) {
	for _, p := range []admin.Push{{ID: "EG_1", Stream: "s", Address: "rtmp://h/a"}, {ID: "EG_2", Stream: "t", Address: "rtmp://h/a"}} {
		if address == "" || address == p.Address {
			all = append(all, p)
		}
	}
	return all, f.record("pushes to %q", address)
}

func (f *fakeParts) StopPush(_ context.Context, id string) error { return f.record("stop push %s", id) }

func (f *fakeParts) SendToSession(_ context.Context, session, operation string, payload json.RawMessage) error {
	return f.record("data for %s: %s %q", session, payload, operation)
}

func (f *fakeParts) SendStreamEvent(_ context.Context, name, typ string, payload json.RawMessage) error {
	return f.record("event of %s: %s %s", name, typ, payload)
}

// logged collects the log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// world is an API behind a test server.
type world struct {
	*httptest.Server
	api        *API
	deployment *fakeDeployment
	parts      *fakeParts
	log        *logged
}

func serve(t *testing.T, cfg Config, change func(*Deps)) *world {
	t.Helper()
	created := time.UnixMilli(1616730493789)
	av := []state.Track{
		{Name: "a", Kind: "audio", Mime: "audio/opus"}, {Name: "v", Kind: "video", Mime: "video/VP8", Width: 640, Height: 360},
	}
	w := &world{
		deployment: &fakeDeployment{
			streams: []admin.StreamEntry{
				{MediaID: "pub", Name: "s", App: "defaultApp", Session: "/1", Published: true, Status: wcs.StatusPublishing, Tracks: av, MaxKbps: 800, CreatedAt: created, Pod: "a"},
				{MediaID: "play", Name: "s", App: "defaultApp", Session: "/2", Status: wcs.StatusPlaying, Tracks: av[:1], CreatedAt: created, Pod: "b"},
				{MediaID: "new", Name: "t", App: "defaultApp", Session: "/2", Published: true, Status: "PENDING", CreatedAt: created, Pod: "b"},
			},
			sessions: []state.Session{
				{ID: "/1", App: "defaultApp", ClientVersion: "2.0", CreatedAt: created, Resumable: true}, {ID: "/2", App: "other", CreatedAt: created},
			},
			figures:    map[string]admin.Figures{"pub": {"VIDEO_RATE": 500_000, "VIDEO_WIDTH": 640}},
			statistics: admin.Statistics{Pods: 1, Connections: 3, Spliced: 1, Published: 1, Played: 2},
		},
		parts: &fakeParts{}, log: &logged{},
	}
	cfg.NodeID = "node"
	deps := Deps{Deployment: w.deployment, Snapshots: w.parts, Recorder: w.parts, Pusher: w.parts, Messenger: w.parts, Log: zerolog.New(w.log)}
	if change != nil {
		change(&deps)
	}
	api, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	w.api, w.Server = api, httptest.NewServer(api)
	t.Cleanup(func() {
		w.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is one
	})
	return w
}

// users returns one user, ops, with the password secret.
func users(t *testing.T) map[string]string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"ops": string(hash)}
}

// reply is a response with its body.
type reply struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(t *testing.T, method, path, body string, change func(*http.Request)) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		text.WriteString(" cut off")
	}
	return reply{res.StatusCode, res.Header, text.String()}
}

func (w *world) post(t *testing.T, path, body string) reply {
	t.Helper()
	return w.do(t, http.MethodPost, prefix+path, body, nil)
}
