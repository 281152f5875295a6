package session

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"unicode/utf8"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/rates"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Table implements admin.Local but for State: it executes requests of operators on the sessions and streams
// of this pod.

// EndStreams implements admin.Local.
func (t *Table) EndStreams(ctx context.Context, mediaIDs []string) (n int) {
	for _, ended := range onLoops(ctx, t, mediaIDs, func(st *stream) bool {
		running := st.ending == nil
		st.end(endCause{status: st.stopped, info: wcs.InfoStoppedByRESTTerminate, reason: ends.Terminated})
		return running
	}) {
		if ended {
			n++
		}
	}
	return n
}

// onLoops calls f for this pod's streams with the given media ids, each on its session's loop, and returns
// the results by media id. Streams whose loop does not call f before ctx is done are missing.
func onLoops[T any](ctx context.Context, t *Table, mediaIDs []string, f func(*stream) T) map[string]T {
	ids := make(map[string]bool, len(mediaIDs))
	for _, id := range mediaIDs {
		ids[id] = true
	}
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		results = make(map[string]T)
	)
	for _, st := range t.streams.all() {
		if !ids[st.id] {
			continue
		}
		wg.Go(func() {
			result, err := callOn(ctx, st.sess, func() T { return f(st) })
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			results[st.id] = result
		})
	}
	wg.Wait()
	return results
}

// EndSession implements admin.Local.
func (t *Table) EndSession(id string) bool {
	s := t.sessionByID(id)
	if s == nil {
		return false
	}
	s.Terminate(socket.ClosedTerminated)
	return true
}

// Figures implements admin.Local.
func (t *Table) Figures(ctx context.Context, mediaIDs []string) map[string]admin.Figures {
	return onLoops(ctx, t, mediaIDs, (*stream).figures)
}

func (st *stream) figures() admin.Figures {
	f := make(admin.Figures)
	if video := st.tracks[translate.Video]; video.Width > 0 && video.Height > 0 {
		f["VIDEO_WIDTH"], f["VIDEO_HEIGHT"] = int64(video.Width), int64(video.Height)
	}
	if st.rates == nil || st.ending != nil {
		return f
	}
	m := st.rates.Measure()
	if !m.Known {
		return f
	}
	f["VIDEO_RATE"], f["VIDEO_FPS"], f["VIDEO_LOST"] = m.Video.Rate, int64(m.Video.FPS), int64(m.Video.Lost)
	if m.Source == rates.FromClient { // a probe only sees its own requests
		f["VIDEO_NACK"], f["VIDEO_PLI"] = int64(m.Video.NACK), int64(m.Video.PLI)
	}
	return f
}

// Record implements admin.Local. It returns when LiveKit has answered.
func (t *Table) Record(ctx context.Context, r admin.RecordRequest) admin.RecordReply {
	st := t.streams.find(r.Publisher)
	if st == nil {
		return admin.NewRecordReply("", admin.ErrNoSuchStream)
	}
	done := make(chan admin.RecordReply, 1)
	st.sess.loop.Post(func() {
		st.handleRecord(r, func(file string, err error) { done <- admin.NewRecordReply(file, err) })
	})
	select {
	case reply := <-done:
		return reply
	case <-ctx.Done():
		return admin.NewRecordReply("", admin.ErrRecordingFailed)
	}
}

// handleRecord executes a request. then runs on the loop, at once or when LiveKit has answered.
func (st *stream) handleRecord(r admin.RecordRequest, then func(file string, err error)) {
	switch {
	case st.ending != nil || st.phase != phaseUp || !st.published:
		then("", admin.ErrNoSuchStream)
	case r.Stop && !st.egresses.StopRecording():
		then("", admin.ErrNotRecorded)
	case r.Stop:
		then("", nil)
	case !st.sess.app.Record:
		then("", admin.ErrRecordingForbidden)
	default:
		st.startRecording(r.Template, func(file string, err error) {
			if err != nil {
				file, err = "", admin.ErrRecordingFailed
			}
			then(file, err)
		})
	}
}

// SendData implements admin.Local.
func (t *Table) SendData(ctx context.Context, d admin.SessionData) string {
	s := t.sessionByID(d.Session)
	if s == nil {
		return admin.DataNoReceiver
	}
	return s.dataResult(ctx, func() string {
		if s.closed {
			return admin.DataNoReceiver
		}
		if !s.relay(wcs.OnData(d.OperationID, d.Payload)) {
			return "the client's queue is full"
		}
		return admin.DataSent
	})
}

// PublishData implements admin.Local.
func (t *Table) PublishData(ctx context.Context, publisher translate.Identity, payload []byte) string {
	st := t.streams.find(publisher)
	if st == nil {
		return admin.DataNoReceiver
	}
	return st.sess.dataResult(ctx, func() string {
		if st.ending != nil || st.phase != phaseUp {
			return admin.DataNoReceiver
		}
		if err := st.publishData(payload); err != nil {
			return err.Error()
		}
		return admin.DataSent
	})
}

// dataResult runs f on the loop and returns its result, or the text of the error if f did not run.
func (s *Session) dataResult(ctx context.Context, f func() string) string {
	result, err := callOn(ctx, s, f)
	if err != nil {
		return err.Error()
	}
	return result
}

// CheckData validates data of a backend like that of a client.
func (t *Table) CheckData(operationID string, payload json.RawMessage) error {
	limits := &t.Settings().Limits
	err := errors.Join(limits.CheckID(operationID), limits.CheckPayload(payload))
	if err == nil && (!utf8.Valid(payload) || !json.Valid(payload)) {
		err = wcs.ErrMalformed
	}
	if err == nil && limits.JSONDepth > 0 && wcs.Deeper(payload, limits.JSONDepth) {
		err = apps.ErrTooDeep
	}
	return err
}

// Statistics returns the figures of this pod.
func (t *Table) Statistics() admin.Statistics {
	s := admin.Statistics{Pods: 1, Connections: t.Sockets()}
	for _, st := range t.streams.all() {
		switch {
		case !st.settled.Load():
		case st.published:
			s.Published++
		default:
			s.Played++
		}
	}
	return s
}

// Session implements admin.Local.
func (t *Table) Session(ctx context.Context, id string) *admin.SessionDetails {
	s := t.sessionByID(id)
	if s == nil {
		return nil
	}
	d, _ := callOn(ctx, s, func() *admin.SessionDetails { // nil after an error
		return &admin.SessionDetails{Login: s.login, Remote: s.Remote, Detached: s.resume.isDetached(), Messages: s.messages.Last()}
	})
	return d
}
