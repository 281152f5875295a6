package attacks

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

// runLean is the minimal server for comparison: it answers each message with a short one and refuses no
// client. An attack on it costs the gateway's clients only what the attackers themselves consume.
func runLean() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("%s%s\n", leanListens, l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, leanHandler()))
	return 1
}

const leanListens = "listening: "

func leanHandler() http.Handler {
	upgrader := websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 4096, WriteBufferPool: new(sync.Pool)} // as the gateway's
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			_, _ = io.Copy(io.Discard, r.Body) // the attacker may be gone
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		go answerAll(ws)
	})
}

func answerAll(ws *websocket.Conn) {
	defer func() { _ = ws.Close() }() // the socket has ended anyway
	for {
		_, r, err := ws.NextReader()
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"answer"}`)); err != nil {
			return
		}
	}
}
