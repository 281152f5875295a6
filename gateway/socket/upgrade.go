package socket

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// readBuffer holds a pong, the only message of most clients. Larger messages are read past the buffer. With
// it, and with pooled write buffers, an idle socket costs 10 KB less than with the defaults.
const readBuffer = 128

// writeBuffer holds a session description of a few codecs, the largest message there usually is.
const writeBuffer = 4096

// Upgrader upgrades requests to WebSockets. The caller checks the Origin header before.
type Upgrader struct{ ws websocket.Upgrader }

// NewUpgrader returns an Upgrader.
func NewUpgrader() *Upgrader {
	return &Upgrader{websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  writeBuffer,
		WriteBufferPool:  new(sync.Pool),
		CheckOrigin:      func(*http.Request) bool { return true },
		// No compression: permessage-deflate is not negotiated, so that a compressed frame is a protocol error.
	}}
}

// Upgrade upgrades the request of an admitted client. If it fails, the client was answered and m is released.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request, m *MeteredConn) (*websocket.Conn, error) {
	ws, err := u.ws.Upgrade(hijacker{w, m}, r, nil)
	if err != nil {
		m.Release()
	}
	return ws, err
}
