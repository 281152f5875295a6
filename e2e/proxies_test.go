package e2e

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Each sample configuration of deploy/proxies carries sessions over ws and wss, passes on the client's
// address and serves lbUrl.
func TestProxySamplesCarrySessions(t *testing.T) {
	rig.SkipShort(t)
	t.Parallel()
	cert, key, roots := certificate(t)
	ports, redis := rig.NewPorts(t), rig.StartRedis(t)
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()})
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports, LiveKit: lk, Redis: redis.Addr, Env: map[string]string{
		"WCS_LISTEN_TRUSTEDPROXIES": "[127.0.0.1/32]", "WCS_SESSION_PINGINTERVAL": "1s",
	}})
	g.AwaitReady(t)
	samples, err := os.ReadDir("../deploy/proxies")
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) < 3 {
		t.Fatalf("found %d samples", len(samples))
	}
	const client = "127.0.0.77"
	dialer := websocket.Dialer{
		NetDial:         (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}).Dial,
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}
	for _, sample := range samples {
		t.Run(sample.Name(), func(t *testing.T) {
			p := rig.StartProxy(t, sample.Name(), rig.ProxyOptions{Gateway: g, Cert: cert, Key: key})
			for _, url := range append([]string{p.URL}, p.Secures...) {
				c := rig.DialWith(t, &dialer, url)
				token := c.LoginKept("defaultApp", "")
				if !strings.Contains(token, "/"+client+":") {
					t.Errorf("%s: session %q does not have the client's address %s", url, token, client)
				}
				for range 2 { // the second one shows that an idle socket stays open
					c.Await("ping")
				}
				id := strings.ReplaceAll(sample.Name()+url, "/", "-")
				c.Publish(id, id, rig.NewPublisher(t, rig.PeerOptions{}))
				c.Unpublish(id, id)
			}
			plain := strings.Replace(p.URL, "ws://", "http://", 1)
			if got, want := balancerAnswer(t, plain+"lb"), "127.0.0.1"; got != want {
				t.Errorf("lbUrl is answered with %q, want %q", got, want)
			}
			res, err := http.Get(plain + "metrics")
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close() // only the status counts
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("/metrics is reachable through the proxy: %s", res.Status)
			}
		})
	}
}

// balancerAnswer is the server that lbUrl is answered with.
func balancerAnswer(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // was read
	var answer struct{ Server string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %s: %v", url, res.Status, err)
	}
	return answer.Server
}
