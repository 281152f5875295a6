package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/session"
)

// logBook keeps what is logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) lines(msg string) (all []map[string]any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["message"] == msg {
			all = append(all, fields)
		}
	}
	return all
}

func TestClientLogsAreBoundedAndHaveNoSecrets(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.ClientLogsPerSecond = 1 })
	g, book := w.pods[podA], &logBook{}
	g.env.Log = zerolog.New(book)
	c := w.connect(t, podA)
	push := func(text string) { c.Send("pushLogs", map[string]any{"logs": text}) }
	push("12:00:00 INFO core - \"Initialized\"\n\x1b[31m")
	push(strings.Repeat("x", 5000))
	for _, secret := range []string{`setRemoteSDP "v=0\r\no=- 1 2"`, `{"authToken":"/1.2.3.4:5/abc/def"}`, "a=ice-pwd:x", `{"sipPassword":"p"}`} {
		push("DEBUG core - " + secret)
	}
	for _, raw := range []string{`[null]`, `[7]`, `[{"logs":{}}]`, `[]`} {
		c.SendRaw(`{"message":"pushLogs","data":` + raw + `}`)
	}
	c.Send("submitBugReport", map[string]any{"text": "no picture"})
	c.SendRaw(`{"message":"submitBugReport","data":[null]}`)
	wantNoStatus(t, c)
	if n := c.Count("fail"); n != 0 {
		t.Errorf("answered: %s", c.Names())
	}
	for command, status := range map[string]string{"start": "STARTED", "stop": "STOPPED"} {
		c.Send("sessionDebug", map[string]any{"command": command})
		c.AwaitMatch(status, func(m rig.Message) bool {
			return m.Raw == fmt.Sprintf(`{"message":"notifySessionDebugEvent","data":[{"status":%q}]}`, status)
		})
	}
	logged := book.lines("client log")
	if len(logged) != 10 {
		t.Fatalf("%d lines", len(logged))
	}
	for i, line := range logged {
		text, _ := line["text"].(string)
		if line["level"] != "debug" || line["session"] == nil || len(text) > session.MaxClientLog+len("…") || i >= 2 && i < 6 && line["text"] != nil {
			t.Errorf("line %d: %.300v", i, line)
		}
	}
	if first := logged[0]["text"]; first != "12:00:00 INFO core - \"Initialized\"\n\x1b[31m" {
		t.Errorf("first line: %q", first)
	}
	if got := book.lines("bug report"); len(got) != 2 || got[0]["text"] != `{"text":"no picture"}` {
		t.Errorf("bug reports: %v", got)
	}
	for range 2 * session.ClientLogBurst {
		push("again and again")
	}
	wantNoStatus(t, c)
	if n := len(book.lines("client log")); n > session.ClientLogBurst+60 { // some seconds may have passed
		t.Errorf("%d lines", n)
	}
	if n := testutil.ToFloat64(g.metrics.Rejections.WithLabelValues("client_logs")); n < 100 {
		t.Errorf("%v dropped", n)
	}
}

// Clients with new sockets have new bursts, so that the lines of all clients have a limit, too.
func TestLogsOfAllClientsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.ClientLogsPerSecond = 1 })
	g, book := w.pods[podA], &logBook{}
	if most := g.env.ClientLogs; most.Limit() != session.PodClientLogs || most.Burst() != session.PodClientLogs {
		t.Errorf("%v lines a second, %d at once", most.Limit(), most.Burst())
	}
	const most = session.ClientLogBurst * 3 / 2
	g.env.Log, g.env.ClientLogs = zerolog.New(book), rate.NewLimiter(0, most)
	for range 2 {
		c := w.connect(t, podA)
		for range session.ClientLogBurst {
			c.Send("pushLogs", map[string]any{"logs": "x"})
		}
		wantNoStatus(t, c)
	}
	if n := len(book.lines("client log")); n != most {
		t.Errorf("%d lines, want %d", n, most)
	}
	if n := testutil.ToFloat64(g.metrics.Rejections.WithLabelValues("client_logs")); n != 2*session.ClientLogBurst-most {
		t.Errorf("%v dropped", n)
	}
}

// Every client message about a call ends the call, and nothing hangs.
func TestCallsAreAnsweredWithFinish(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, podA)
	for _, cmd := range []string{"call", "answer", "hangup", "hold", "unhold", "sendDtmf", "transfer"} {
		status := "FAILED"
		if cmd == "hangup" {
			status = "FINISH"
		}
		c.Send(cmd, map[string]any{"callId": cmd + "-1", "target": "x", "dtmf": 1})
		if got, want := c.Await("finish").Raw, fmt.Sprintf(`{"message":"finish","data":[{"callId":"%s-1","status":%q}]}`, cmd, status); got != want {
			t.Errorf("%s: %s, want %s", cmd, got, want)
		}
	}
	wantNoStatus(t, c)
}
