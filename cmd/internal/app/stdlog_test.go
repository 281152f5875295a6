package app

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/internal/process"
	"wcsgateway/e2e/rig"
)

// http.Transport reports a server's unsolicited response through the standard logger; the log contains it as
// a regular line.
func TestStandardLogIsRedirected(t *testing.T) {
	log := &logged{}
	flags, out := stdlog.Flags(), stdlog.Writer()
	t.Cleanup(func() { stdlog.SetFlags(flags); stdlog.SetOutput(out) })
	process.TakeStandardLog(zerolog.New(log))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Read(make([]byte, 1<<10))
		const answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		_, _ = fmt.Fprint(c, answer+answer) // the test waits for the log line
	}()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	rig.Eventually(t, time.Minute, "the log has the transport's line", func() bool {
		return log.has(`"level":"debug"`, "Unsolicited response")
	})
}

// A client's failed TLS handshake is a log line at debug level that names the listener.
func TestFailedHandshakeIsLogged(t *testing.T) {
	cfg := base(t)
	cfg.Listen.TLS = config.KeyPair{Cert: filepath.Join(t.TempDir(), "tls.crt"), Key: filepath.Join(t.TempDir(), "tls.key")}
	pair(t, cfg.Listen.TLS, "name")
	g := start(t, cfg)
	if _, err := tls.Dial("tcp", g.secure, &tls.Config{}); err == nil {
		t.Fatal("unknown certificate trusted")
	}
	rig.Eventually(t, time.Minute, "the log has the server's line", func() bool {
		return g.log.has(`"level":"debug"`, `"listener":"listen.secure"`, "TLS handshake error")
	})
}

func TestPanicOfHandlerIsLoggedAsError(t *testing.T) {
	var b bytes.Buffer
	stdlog.New(process.PlainLines{Log: zerolog.New(&b)}, "", 0).Printf("http: panic serving 127.0.0.1:1: oops\ngoroutine 1 [running]:\n")
	var line struct{ Level, Message string }
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "error" || !strings.Contains(line.Message, "oops") {
		t.Errorf("%+v", line)
	}
}
