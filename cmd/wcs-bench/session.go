package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/internal/wcsclient"
	"wcsgateway/translate/wcs"
)

const (
	writeTimeout = 10 * time.Second
	bufferBytes  = 1 << 10 // per socket and direction: thousands of sockets are idle
)

// session is a WCS session. Its reader answers pings and dispatches the messages of streams.
type session struct {
	*wcsclient.Conn
	hello chan event // cap 1

	mu      sync.Mutex
	streams map[string]*stream // by media session id
}

// server is the server under load.
type server struct {
	dialer   websocket.Dialer // no proxy
	url, app string
}

func newServer(o options) *server {
	dialer := websocket.Dialer{ReadBufferSize: bufferBytes, WriteBufferSize: bufferBytes, WriteBufferPool: new(sync.Pool)}
	return &server{dialer: dialer, url: o.url, app: o.app}
}

// dial opens a socket and a session. ctx bounds both and must have a deadline. The time is the arrival of
// getUserData.
func (v *server) dial(ctx context.Context) (*session, time.Time, error) {
	conn, err := wcsclient.Dial(ctx, &v.dialer, v.url, nil, writeTimeout)
	switch {
	case err != nil && (ctx.Err() != nil || isDeadline(err)):
		<-ctx.Done() // the socket has the same deadline and can notice it a moment earlier
		return nil, time.Time{}, fmt.Errorf("no socket: %w", context.Cause(ctx))
	case err != nil:
		return nil, time.Time{}, err
	}
	s := &session{Conn: conn, hello: make(chan event, 1), streams: map[string]*stream{}}
	go func() {
		s.Read(s.take)
		s.Drop()
	}()
	at, err := s.establish(ctx, v.app)
	if err != nil {
		s.Close()
		return nil, time.Time{}, err
	}
	return s, at, nil
}

func isDeadline(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func (s *session) establish(ctx context.Context, app string) (time.Time, error) {
	err := s.send(wcs.CmdConnection, map[string]any{
		"appKey": app, "mediaProviders": []string{wcs.ProviderWebRTC}, "clientVersion": "2.0", "clientOSVersion": "wcs-bench",
	})
	if err != nil {
		return time.Time{}, err
	}
	var e event
	select {
	case e = <-s.hello:
	case <-s.Done():
		var ok bool
		if e, ok = arrived(s.hello); !ok {
			return time.Time{}, s.Err()
		}
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("no %s: %w", wcs.NoteGetUserData, context.Cause(ctx))
	}
	if e.status == wcs.StatusFailed {
		return time.Time{}, &statusError{e.text}
	}
	return e.at, nil
}

// take handles one message.
func (s *session) take(m wcsclient.Message) error {
	switch wcs.Name(m.Name) {
	case wcs.NotePing:
		return s.send(wcs.CmdPong, nil)
	case wcs.NoteGetUserData:
		offer(s.hello, event{at: m.At})
	case wcs.NoteFail:
		var f struct{ Info string }
		if err := m.Args(&f); err != nil {
			return err
		}
		offer(s.hello, event{at: m.At, status: wcs.StatusFailed, text: f.Info})
	case wcs.NoteSetRemoteSDP:
		var id, sdp string
		if err := m.Args(&id, &sdp); err != nil {
			return err
		}
		if st := s.stream(id); st != nil {
			offer(st.answer, event{at: m.At, text: sdp})
		}
	case wcs.NoteStreamStatus:
		var e struct {
			MediaSessionID string
			Status         wcs.Status
			Info           string
		}
		if err := m.Args(&e); err != nil {
			return err
		}
		if st := s.stream(e.MediaSessionID); st != nil {
			st.take(event{at: m.At, status: e.Status, text: e.Info})
		}
	default: // not awaited
	}
	return nil
}

func (s *session) send(name wcs.Name, arg any) error { return s.Send(string(name), arg) }

// Err returns why the socket was closed.
func (s *session) Err() error { return fmt.Errorf("socket closed: %w", s.Conn.Err()) }

// drop ends the connection without a close frame, and waits for its end.
func (s *session) drop() {
	s.Drop()
	<-s.Done()
}
