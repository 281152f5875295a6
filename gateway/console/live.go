package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
)

const (
	writeLimit   = 10 * time.Second // for a viewer to take what it is sent
	historyEvery = 10 * time.Second
	lookLimit    = 30 * time.Second // for a look at everything there is
)

// feed sends what a viewer looks at.
type feed struct {
	c     *Console
	w     http.ResponseWriter
	out   *http.ResponseController
	view  view
	last  map[string]string // by event, so that nothing is sent twice
	trend trends
}

// live is the stream of events (text/event-stream) of one view. It ends when the viewer goes, or the pod takes no new clients: then the page comes
// back through the load balancer.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	v, err := parseView(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if !c.deps.Ready() {
		refuse(w, http.StatusServiceUnavailable, "the pod is shutting down")
		return
	}
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	default:
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("the pod shows the console to %d viewers already", c.cfg.Viewers))
		return
	}
	out := http.NewResponseController(w)
	if err := out.SetReadDeadline(time.Time{}); err != nil { // the server's is for requests that end
		refuse(w, http.StatusInternalServerError, "the connection cannot be kept open")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	f := &feed{c: c, w: w, out: out, view: v, last: make(map[string]string), trend: make(trends)}
	if err := f.run(r.Context()); err != nil && r.Context().Err() == nil {
		c.log.Debug().Err(err).Msg("viewer of the console has not taken what it was sent")
	}
}

func (f *feed) run(ctx context.Context) error {
	hello := map[string]any{"pod": f.c.cfg.Pod, "version": f.c.cfg.Version, "assets": f.c.assets, "started": f.c.started.UnixMilli()}
	if err := f.send("hello", hello); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var shown time.Time // the history
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if !f.c.deps.Ready() {
			return nil
		}
		began := time.Now()
		if err := f.look(ctx, &shown); err != nil {
			return err
		}
		timer.Reset(max(f.c.cfg.Refresh, 10*time.Since(began)))
	}
}

// look sends how everything is now. It fails when the viewer takes nothing.
func (f *feed) look(ctx context.Context, shown *time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	o, err := f.c.overview(ctx)
	if err == nil {
		if sent := f.send("overview", o); sent != nil {
			return sent
		}
	}
	if f.view.Name == viewOverview && time.Since(*shown) >= historyEvery && err == nil {
		*shown = time.Now()
		err = f.show(ctx, "history", f.history)
	} else if err == nil {
		switch f.view.Name {
		case viewStreams:
			err = f.show(ctx, "rows", f.streams)
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
		return f.send("problem", nil) // there is none any more
	case errors.As(err, &lost):
		return lost
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	}
	return f.send("problem", map[string]string{"text": problem(err)})
}

// lostViewer says that the viewer takes nothing any more.
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

// problem is an error as operators are told of it; the rest is in the log.
func problem(err error) string {
	switch {
	case errors.Is(err, admin.ErrPodUnreachable):
		return "A pod does not answer: what it has is missing."
	case errors.Is(err, state.ErrUnavailable):
		return "Redis cannot be reached: what is shown may be old."
	}
	return "What there is could not be read: " + err.Error()
}

// send sends an event, unless the last of its kind was the same.
func (f *feed) send(event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if was, sent := f.last[event]; sent && was == string(text) || !sent && data == nil {
		return nil
	}
	f.last[event] = string(text)
	if err := f.out.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f.w, "event: %s\ndata: %s\n\n", event, text); err != nil {
		return err
	}
	return f.out.Flush()
}
