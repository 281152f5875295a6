package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/ends"
	"wcsgateway/state"
)

const (
	writeTimeout    = 10 * time.Second // of an event to a viewer
	historyInterval = 10 * time.Second // between two updates of what changes slowly
	updateTimeout   = 30 * time.Second
	maxPause        = 10 * time.Second // between two updates
)

// feed sends the events of a viewer's view.
type feed struct {
	c     *Console
	w     http.ResponseWriter
	out   *http.ResponseController
	view  view
	last  map[string]string // last data by event, so that unchanged data are not sent again
	trend trends
	hosts hosts
	was   *streamPage  // the stream of the view, as last seen
	ended *ends.Record // its end; nil: not known
}

// live serves the events (text/event-stream) of one view. It ends when the viewer disconnects or the pod
// stops accepting clients. In the latter case the page reconnects through the load balancer.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		reject(w, http.StatusBadRequest, err.Error())
		return
	}
	if !c.cfg.Ready() {
		reject(w, http.StatusServiceUnavailable, "the pod is shutting down")
		return
	}
	if !c.viewers.TryAcquire(1) {
		reject(w, http.StatusServiceUnavailable, fmt.Sprintf("the limit of %d viewers of this pod is reached", c.cfg.Viewers))
		return
	}
	defer c.viewers.Release(1)
	out := http.NewResponseController(w)
	if err := out.SetReadDeadline(time.Time{}); err != nil { // the server's deadline is meant for short requests
		reject(w, http.StatusInternalServerError, "the connection cannot be kept open")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	f := &feed{c: c, w: w, out: out, view: v, last: make(map[string]string), trend: make(trends)}
	if err := f.run(r.Context()); err != nil && r.Context().Err() == nil {
		c.log.Debug().Err(err).Msg("console: write to a viewer failed")
	}
}

func (f *feed) run(ctx context.Context) error {
	hello := map[string]any{"pod": f.c.cfg.Pod, "host": f.c.cfg.Host, "version": f.c.cfg.Version, "assets": f.c.assets, "started": f.c.started.UnixMilli()}
	if err := f.send("hello", hello); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var shown time.Time // when the history was last sent
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if !f.c.cfg.Ready() {
			return nil
		}
		began := time.Now()
		if err := f.update(ctx, &shown); err != nil {
			return err
		}
		timer.Reset(max(f.c.cfg.Refresh, min(10*time.Since(began), maxPause)))
	}
}

// update sends the current data. It fails if the viewer cannot be written to.
func (f *feed) update(ctx context.Context, shown *time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	o, err := f.c.overview(ctx)
	if err == nil {
		f.hosts = o.hosts
		if sent := f.send("overview", o); sent != nil {
			return sent
		}
	}
	slow := time.Since(*shown) >= historyInterval
	if slow {
		*shown = time.Now()
	}
	if err == nil {
		switch f.view.Name {
		case viewOverview:
			if slow {
				err = f.lastHour(ctx)
			}
		case viewStreams:
			err = f.show(ctx, "rows", f.streams)
			if err == nil && slow {
				err = f.show(ctx, "ended", f.endedStreams)
			}
		case viewSessions:
			err = f.show(ctx, "rows", f.sessions)
		case viewStream:
			err = f.show(ctx, "stream", f.stream)
		case viewSession:
			err = f.show(ctx, "session", f.session)
		}
	}
	var lost lostViewer
	switch {
	case err == nil:
		return f.send("problem", nil) // the problem is over
	case errors.As(err, &lost):
		return lost
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	}
	return f.send("problem", map[string]string{"text": problem(err)})
}

// lastHour sends history and failures. Both wait for pods that do not answer, so they are read at the same
// time.
func (f *feed) lastHour(ctx context.Context) error {
	var history, failures any
	reads, readCtx := errgroup.WithContext(ctx)
	reads.Go(func() (err error) {
		history, err = f.history(readCtx)
		return err
	})
	reads.Go(func() (err error) {
		failures, err = f.failures(readCtx)
		return err
	})
	if err := reads.Wait(); err != nil {
		return err
	}
	for event, v := range map[string]any{"history": history, "failures": failures} {
		if err := f.send(event, v); err != nil {
			return lostViewer{err}
		}
	}
	return nil
}

// lostViewer is the error of a write to a viewer.
type lostViewer struct{ error }

func (f *feed) show(ctx context.Context, event string, make func(context.Context) (any, error)) error {
	v, err := make(ctx)
	if err != nil {
		return err
	}
	if err := f.send(event, v); err != nil {
		return lostViewer{err}
	}
	return nil
}

// problem returns the text about an error that operators see.
func problem(err error) string {
	switch {
	case errors.Is(err, admin.ErrPodUnreachable):
		return "A pod does not answer. Its data are missing."
	case errors.Is(err, state.ErrUnavailable):
		return "Redis is unreachable. The data can be outdated."
	}
	return "Reading the data failed: " + err.Error()
}

// send sends an event unless its data are unchanged.
func (f *feed) send(event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if was, sent := f.last[event]; sent && was == string(text) || !sent && data == nil {
		return nil
	}
	f.last[event] = string(text)
	if err := f.out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f.w, "event: %s\ndata: %s\n\n", event, text); err != nil {
		return err
	}
	return f.out.Flush()
}
