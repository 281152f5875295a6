// Package wcsclient is the client side of the WCS protocol without an SDK: the socket, the envelope, a
// stream's request, and the WebRTC half of a stream. The load generator cmd/wcs-bench, cmd/internal/check and
// the test rig e2e/rig build their clients on it; the gateway does not use it.
package wcsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// closeTimeout bounds the server's half of the closing handshake.
const closeTimeout = time.Second

// RejectedError means that the server answered the upgrade with a status other than 101.
type RejectedError struct{ Status int }

func (e *RejectedError) Error() string { return fmt.Sprintf("rejected with HTTP %d", e.Status) }

// Message is a message of the server.
type Message struct {
	Name string            `json:"message"`
	Data []json.RawMessage `json:"data"`
	Top  string            `json:"mediaSessionId"` // beside data
	Raw  string            `json:"-"`
	At   time.Time         `json:"-"` // time of arrival
}

// Args decodes the first elements of Data.
func (m Message) Args(into ...any) error {
	if len(m.Data) < len(into) {
		return fmt.Errorf("%s: %d arguments, want %d", m.Name, len(m.Data), len(into))
	}
	for i, v := range into {
		if err := json.Unmarshal(m.Data[i], v); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// Conn is a socket to a WCS server. Its owner must call Read in one goroutine. Other methods are safe for
// concurrent use.
type Conn struct {
	ws           *websocket.Conn
	writeTimeout time.Duration // 0: none
	done         chan struct{}
	err          error // valid after done

	writing sync.Mutex
}

// Dial opens a socket. writeTimeout bounds each later write; 0: no limit. If the server rejects the upgrade,
// the error is a *RejectedError.
func Dial(ctx context.Context, dialer *websocket.Dialer, url string, header http.Header, writeTimeout time.Duration) (*Conn, error) {
	ws, res, err := dialer.DialContext(ctx, url, header)
	if res != nil {
		_ = res.Body.Close() // the status is enough
	}
	if errors.Is(err, websocket.ErrBadHandshake) {
		return nil, &RejectedError{res.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	return &Conn{ws: ws, writeTimeout: writeTimeout, done: make(chan struct{})}, nil
}

// OnPing replaces the answer to WebSocket pings. Call it before Read.
func (c *Conn) OnPing(answer func(data string) error) { c.ws.SetPingHandler(answer) }

// Pong answers a WebSocket ping.
func (c *Conn) Pong(data string) error {
	return c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeTimeout))
}

// Read passes each message to handle until the socket is closed, a message is malformed, or handle fails.
func (c *Conn) Read(handle func(Message) error) {
	defer close(c.done)
	for {
		_, frame, err := c.ws.ReadMessage()
		m := Message{Raw: string(frame), At: time.Now()}
		if err == nil {
			if err = json.Unmarshal(frame, &m); err != nil {
				err = fmt.Errorf("malformed message: %w", err)
			}
		}
		if err == nil {
			err = handle(m)
		}
		if err != nil {
			c.err = err
			return
		}
	}
}

// Done is closed when Read has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why Read ended. It is valid after Done.
func (c *Conn) Err() error { return c.err }

// Send sends a message with one argument.
func (c *Conn) Send(name string, arg any) error {
	frame, err := json.Marshal(map[string]any{"message": name, "data": []any{arg}})
	if err == nil {
		err = c.SendRaw(frame)
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}

// SendRaw sends a text frame.
func (c *Conn) SendRaw(frame []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.writeTimeout > 0 {
		if err := c.ws.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
			return err
		}
	}
	return c.ws.WriteMessage(websocket.TextMessage, frame)
}

// Close closes the socket as a browser does, and waits until it is closed.
func (c *Conn) Close() {
	normal := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, normal, time.Now().Add(closeTimeout))
	_ = c.ws.SetReadDeadline(time.Now().Add(closeTimeout))
	<-c.done
	_ = c.ws.Close()
}

// Drop ends the TCP connection without a close frame, as a network failure or a killed pod does.
func (c *Conn) Drop() { _ = c.ws.NetConn().Close() }
