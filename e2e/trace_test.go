package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"wcsgateway/e2e/rig"
)

// collector takes traces as an OpenTelemetry collector does.
type collector struct {
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var req collectorpb.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &req) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range req.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// traces are the names of the spans in a trace by the name of its root, each once.
func (c *collector) traces() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	roots, all := map[string]string{}, map[string][]string{}
	for _, s := range c.spans {
		if len(s.GetParentSpanId()) == 0 {
			roots[hex.EncodeToString(s.GetTraceId())] = s.GetName()
		}
	}
	for _, s := range c.spans {
		root, ok := roots[hex.EncodeToString(s.GetTraceId())]
		if !ok {
			root = "without a root"
		}
		if name := s.GetName(); name != root && !slices.Contains(all[root], name) {
			all[root] = append(all[root], name)
		}
	}
	for root := range all {
		slices.Sort(all[root])
	}
	return all
}

// With a collector, a publish and a play are one trace each, over the backend, Redis and LiveKit, and nothing
// else is traced: neither the pod's lease nor the regular polls of LiveKit.
func TestPublishAndPlayAreOneTraceEach(t *testing.T) {
	t.Parallel()
	backend, c := rig.StartBackend(t), &collector{}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	s := rig.NewStage(t, map[string]string{
		"WCS_TRACING_ENDPOINT": srv.URL,
		"WCS_LIVEKIT_PLAY":     "signal",
		"WCS_APPLICATIONS":     fmt.Sprintf("{defaultApp: {hooks: {url: %q, methods: [publishStream, playStream]}}}", backend.URL),
	}, "")
	pub := rig.Connect(t, s.Gateway.URL, "defaultApp")
	pub.Publish("pub-1", "test", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	viewer := rig.Connect(t, s.Gateway.URL, "defaultApp")
	viewer.Play("play-1", "test", rig.NewPlayer(t, rig.PeerOptions{}))
	viewer.Stop("play-1", "test")
	viewer.WantStatus("play-1", "STOPPED", "Stopped by user")
	pub.Unpublish("pub-1", "test")
	pub.WantStatus("pub-1", "UNPUBLISHED", "Stopped by publisher stop")
	s.Gateway.Terminate() // sends what it has
	if err := s.Gateway.Wait(); err != nil {
		t.Fatal(err)
	}

	got := c.traces()
	if roots := slices.Sorted(maps.Keys(got)); !slices.Equal(roots, []string{"playStream", "publishStream"}) {
		t.Errorf("traces %v", got)
	}
	for root, want := range map[string][]string{
		"publishStream": {"hook publishStream", "livekit /whip/v1", "redis claim_stream"},
		"playStream":    {"hook playStream", "livekit signal play", "redis add_player"},
	} {
		if !slices.Equal(got[root], want) {
			t.Errorf("%s has %v, not %v", root, got[root], want)
		}
	}
	for _, span := range c.spans {
		if d := time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano()); d <= 0 || d > time.Minute {
			t.Errorf("%s lasts %v", span.GetName(), d)
		}
	}
	if trace := backend.Await("playStream").Header.Get("Traceparent"); trace == "" {
		t.Error("the backend received no trace")
	}
}
