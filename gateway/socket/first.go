package socket

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

// recording keeps what a client sends.
type recording struct {
	bytes.Buffer
	limit int
}

// keep reports whether the bytes are within the limit.
func (r *recording) keep(b []byte) bool {
	if r.Len()+len(b) > r.limit {
		return false
	}
	r.Write(b)
	return true
}

// recordedControls is how much a client can send besides its first message, in bytes: heads of frames,
// control frames and pongs.
const recordedControls = 4096

// First reads the first message of a client, except for JSON pongs, before it is decided what serves the
// client. sent is all that the client has sent after the upgrade, as it came, for a server to which the
// client is spliced. The caller of Serve passes the message instead. After a fault, the socket is closed or
// closes soon.
func First(ws *websocket.Conn, cfg *Config, m *MeteredConn) (message, sent []byte, fault *Reason) {
	m.sent = &recording{limit: int(cfg.MaxMessageBytes) + recordedControls}
	defer func() { m.sent = nil }()
	ws.SetReadLimit(cfg.MaxMessageBytes)
	_ = ws.SetReadDeadline(time.Now().Add(cfg.HelloTimeout)) // fails only on a dead socket, which the read reports
	ws.SetPongHandler(func(string) error { return m.CountMessage() })
	ws.SetPingHandler(func(data string) error {
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second)) // the read reports a dead socket
		return m.CountMessage()
	})
	for {
		typ, frame, err := ws.ReadMessage()
		if err == nil {
			err = m.CountMessage()
		}
		switch {
		case err != nil:
			return nil, nil, Refuse(ws, ReadFault(err))
		case typ != websocket.TextMessage:
			return nil, nil, Refuse(ws, ClosedBinary)
		case !bytes.Equal(frame, pongFrame):
			return frame, m.sent.Bytes(), nil
		}
	}
}

// maxMeanwhile is how much a client can send while its socket waits for what serves it, in bytes.
const maxMeanwhile = 16 << 10

// Meanwhile runs f, which decides what serves a client, after First. The context of f ends when the client or
// the pod closes the socket, and at the deadline of First. sent is as that of First, with what the client has
// sent meanwhile. After a fault, the socket is closed or closes soon.
func Meanwhile(ctx context.Context, ws *websocket.Conn, m *MeteredConn, sent []byte, f func(context.Context)) (all []byte, fault *Reason) {
	pod := ctx
	ctx, cancel := context.WithCancel(pod)
	defer cancel()
	m.sent = &recording{limit: len(sent) + maxMeanwhile}
	m.sent.Write(sent)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- drain(ws, m)
	}()
	f(ctx)
	late := ctx.Err() != nil
	_ = ws.SetReadDeadline(time.Unix(1, 0)) // fails only on a dead socket, which the read reports
	err := <-done
	all, m.sent = m.sent.Bytes(), nil
	switch {
	case pod.Err() != nil:
		return nil, Refuse(ws, ClosedShutdown)
	case late || !errors.Is(err, os.ErrDeadlineExceeded):
		return nil, Refuse(ws, ReadFault(err))
	}
	return all, nil
}

// drain reads messages, which the recording keeps, until an error.
func drain(ws *websocket.Conn, m *MeteredConn) error {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return err
		}
		if err := m.CountMessage(); err != nil {
			return err
		}
	}
}

// Refuse closes the socket of a client whose first message was read, and returns the reason.
func Refuse(ws *websocket.Conn, r Reason) *Reason {
	if r.byGateway() {
		sendClose(ws, r)
	} else {
		_ = ws.Close() // ended either way
	}
	return &r
}

// Reject sends a client whose first message was read a last message and closes the socket.
func Reject(ws *websocket.Conn, cfg *Config, last []byte, r Reason) {
	_ = ws.SetWriteDeadline(time.Now().Add(cfg.WriteTimeout)) // fails only on a dead socket, as the write does
	_ = ws.WriteMessage(websocket.TextMessage, last)          // the client may be gone
	sendClose(ws, r)
}
