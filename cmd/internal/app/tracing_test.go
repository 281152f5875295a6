package app

import (
	"errors"
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"wcsgateway/cmd/internal/config"
)

// attributesOf returns the attributes by name.
func attributesOf(all []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range all {
		m[string(kv.Key)] = kv.Value.Emit()
	}
	return m
}

// spanOfRedis traces a failed call to Redis and returns its span.
func spanOfRedis(t *testing.T) tracetest.SpanStub {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	cfg := config.Default()
	tracing := newTracing(sdktrace.NewSimpleSpanProcessor(spans), cfg, "1.2.3")
	ctx, span := tracing.tracer().Start(t.Context(), "publishStream")
	tracing.call("redis", redisCall)(ctx, "claim", time.Now(), errors.New("gone"))
	span.End()
	return spans.GetSpans()[0]
}

func TestTracesNameTheService(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got := attributesOf(spanOfRedis(t).Resource.Attributes())
	for name, want := range map[string]string{"service.name": "wcs-gateway", "service.version": "1.2.3", "service.instance.id": host, "wcs.deployment": "default"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestVariablesOfOpenTelemetryNameTheService(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "signalling")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7,deployment.environment.name=test")
	got := attributesOf(spanOfRedis(t).Resource.Attributes())
	for name, want := range map[string]string{"service.name": "signalling", "service.instance.id": "pod-7", "deployment.environment.name": "test", "service.version": "1.2.3"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestSpansOfRedisFollowSemanticConventions(t *testing.T) {
	span := spanOfRedis(t)
	got := attributesOf(span.Attributes)
	for name, want := range map[string]string{"db.system.name": "redis", "db.operation.name": "claim"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got["error.type"] == "" {
		t.Errorf("the failed call has no error.type: %v", got)
	}
}
