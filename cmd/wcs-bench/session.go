package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/translate/wcs"
)

const (
	writeTimeout = 10 * time.Second
	closeTimeout = time.Second // for the server's half of the closing handshake
	bufferBytes  = 1 << 10     // per socket and direction: thousands of sockets are idle
)

// session is a WCS session. Its reader answers pings and dispatches the messages of streams.
type session struct {
	ws    *websocket.Conn
	hello chan event    // cap 1
	done  chan struct{} // closed with the socket
	err   error         // the reason; valid after done

	writing sync.Mutex

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
	ws, res, err := v.dialer.DialContext(ctx, v.url, nil)
	if res != nil {
		_ = res.Body.Close() // the status of a rejection is enough
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake):
		return nil, time.Time{}, fmt.Errorf("rejected with HTTP %d", res.StatusCode)
	case err != nil && (ctx.Err() != nil || isDeadline(err)):
		<-ctx.Done() // the socket has the same deadline and can notice it a moment earlier
		return nil, time.Time{}, fmt.Errorf("no socket: %w", context.Cause(ctx))
	case err != nil:
		return nil, time.Time{}, err
	}
	s := &session{ws: ws, hello: make(chan event, 1), done: make(chan struct{}), streams: map[string]*stream{}}
	go s.read()
	at, err := s.establish(ctx, v.app)
	if err != nil {
		s.close()
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
	select {
	case e := <-s.hello:
		if e.status == wcs.StatusFailed {
			return time.Time{}, &statusError{e.text}
		}
		return e.at, nil
	case <-s.done:
		return time.Time{}, s.err
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("no %s: %w", wcs.NoteGetUserData, context.Cause(ctx))
	}
}

// read runs until the socket is closed.
func (s *session) read() {
	defer close(s.done)
	defer func() { _ = s.ws.Close() }() // the session ended
	for {
		_, frame, err := s.ws.ReadMessage()
		if err == nil {
			err = s.take(frame, time.Now())
		}
		if err != nil {
			s.err = fmt.Errorf("socket closed: %w", err)
			return
		}
	}
}

// take handles one message.
func (s *session) take(frame []byte, at time.Time) error {
	var m struct {
		Message wcs.Name          `json:"message"`
		Data    []json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(frame, &m); err != nil {
		return fmt.Errorf("malformed message: %w", err)
	}
	switch m.Message {
	case wcs.NotePing:
		return s.send(wcs.CmdPong, nil)
	case wcs.NoteGetUserData:
		offer(s.hello, event{at: at})
	case wcs.NoteFail:
		var f struct{ Info string }
		if err := args(m.Data, &f); err != nil {
			return fmt.Errorf("%s: %w", m.Message, err)
		}
		offer(s.hello, event{at: at, status: wcs.StatusFailed, text: f.Info})
	case wcs.NoteSetRemoteSDP:
		var id, sdp string
		if err := args(m.Data, &id, &sdp); err != nil {
			return fmt.Errorf("%s: %w", m.Message, err)
		}
		if st := s.stream(id); st != nil {
			offer(st.answer, event{at: at, text: sdp})
		}
	case wcs.NoteStreamStatus:
		var e struct {
			MediaSessionID string
			Status         wcs.Status
			Info           string
		}
		if err := args(m.Data, &e); err != nil {
			return fmt.Errorf("%s: %w", m.Message, err)
		}
		if st := s.stream(e.MediaSessionID); st != nil {
			st.take(event{at: at, status: e.Status, text: e.Info})
		}
	default: // not awaited
	}
	return nil
}

// args decodes the first arguments of a message.
func args(data []json.RawMessage, into ...any) error {
	if len(data) < len(into) {
		return fmt.Errorf("%d arguments, want %d", len(data), len(into))
	}
	for i, v := range into {
		if err := json.Unmarshal(data[i], v); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) send(name wcs.Name, arg any) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	if err := s.ws.WriteJSON(map[string]any{"message": name, "data": []any{arg}}); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}

// close closes the socket as a browser does, and waits for the closing handshake.
func (s *session) close() {
	_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTimeout))
	_ = s.ws.SetReadDeadline(time.Now().Add(closeTimeout))
	<-s.done
}

// drop ends the connection without a close frame, as a network failure or a killed pod does.
func (s *session) drop() {
	_ = s.ws.NetConn().Close()
	<-s.done
}
