// Package clients tests the gateway with clients that are not the WCS SDK in Chromium, as Debian has them:
// Firefox, pages from files, GStreamer's webrtcbin and aiortc. Each has one short case. The other cases
// run with the flag -more (make test-clients).
package clients

import (
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wcsgateway/e2e/rig"
)

// patience is the timeout of every wait; tests on a loaded machine are slow.
const patience = 60 * time.Second

// stage is a rig.Stage with a backend of the application defaultApp.
type stage struct {
	*rig.Stage
	backend *rig.Backend
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStage starts a stage on the loopback interface.
func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageAt(t, "")
}

// newStageAt starts a stage whose LiveKit has media on an address of this machine; "" is that of the loopback
// interface.
func newStageAt(t *testing.T, address string) *stage {
	t.Helper()
	s := &stage{&rig.Stage{Ports: rig.NewPorts(t), Redis: rig.StartRedis(t)}, rig.StartBackend(t)}
	s.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: s.Ports.Webhook(), Address: address})
	s.Gateway = rig.StartGateway(t, rig.GatewayOptions{
		Ports: s.Ports, LiveKit: s.LiveKit, Redis: s.Redis.Addr,
		Env: map[string]string{"WCS_APPLICATIONS": fmt.Sprintf(`{defaultApp: {hooks: {url: %q}}, roomApp: {}}`, s.backend.URL)},
	})
	s.Gateway.AwaitReady(t)
	return s
}

// networkAddress returns an IPv4 address of this machine that is not of the loopback interface, which Firefox
// does not use for media.
func networkAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no IPv4 address outside the loopback interface, which Firefox does not use for media")
	return ""
}
