package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/translate/livekit"
)

// tracing sends traces to a collector. A nil tracing sends none: its methods return the untraced defaults.
type tracing struct {
	provider   *sdktrace.TracerProvider
	transports []*http.Transport // of the clients
}

// closeTracing bounds the wait for the last traces at the end.
const closeTracing = 3 * time.Second

// openTracing returns nil if tracing is not configured. It does not connect: an unreachable collector is
// logged.
func openTracing(cfg config.Config, version string, log zerolog.Logger) (*tracing, error) {
	if cfg.Tracing.Endpoint == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(cfg.Tracing.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	// The SDK has one error handler for the process.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn().Err(err).Msg("traces lost") }))
	return newTracing(sdktrace.NewBatchSpanProcessor(exporter), cfg, version), nil
}

func newTracing(spans sdktrace.SpanProcessor, cfg config.Config, version string) *tracing {
	return &tracing{provider: sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(spans),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Tracing.SampleRatio))),
		sdktrace.WithResource(serviceResource(cfg, version)),
	)}
}

// serviceResource names this process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override its attributes.
func serviceResource(cfg config.Config, version string) *resource.Resource {
	own := []attribute.KeyValue{
		semconv.ServiceName("wcs-gateway"), semconv.ServiceVersion(version), semconv.ServiceInstanceID(hostName()),
		attribute.String("wcs.deployment", cfg.Deployment),
	}
	r, err := resource.New(context.Background(), resource.WithAttributes(own...), resource.WithFromEnv())
	if err != nil { // malformed variables
		return resource.NewSchemaless(own...)
	}
	return r
}

func (t *tracing) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("wcsgateway")
}

// clients returns the clients for calls to LiveKit, which become part of a trace. nil means the SFU's own
// clients.
func (t *tracing) clients(maxConns int) (control, plays *http.Client) {
	if t == nil {
		return nil, nil
	}
	controlConns, playConns := livekit.SplitConns(maxConns)
	return t.client(controlConns), t.client(playConns)
}

func (t *tracing) client(maxConns int) *http.Client {
	transport := livekit.NewTransport(maxConns)
	t.transports = append(t.transports, transport)
	return livekit.NewClient(otelhttp.NewTransport(transport,
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithFilter(func(r *http.Request) bool { return trace.SpanFromContext(r.Context()).IsRecording() }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "livekit " + r.URL.Path }),
	))
}

// call records the calls that belong to a trace, to Redis and to LiveKit by signalling. attributes returns
// those of an operation.
func (t *tracing) call(to string, attributes func(op string) []attribute.KeyValue) func(ctx context.Context, op string, start time.Time, err error) {
	if t == nil {
		return nil
	}
	tracer := t.tracer()
	return func(ctx context.Context, op string, start time.Time, err error) {
		if !trace.SpanFromContext(ctx).IsRecording() {
			return
		}
		_, span := tracer.Start(ctx, to+" "+op, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(start), trace.WithAttributes(attributes(op)...))
		if err != nil {
			span.SetAttributes(semconv.ErrorType(err))
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// redisCall and liveKitCall return the attributes of calls, by the semantic conventions of OpenTelemetry for
// databases; there are none for LiveKit.
func redisCall(op string) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.DBSystemNameRedis, semconv.DBOperationName(op)}
}

func liveKitCall(op string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("livekit.operation", op)}
}

// close closes the client's idle connections and sends the last traces.
func (t *tracing) close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTracing)
	defer cancel()
	for _, transport := range t.transports {
		transport.CloseIdleConnections() // the client's own method does not reach it
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}
