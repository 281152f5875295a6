package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

const (
	// hello is the vendor's sample of connection, with the SDK's own app key.
	hello = `{"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","MSE","WSPlayer"],"clientVersion":"0.5.28",` +
		`"clientOSVersion":"5.0 (Windows NT 6.1; Win64; x64)","clientBrowserVersion":"Mozilla/5.0 (Windows NT 6.1; Win64; x64)"}]}`
	pong = `{"message":"pong","data":[null]}`
)

// pingStart is the prefix of the gateway's pings.
const pingStart = `{"message":"ping"`

var getUserData = []byte(`"getUserData"`)

// patience is the timeout of every step; the run fails after it.
const patience = 30 * time.Second

// socket is a WCS client that does only what is measured: no goroutine, no inbox.
type socket struct{ ws *websocket.Conn }

// dial opens a session.
func dial(b *testing.B, url string) *socket {
	b.Helper()
	ws, err := shakeHands(context.Background(), websocket.DefaultDialer, url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ws.Close() })
	return &socket{ws: ws}
}

// shakeHands opens a WebSocket and a session on it.
func shakeHands(ctx context.Context, dialer *websocket.Dialer, url string) (*websocket.Conn, error) {
	ws, res, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	_ = res.Body.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	for { // a ping may come first
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return nil, fmt.Errorf("getUserData: %w", err)
		}
		if bytes.Contains(frame, getUserData) {
			return ws, nil
		}
	}
}

// await reads until a message contains one of the words, and returns that word.
func (s *socket) await(words ...string) (string, error) {
	if err := s.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	for {
		_, frame, err := s.ws.ReadMessage()
		if err != nil {
			return "", fmt.Errorf("waiting for %s: %w", words, err)
		}
		for _, w := range words {
			if bytes.Contains(frame, []byte(w)) {
				return w, nil
			}
		}
		if !bytes.HasPrefix(frame, []byte(pingStart)) {
			continue
		}
		if err := s.ws.WriteMessage(websocket.TextMessage, []byte(pong)); err != nil {
			return "", fmt.Errorf("pong: %w", err)
		}
	}
}

// round starts and ends a stream: publishStream and unPublishStream, or playStream and stopStream. It
// returns the time from the command to the answer when everything is released.
func (s *socket) round(start, end, mediaID, name, sdp string) (answered time.Duration, err error) {
	frame, err := message(start, rig.StreamRequest(mediaID, name, sdp, start == "publishStream", nil))
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return 0, fmt.Errorf("%s: %w", start, err)
	}
	got, err := s.await(`"setRemoteSDP"`, `"FAILED"`)
	answered = time.Since(begin)
	if err == nil && got != `"setRemoteSDP"` {
		err = errors.New("FAILED")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", start, err)
	}
	if frame, err = message(end, map[string]any{"mediaSessionId": mediaID, "name": name}); err != nil {
		return 0, err
	}
	if err := s.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return 0, fmt.Errorf("%s: %w", end, err)
	}
	_, err = s.await(`"UNPUBLISHED"`, `"STOPPED"`)
	return answered, err
}

func message(name string, arg any) ([]byte, error) {
	return json.Marshal(map[string]any{"message": name, "data": []any{arg}})
}
