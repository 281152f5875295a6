package attacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	victimStream  = "victim"
	victimMediaID = "victims-media-id"
	askEvery      = 20 * time.Millisecond // below the rate limit of a client
)

// observer is another client, which repeatedly requests whether the victim's stream can be played. The answer
// times show what an attack costs other clients.
type observer struct {
	ws *websocket.Conn
}

func newObserver(t *testing.T, url string) *observer {
	t.Helper()
	w := &observer{ws: dial(t, url, honest, nil)}
	say(t, w.ws, "connection", map[string]any{"appKey": "defaultApp"})
	if m, err := w.await("getUserData"); err != nil {
		t.Fatalf("%v (got %s)", err, m)
	}
	return w
}

// ask sends one request and returns the answer time.
func (w *observer) ask() (time.Duration, error) {
	const question = `{"message":"availableStream","data":[{"mediaSessionId":"observer","name":"` + victimStream + `"}]}`
	start := time.Now()
	if err := w.ws.WriteMessage(websocket.TextMessage, []byte(question)); err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	m, err := w.await("availableStream")
	if err == nil && !strings.Contains(m, `"status":"true"`) {
		err = fmt.Errorf("the victim's stream cannot be played: %s", m)
	}
	return time.Since(start), err
}

var errSilent = errors.New("the observer gets no answer")

// await reads up to a message, and answers pings.
func (w *observer) await(name string) (string, error) {
	_ = w.ws.SetReadDeadline(time.Now().Add(patience)) // fails only on a dead socket, which the read reports
	for {
		_, b, err := w.ws.ReadMessage()
		if err != nil {
			return "", fmt.Errorf("%w: %w", errSilent, err)
		}
		var m struct{ Message string }
		switch err := json.Unmarshal(b, &m); {
		case err != nil:
			return "", err
		case m.Message == name:
			return string(b), nil
		case m.Message == "ping":
			if err := w.ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"pong","data":[null]}`)); err != nil {
				return "", err
			}
		}
	}
}

// watch sends requests until stop is closed.
func (w *observer) watch(stop <-chan struct{}) (took []time.Duration, err error) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		d, err := w.ask()
		if err != nil {
			return took, err
		}
		took = append(took, d)
		select {
		case <-stop:
			return took, nil
		case <-tick.C:
		}
	}
}

// during watches while f runs. Every attack must leave the observer served all the time.
func (w *observer) during(t *testing.T, f func()) (took []time.Duration) {
	t.Helper()
	stop := make(chan struct{})
	var (
		err  error
		done sync.WaitGroup
	)
	done.Go(func() { took, err = w.watch(stop) })
	defer func() { // f may end the test
		close(stop)
		done.Wait()
		if err != nil {
			t.Errorf("another client was not served during the attack: %v", err)
		}
	}()
	f()
	return nil // took is set when the observer stops
}

// percentile sorts its argument.
func percentile(took []time.Duration, p int) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[(len(took)-1)*p/100]
}
