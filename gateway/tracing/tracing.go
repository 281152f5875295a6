// Package tracing records the traces of stream starts with OpenTelemetry. It knows names and texts only;
// every package of the gateway can use it.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Start is the trace of a publishStream or playStream, until the stream is up or has ended. Calls whose
// context comes from In are part of it. The zero value traces nothing.
type Start struct{ span trace.Span }

// Begin starts the trace of a command. Without a tracer it returns the zero value. Of the names that users
// choose, the trace has only the room's, by which LiveKit's logs are searched.
func Begin(ctx context.Context, tracer trace.Tracer, command, app, session, media string) Start {
	if tracer == nil {
		return Start{}
	}
	_, span := tracer.Start(ctx, command, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("wcs.app", app), attribute.String("wcs.session", session), attribute.String("wcs.media", media),
	))
	if !span.IsRecording() {
		return Start{}
	}
	return Start{span}
}

// In returns ctx with the trace.
func (s Start) In(ctx context.Context) context.Context {
	if s.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.span)
}

// Answered marks the time at which the client got LiveKit's answer.
func (s Start) Answered(room, identity string) {
	if s.span != nil {
		s.span.AddEvent("answered", trace.WithAttributes(
			attribute.String("livekit.room", room), attribute.String("livekit.identity", identity),
		))
	}
}

// Up ends the trace of a stream that is up.
func (s Start) Up() {
	if s.span != nil {
		s.span.End()
	}
}

// Failed ends the trace of a stream that ended before it was up. fault is "" if the end was requested.
func (s Start) Failed(class, fault string) {
	if s.span == nil || !s.span.IsRecording() {
		return
	}
	s.span.SetAttributes(attribute.String("wcs.class", class))
	if fault != "" {
		s.span.SetStatus(codes.Error, fault)
	}
	s.span.End()
}

// Call starts the span of a call, if ctx has a trace. end takes the text of the call's error, "" without one.
func Call(ctx context.Context, tracer trace.Tracer, name string) (_ context.Context, end func(fault string)) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, func(string) {}
	}
	ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	return ctx, func(fault string) {
		if fault != "" {
			span.SetStatus(codes.Error, fault)
		}
		span.End()
	}
}
