package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
)

// newTracedWorld is a pod with a backend whose traces are recorded.
func newTracedWorld(t *testing.T) (*world, *rig.Backend, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	w := emptyWorld()
	w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	b := rig.StartBackend(t)
	backend, err := hooks.New(hooks.Config{
		URL: b.URL, MaxWaiting: 100, Timeout: time.Minute, Methods: []hooks.Method{hooks.PublishStream, hooks.PlayStream, hooks.StreamStatusEvent},
	}, hooks.Deps{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	w.start(t, podA, func(c *Config) {
		app := c.Apps["defaultApp"]
		app.Hooks.Backend = backend
		c.Apps["defaultApp"] = app
	})
	return w, b, spans
}

// ended is the span of a name, once it has ended.
func ended(t *testing.T, spans *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found sdktrace.ReadOnlySpan
	rig.Eventually(t, time.Minute, "the span "+name+" ends", func() bool {
		for _, s := range spans.Ended() {
			if s.Name() == name {
				found = s
			}
		}
		return found != nil
	})
	return found
}

func eventsOf(s sdktrace.ReadOnlySpan) (names []string) {
	for _, e := range s.Events() {
		names = append(names, e.Name)
	}
	return names
}

// A publish is one trace from the command to PUBLISHING. The backend receives its id, and the call to LiveKit
// is part of it. Later work is not.
func TestPublishIsOneTrace(t *testing.T) {
	w, backend, spans := newTracedWorld(t)
	c := w.connect(t, podA)
	publishAV(t, c, "p1", "cam")
	c.Await("setRemoteSDP")
	if n := len(spans.Ended()); n != 1 { // the backend's call
		t.Errorf("%d spans have ended before the stream is up", n)
	}
	w.media(t, podA, translate.RolePublish)
	root, hook := ended(t, spans, "publishStream"), ended(t, spans, "hook publishStream")
	if hook.Parent().SpanID() != root.SpanContext().SpanID() || root.Parent().IsValid() {
		t.Errorf("the hook's parent is %v, the root's %v", hook.Parent(), root.Parent())
	}
	if got := eventsOf(root); !slices.Contains(got, "sfu publish") || !slices.Contains(got, "answered") {
		t.Errorf("events %v", got)
	}
	if got := backend.Await("publishStream").Header.Get("Traceparent"); !strings.Contains(got, root.SpanContext().TraceID().String()) {
		t.Errorf("the backend received the trace %q", got)
	}
	if got := backend.Await("StreamStatusEvent").Header.Get("Traceparent"); got != "" {
		t.Errorf("the backend received the trace %q of an event", got)
	}
	if got := root.Status().Code; got != codes.Unset {
		t.Errorf("status %v", got)
	}
}

// A play that fails is a failed trace with the info that the client received. The backend's refusal is the
// status of its own span.
func TestFailedPlayHasFailedTrace(t *testing.T) {
	w, backend, spans := newTracedWorld(t)
	backend.On("playStream", rig.Refuse(http.StatusForbidden))
	c := w.connect(t, podA)
	playAV(t, c, "v1", "nobody")
	c.WantStatus("v1", "FAILED", "Session does not exist")
	root, hook := ended(t, spans, "playStream"), ended(t, spans, "hook playStream")
	if root.Status().Code != codes.Error || root.Status().Description != "Session does not exist" {
		t.Errorf("the play's status is %v", root.Status())
	}
	if hook.Status().Code != codes.Error {
		t.Errorf("the hook's status is %v", hook.Status())
	}
}
