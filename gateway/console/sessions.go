package console

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
)

var sessionColumns = []string{"session", "app", "pod", "since"}

// sessionRow is a client's session.
type sessionRow struct {
	Session   string `json:"session"`
	App       string `json:"app"`
	Pod       string `json:"pod"`
	Address   string `json:"address"` // of the client
	Since     int64  `json:"since"`   // Unix milliseconds
	Published int    `json:"published"`
	Played    int    `json:"played"`
	Client    string `json:"client"` // version sent by the client; "" without one
	Kept      bool   `json:"kept"`   // the session survives the loss of its socket
}

func sessionRowOf(s state.Session) sessionRow {
	return sessionRow{
		Session: s.ID, App: s.App, Pod: s.Owner.Pod, Address: addressIn(s.ID), Since: s.CreatedAt.UnixMilli(), Client: s.ClientVersion, Kept: s.Resumable,
	}
}

// addressIn returns the client's address in a session id, which has the form /address/random as in WCS.
func addressIn(id string) string {
	address, _, _ := strings.Cut(strings.TrimPrefix(id, "/"), "/")
	return address
}

// sessions returns a page of the table of sessions.
func (f *feed) sessions(ctx context.Context) (any, error) {
	t := table[sessionRow]{view: f.view, order: sessionOrder(f.view.Sort, f.hosts)}
	err := f.c.deps.EachSession(ctx, func(page []state.Session) error {
		for _, s := range page {
			t.total++
			if f.view.matches(s.ID, s.App, s.Owner.Pod, f.hosts.of(s.Owner.Pod), s.ClientVersion) {
				t.add(sessionRowOf(s))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows := t.page()
	shown := make(map[string]*sessionRow, len(rows))
	for i := range rows {
		shown[rows[i].Session] = &rows[i]
	}
	err = f.c.deps.EachStream(ctx, admin.StreamFilter{}, func(page []admin.StreamEntry) error {
		for _, e := range page {
			switch r := shown[e.Session]; {
			case r == nil:
			case e.Published:
				r.Published++
			default:
				r.Played++
			}
		}
		return nil
	})
	return t.event(rows), err
}

func sessionOrder(column string, hosts hosts) func(a, b sessionRow) int {
	return func(a, b sessionRow) int {
		first := 0
		switch column {
		case "app":
			first = cmp.Compare(a.App, b.App)
		case "pod":
			first = cmp.Or(cmp.Compare(hosts.of(a.Pod), hosts.of(b.Pod)), cmp.Compare(a.Pod, b.Pod))
		case "since":
			first = cmp.Compare(a.Since, b.Since)
		}
		return cmp.Or(first, cmp.Compare(a.Session, b.Session))
	}
}

// sessionStream is a stream of a session.
type sessionStream struct {
	MediaID   string `json:"mediaSessionId"`
	Name      string `json:"name"`
	Published bool   `json:"published"`
	Status    string `json:"status"`
}

// message describes one of the last messages of a session, without its content.
type message struct {
	At    int64  `json:"at"` // Unix milliseconds
	Dir   string `json:"dir"`
	Type  string `json:"type"`
	Bytes int    `json:"bytes"`
}

// sessionPage is one session.
type sessionPage struct {
	sessionRow
	Login    string          `json:"login"`
	Detached bool            `json:"detached"`
	Streams  []sessionStream `json:"streams"`
	Messages []message       `json:"messages"`
}

// session returns the page of one session.
func (f *feed) session(ctx context.Context) (any, error) {
	s, d, err := f.c.deps.SessionDetails(ctx, f.view.ID)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return gone, nil
	case err != nil:
		return nil, err
	}
	p := sessionPage{sessionRow: sessionRowOf(s), Login: d.Login, Detached: d.Detached, Streams: []sessionStream{}, Messages: []message{}}
	p.Address = d.Remote
	for _, m := range d.Messages {
		dir := "out"
		if m.In {
			dir = "in"
		}
		p.Messages = append(p.Messages, message{At: m.At.UnixMilli(), Dir: dir, Type: m.Type, Bytes: m.Bytes})
	}
	err = f.c.deps.EachStream(ctx, admin.StreamFilter{Session: f.view.ID}, func(page []admin.StreamEntry) error {
		for _, e := range page {
			if e.Published {
				p.Published++
			} else {
				p.Played++
			}
			p.Streams = append(p.Streams, sessionStream{MediaID: e.MediaID, Name: e.Name, Published: e.Published, Status: string(e.Status)})
		}
		return nil
	})
	slices.SortFunc(p.Streams, func(a, b sessionStream) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.MediaID, b.MediaID))
	})
	return p, err
}
