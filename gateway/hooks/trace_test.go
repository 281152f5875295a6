package hooks

import (
	"net/http"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestSpansOfHooksFollowSemanticConventions(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusForbidden) })
	b := newBackend(t, Config{URL: srv.URL}, Deps{})
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	ctx, span := tracer.Start(t.Context(), "hook connect")
	_, _ = b.Call(ctx, Connect, nil) // it is rejected
	span.End()
	got := map[string]string{}
	for _, kv := range spans.GetSpans()[0].Attributes {
		got[string(kv.Key)] = kv.Value.Emit()
	}
	for name, want := range map[string]string{"http.request.method": "POST", "http.response.status_code": "403", "server.address": "127.0.0.1", "url.full": srv.URL + "/connect"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}
