package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"unicode/utf8"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/socket"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// local executes admin requests on the sessions and streams of this pod.
type local struct{ g *Gateway }

func newAdmin(g *Gateway) *admin.Service {
	directory := struct {
		Directory
		Resumption
		Store
	}{g.deps.Directory, g.deps.Resumption, g.deps.Store}
	return admin.New(admin.Deps{
		Pod: g.cfg.Pod, Local: local{g}, Directory: directory, Bus: g.bus, CheckData: g.checkData, Ready: g.Ready, History: g.deps.History,
		Template: g.cfg.Egress.Template, StartTimeout: g.cfg.Egress.StartTimeout, Recovered: g.recovered, Log: g.log,
	})
}

// Admin queries and controls the deployment.
func (g *Gateway) Admin() *admin.Service { return g.admin }

// EndStreams implements admin.Local.
func (l local) EndStreams(ctx context.Context, mediaIDs []string) (n int) {
	for _, ended := range onLoops(ctx, l.g, mediaIDs, func(st *stream) bool {
		running := st.ending == nil
		st.end(ending{status: st.stopped(), info: wcs.InfoStoppedByRESTTerminate, class: classOperator})
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
func onLoops[T any](ctx context.Context, g *Gateway, mediaIDs []string, f func(*stream) T) map[string]T {
	ids := make(map[string]bool, len(mediaIDs))
	for _, id := range mediaIDs {
		ids[id] = true
	}
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		results = make(map[string]T)
	)
	for _, st := range g.streams.all() {
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
func (l local) EndSession(id string) bool {
	s := l.g.sessionByID(id)
	if s == nil {
		return false
	}
	s.terminate(socket.ClosedTerminated)
	return true
}

// Figures implements admin.Local.
func (l local) Figures(ctx context.Context, mediaIDs []string) map[string]admin.Figures {
	return onLoops(ctx, l.g, mediaIDs, (*stream).figures)
}

func (st *stream) figures() admin.Figures {
	f := make(admin.Figures)
	set := func(name string, v int) {
		if v > 0 {
			f[name] = int64(v)
		}
	}
	video := st.tracks[translate.Video]
	set("VIDEO_WIDTH", video.Width)
	set("VIDEO_HEIGHT", video.Height)
	if st.rates == nil || st.ending != nil {
		return f
	}
	m, source := st.rates.measure()
	if !m.known {
		return f
	}
	f["VIDEO_RATE"], f["VIDEO_FPS"], f["VIDEO_LOST"] = m.video.Rate, int64(m.video.FPS), int64(m.video.Lost)
	if source == fromClient { // a probe only sees its own requests
		f["VIDEO_NACK"], f["VIDEO_PLI"] = int64(m.video.NACK), int64(m.video.PLI)
	}
	return f
}

// Record implements admin.Local. It returns when LiveKit has answered.
func (l local) Record(ctx context.Context, r admin.RecordRequest) admin.RecordReply {
	st := l.g.streams.find(r.Publisher)
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
func (l local) SendData(ctx context.Context, d admin.SessionData) string {
	s := l.g.sessionByID(d.Session)
	if s == nil {
		return admin.DataNoReceiver
	}
	return s.dataResult(ctx, func() string {
		if s.closed {
			return admin.DataNoReceiver
		}
		s.send(wcs.OnData(d.OperationID, d.Payload))
		return admin.DataSent
	})
}

// PublishData implements admin.Local.
func (l local) PublishData(ctx context.Context, publisher translate.Identity, payload []byte) string {
	st := l.g.streams.find(publisher)
	if st == nil {
		return admin.DataNoReceiver
	}
	return st.sess.dataResult(ctx, func() string {
		if st.ending != nil || st.phase != phaseUp {
			return admin.DataNoReceiver
		}
		if err := st.publishEvent(state.StreamNotice{Type: string(wcs.EventData), Payload: payload}); err != nil {
			return err.Error()
		}
		return admin.DataSent
	})
}

// dataResult runs f on the loop and returns its result, or the text of the error if f did not run.
func (s *session) dataResult(ctx context.Context, f func() string) string {
	result, err := callOn(ctx, s, f)
	if err != nil {
		return err.Error()
	}
	return result
}

// checkData validates data of a backend like that of a client.
func (g *Gateway) checkData(operationID string, payload json.RawMessage) error {
	limits := &g.live().limits
	err := errors.Join(limits.checkID(operationID), limits.checkPayload(payload))
	if err == nil && (!utf8.Valid(payload) || !json.Valid(payload)) {
		err = wcs.ErrMalformed
	}
	if err == nil && limits.JSONDepth > 0 && wcs.Deeper(payload, limits.JSONDepth) {
		err = errTooDeep
	}
	return err
}

// State implements admin.Local.
func (l local) State() admin.PodState {
	g := l.g
	p := admin.PodState{Statistics: admin.Statistics{Pods: 1, Connections: g.openSockets()}, Draining: g.draining.Load(), Version: g.cfg.Version}
	for _, st := range g.streams.all() {
		switch {
		case !st.settled.Load():
		case st.published:
			p.Published++
		default:
			p.Played++
		}
	}
	return p
}

// openSockets returns the number of sessions with a socket.
func (g *Gateway) openSockets() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions) - g.detached.All()
}

// Session implements admin.Local.
func (l local) Session(ctx context.Context, id string) *admin.SessionDetails {
	s := l.g.sessionByID(id)
	if s == nil {
		return nil
	}
	d, err := callOn(ctx, s, func() *admin.SessionDetails {
		return &admin.SessionDetails{Login: s.login, Remote: s.remote, Detached: s.resume.isDetached(), Messages: s.recent.last()}
	})
	if err != nil {
		return nil
	}
	return d
}

// named makes the session findable by its id.
func (g *Gateway) named(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byID[s.id] = s
}

// unnamed undoes named, unless a resumed session has the id now. The caller holds mu.
func (g *Gateway) unnamed(s *session) {
	if g.byID[s.id] == s {
		delete(g.byID, s.id)
	}
}

func (g *Gateway) sessionByID(id string) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byID[id]
}
