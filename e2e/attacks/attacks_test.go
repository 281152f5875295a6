// Package attacks attacks a real gateway, and checks that attacks are refused and counted, and that they do
// not affect other clients: docs/security.md.
package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

const patience = 40 * time.Second

// Loopback addresses of the parties: limits are per address.
const (
	honest   = "127.0.0.1"
	attacker = "127.0.0.2"
	proxy    = "127.0.0.9" // trusted
)

// perAddress is the socket limit of one address.
const perAddress = 500

// scene is a gateway with a victim, which publishes, and an observer.
type scene struct {
	*rig.Stage
	victim   *rig.Client
	observer *observer
}

// All attacks share a gateway, so that leftovers of one affect the next ones.
func TestAttacksDoNoHarm(t *testing.T) {
	s := newScene(t, map[string]string{
		// The gateway runs with the race detector on a busy machine, and must read faster than clients may send.
		"WCS_REDIS_LEASE": "60s", "WCS_REDIS_CALLTIMEOUT": "10s",
		"WCS_LIMITS_MESSAGESPERSECOND": "60",
		"WCS_LIMITS_MESSAGEBURST":      "500",
		"WCS_LIMITS_BYTESPERSECOND":    "65536",
		"WCS_LIMITS_BYTEBURST":         "2097152",
		"WCS_SESSION_PINGINTERVAL":     "500ms",
		"WCS_SESSION_HELLOTIMEOUT":     "3s",
	})
	for _, a := range []struct {
		name   string
		attack func(*testing.T, *scene)
	}{
		{"slow handshake", slowHandshake},
		{"frame that never ends", endlessFrame},
		{"JSON nested 1,000,000 deep", deepJSON},
		{"compressed bomb", compressedBomb},
		{"10,000 connections from one address", manyConnections},
		{"flood of messages", messageFlood},
		{"flood of bytes", byteFlood},
		{"flood of control pings", pingFlood},
		{"guessed authToken", guessedToken},
		{"forged and replayed webhooks", forgedWebhooks},
		{"forged X-Forwarded-For", forgedAddress},
		{"stream names that mislead", badNames},
		{"page of another origin", crossOrigin},
		{"another session's mediaSessionId", hijack},
		{"stream of an application that it may not play", forbiddenPlay},
	} {
		t.Run(a.name, func(t *testing.T) {
			s.observer.during(t, func() { a.attack(t, s) })
			if n := s.victim.Count("notifyStreamStatusEvent"); n > 0 {
				t.Errorf("the victim received messages about its stream: %s", s.victim.Names())
			}
		})
	}
	s.leave(t)
}

// newScene starts a gateway. env adds settings to the socket limit of one address.
func newScene(t *testing.T, env map[string]string) *scene {
	t.Helper()
	all := map[string]string{
		"WCS_LIMITS_CONNECTIONSPERADDRESS": strconv.Itoa(perAddress),
		"WCS_LOG_LEVEL":                    "info",
		"WCS_LISTEN_ORIGINS":               `["https://*.example.com"]`,
		"WCS_LISTEN_TRUSTEDPROXIES":        "[" + proxy + "/32]",
		"WCS_APPLICATIONS":                 `{defaultApp: {}, closed: {playFrom: [closed]}, rooms: {rooms: on}}`,
	}
	maps.Copy(all, env)
	s := &scene{Stage: rig.NewStage(t, all, "")}
	s.victim = rig.Connect(t, s.Gateway.URL, "defaultApp")
	s.victim.Publish(victimMediaID, victimStream, rig.NewPublisher(t, rig.PeerOptions{}))
	s.observer = newObserver(t, s.Gateway.URL)
	return s
}

// leave ends the victim's stream, and checks that nothing is left over.
func (s *scene) leave(t *testing.T) {
	t.Helper()
	if strings.Contains(s.Gateway.Output(), "panic") {
		t.Error("the gateway's log contains a panic")
	}
	s.victim.Unpublish(victimMediaID, victimStream)
	s.victim.WantStatus(victimMediaID, "UNPUBLISHED", "Stopped by publisher stop")
	s.WantClean(t)
}

// pause waits; the gateway is measured during this time.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// dialer connects from an address.
func dialer(from string) *websocket.Dialer {
	local := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	return &websocket.Dialer{NetDialContext: local.DialContext, HandshakeTimeout: patience}
}

func dial(t *testing.T, url, from string, header http.Header) *websocket.Conn {
	t.Helper()
	ws, res, err := dialer(from).Dial(url, header)
	if err != nil {
		t.Fatalf("dial from %s: %v", from, err)
	}
	_ = res.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return ws
}

// dialTCP opens a bare TCP connection to the public listener.
func (s *scene) dialTCP(t *testing.T, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.DialContext(t.Context(), "tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *scene) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Gateway.URL, "ws://"), "/")
}

func say(t *testing.T, ws *websocket.Conn, name string, arg any) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"message": name, "data": []any{arg}})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.TextMessage, b); err != nil {
		t.Fatalf("send %s: %v", name, err)
	}
}

// connect opens a session from an address.
func (s *scene) connect(t *testing.T, from string) *rig.Client {
	t.Helper()
	c := rig.DialWith(t, dialer(from), s.Gateway.URL)
	c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}})
	c.Await("getUserData")
	return c
}

// metric returns the value of a time series, 0 if it does not exist.
func (s *scene) metric(t *testing.T, series string) float64 {
	t.Helper()
	return metric(t, s.Gateway, series)
}

func metric(t *testing.T, g *rig.Gateway, series string) float64 {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(g.Internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// refused returns how often requests were refused for a reason.
func (s *scene) refused(t *testing.T, reason string) float64 {
	t.Helper()
	return s.metric(t, fmt.Sprintf("wcs_refusals_total{reason=%q}", reason))
}

// wantRefusals waits until n more requests were refused than before.
func (s *scene) wantRefusals(t *testing.T, reason string, before, n float64) {
	t.Helper()
	var got float64
	rig.Eventually(t, patience, fmt.Sprintf("%v refusals for %s", n, reason), func() bool {
		got = s.refused(t, reason) - before
		return got >= n
	})
}
