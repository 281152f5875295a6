package check

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

// firewall is LiveKit behind a proxy whose answers name other ports for the media, and the gateway before it.
func firewall(t *testing.T, udp, tcp func(l *rig.LiveKit) int) (s servers, gateway string) {
	t.Helper()
	s = startServers(t)
	target, err := url.Parse(s.liveKit.URL)
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]int{"udp": udp(s.liveKit), "tcp": tcp(s.liveKit)}
	candidate := regexp.MustCompile(`(?i)(a=candidate:\S+ \d+ )(udp|tcp)( \d+ \S+ )\d+`)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasPrefix(r.Request.URL.Path, "/whip") {
				return nil
			}
			sdp, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			sdp = candidate.ReplaceAllFunc(sdp, func(line []byte) []byte {
				part := candidate.FindSubmatch(line)
				return fmt.Appendf(nil, "%s%s%s%d", part[1], part[2], part[3], ports[strings.ToLower(string(part[2]))])
			})
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(sdp)), int64(len(sdp))
			r.Header.Set("Content-Length", strconv.Itoa(len(sdp)))
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	behind := *s.liveKit
	behind.URL = proxy.URL
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: s.ports, LiveKit: &behind, Redis: s.redis.Addr, Env: map[string]string{"WCS_LIVEKIT_PLAY": "whip"}})
	g.AwaitReady(t)
	return s, g.URL
}

// lossy returns a UDP port from which nothing reaches LiveKit.
func lossy(t *testing.T) func(*rig.LiveKit) int {
	return func(l *rig.LiveKit) int {
		relay := rig.StartRelay(t, l.UDPPort)
		relay.Impair(rig.Impairment{Up: rig.Direction{Loss: 1}, Down: rig.Direction{Loss: 1}})
		return relay.Port
	}
}

// The packets to LiveKit's UDP port are lost, and nothing listens at its TCP port.
func TestMediaReportsBlockedPorts(t *testing.T) {
	t.Parallel()
	closed := 0
	s, gateway := firewall(t, lossy(t), func(*rig.LiveKit) int { closed = rig.FreePort(t); return closed })
	results := media(t, s.config(nil), gateway)
	wantResult(t, results, "gateway "+gateway, OK)
	wantResult(t, results, "media publish", Fault, "Failed by ICE timeout", "udp 127.0.0.1:", fmt.Sprintf("tcp 127.0.0.1:%d", closed), "open them", "rtc.node_ip", "docs/runbook.md")
	if plays := of(results, "media play"); len(plays) > 0 {
		t.Errorf("a play without a publisher: %+v", plays)
	}
	s.wantNothingLeft(t)
}

func TestMediaReportsBlockedUDPPort(t *testing.T) {
	t.Parallel()
	s, gateway := firewall(t, lossy(t), func(l *rig.LiveKit) int { return l.TCPPort })
	results := media(t, s.config(nil), gateway)
	route := fmt.Sprintf("by tcp 127.0.0.1:%d", s.liveKit.TCPPort)
	wantResult(t, results, "media publish", Warning, "PUBLISHING", route, "UDP ports")
	wantResult(t, results, "media play", Warning, "PLAYING", route, "UDP ports")
}
