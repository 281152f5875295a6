package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// The packets between the client and LiveKit's media port are lost, as behind a firewall. The metric has the
// series that the alert WcsIceTimeouts uses.
func TestBlockedMediaPortsAreReported(t *testing.T) {
	t.Parallel()
	s := rig.NewStage(t, nil, "")
	firewall := rig.StartRelay(t, s.LiveKit.UDPPort)
	firewall.Impair(rig.Impairment{Up: rig.Direction{Loss: 1}, Down: rig.Direction{Loss: 1}})
	c := rig.Connect(t, s.Gateway.URL, "defaultApp")
	series := `wcs_stream_ends_total{app="defaultApp",class="client",kind="publish",reason="ice_timeout"}`
	if m := s.Gateway.Metrics(t); !strings.Contains(m, series+" 0") {
		t.Error("no series before the first failure")
	}
	peer := rig.NewPublisher(t, rig.PeerOptions{})
	c.Send("publishStream", rig.StreamRequest("blocked", "blocked", peer.Offer(), true, nil))
	peer.SetAnswer(strings.ReplaceAll(c.AwaitSDP("blocked"), fmt.Sprintf(" %d ", s.LiveKit.UDPPort), fmt.Sprintf(" %d ", firewall.Port)))
	c.WantStatus("blocked", "FAILED", "Failed by ICE timeout")
	if up, _ := firewall.Traffic(); up.Lost == 0 || up.Passed != 0 {
		t.Errorf("packets of the client: %+v, want lost ones only", up)
	}
	wantLog(t, s.Gateway, `"message":"publish failed"`, `"level":"info"`, `"reason":"ice_timeout"`, `"class":"client"`, `"media":"blocked"`,
		`"candidates":"host udp loopback, host tcp loopback"`, `"connected":false`, `"remote":"127.0.0.1:`)
	rig.Eventually(t, 20*time.Second, "the failure is counted", func() bool { return strings.Contains(s.Gateway.Metrics(t), series+" 1") })
	for _, other := range []string{`class="upstream"`, `class="internal"`} {
		for line := range strings.Lines(s.Gateway.Metrics(t)) {
			if strings.HasPrefix(line, "wcs_stream_ends_total{") && strings.Contains(line, other) {
				t.Errorf("a fault of a server is counted: %s", line)
			}
		}
	}
	s.WantClean(t, "blocked")
}
