//go:build !race

package gateway

import (
	"bytes"
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
)

// Allocations do not depend on the machine. The limits are some percent above what is needed, for the
// runtime's own. The client's allocations count too.
func TestAllocationsOfHandshakeAndCommandAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	level := zerolog.GlobalLevel()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	defer zerolog.SetGlobalLevel(level)

	hello := []byte(`{"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","MSE"],"clientVersion":"0.5.28"}]}`)
	call := []byte(`{"message":"hangup","data":[{"callId":"x"}]}`)
	request := func(ws *websocket.Conn, frame []byte, answer string) {
		if err := ws.WriteMessage(websocket.TextMessage, frame); err != nil {
			t.Fatal(err)
		}
		for {
			_, got, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(got, []byte(answer)) {
				return
			}
		}
	}
	open := func() *websocket.Conn {
		ws, res, err := websocket.DefaultDialer.DialContext(context.Background(), w.urls[podA], http.Header{})
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return ws
	}
	sessions := func() int { return len(w.pods[podA].table.All()) }

	sockets := testing.AllocsPerRun(50, func() { _ = open().Close() })
	if size := bytesPerRun(50, func() { _ = open().Close() }); size > 25<<10 {
		t.Errorf("a socket allocates %d bytes with the client's, which are 15 KB", size)
	}
	handshakes := testing.AllocsPerRun(50, func() {
		ws := open()
		request(ws, hello, `"getUserData"`)
		_ = ws.Close()
	})
	rig.Eventually(t, 20*time.Second, "all sessions have ended", func() bool { return sessions() == 0 })
	ws := open()
	defer func() { _ = ws.Close() }()
	request(ws, hello, `"message":"ping"`)
	commands := testing.AllocsPerRun(200, func() { request(ws, call, `"FINISH"`) })
	for what, n := range map[string]struct{ got, most float64 }{
		"a socket": {sockets, 136}, "a session on it": {handshakes - sockets, 52}, "a command with an answer": {commands, 23},
	} {
		if n.got > n.most {
			t.Errorf("%s: %v allocations, at most %v are expected", what, n.got, n.most)
		}
	}
}

// bytesPerRun is testing.AllocsPerRun for bytes.
func bytesPerRun(runs int, f func()) uint64 {
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / uint64(runs)
}
