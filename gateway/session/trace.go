package session

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

// startTrace is the trace of a publishStream or playStream, from the command until the stream is up or has
// ended. What is called for the stream meanwhile is part of it, if its context comes from in. The zero value
// traces nothing.
type startTrace struct{ span trace.Span }

// beginTrace begins the trace of a stream that a client has asked for. It has no name that a user has given,
// but for that in the room's, by which LiveKit's logs are searched.
func (st *stream) beginTrace() {
	t := st.sess.table
	if t.Tracer == nil {
		return
	}
	name := wcs.CmdPlayStream
	if st.published {
		name = wcs.CmdPublishStream
	}
	_, span := t.Tracer.Start(t.Context, string(name), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("wcs.app", st.sess.app.Key), attribute.String("wcs.session", st.sess.id), attribute.String("wcs.media", st.id),
	))
	if span.IsRecording() {
		st.trace = startTrace{span}
	}
}

// in returns ctx with the trace.
func (t startTrace) in(ctx context.Context) context.Context {
	if t.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, t.span)
}

// answered notes that the client has LiveKit's answer: from now on it is the media that is waited for.
func (t startTrace) answered(st *stream) {
	if t.span == nil {
		return
	}
	t.span.AddEvent("answered", trace.WithAttributes(
		attribute.String("livekit.room", string(st.room)), attribute.String("livekit.identity", string(st.identity)),
	))
}

// up ends the trace of a stream that is up.
func (t startTrace) up() {
	if t.span != nil {
		t.span.End()
	}
}

// failed ends the trace of a stream that has ended before it was up.
func (t startTrace) failed(e endCause) {
	if t.span == nil || !t.span.IsRecording() {
		return
	}
	t.span.SetAttributes(attribute.String("wcs.class", string(e.class)))
	if e.class != classOK {
		t.span.SetStatus(codes.Error, e.info)
	}
	t.span.End()
}

// tracedHook begins the span of a backend's call, if ctx is of a trace. end takes the call's error.
func (t *Table) tracedHook(ctx context.Context, m hooks.Method) (_ context.Context, end func(error)) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := t.Tracer.Start(ctx, "hook "+string(m), trace.WithSpanKind(trace.SpanKindClient))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, classify(err).info)
		}
		span.End()
	}
}
