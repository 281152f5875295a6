package e2e

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// Whatever alerts and dashboard name is in a scrape of a gateway that has been used a little.
func TestScrapeHasWhatAlertsAndDashboardName(t *testing.T) {
	t.Parallel()
	backend := rig.StartBackend(t)
	rest := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cert, key, _ := certificate(t)
	old := rig.StartScriptedServer(t)
	s := rig.NewStage(t, map[string]string{
		"WCS_APPLICATIONS": fmt.Sprintf("{defaultApp: {hooks: {url: %q}, pull: {allow: ['rtsp://*']}}, moving: {route: {default: old}}, both: {hybrid: {upstream: old}}}", backend.URL),
		"WCS_PULL_SECRET":  "0123456789abcdef0123456789abcdef",
		"WCS_UPSTREAMS":    fmt.Sprintf("{old: {url: %q}}", old.URL), "WCS_REST_LISTEN": rest, "WCS_REST_AUTH": "none",
		"WCS_LISTEN_SECURE": "127.0.0.1:0", "WCS_LISTEN_TLS_CERT": cert, "WCS_LISTEN_TLS_KEY": key,
	}, "")
	c, d := rig.Connect(t, s.Gateway.URL, "defaultApp"), rig.Connect(t, s.Gateway.URL, "defaultApp")
	c.Publish("scraped", "scraped", rig.NewPublisher(t, rig.PeerOptions{}))
	d.Play("scraped-play", "scraped", rig.NewPlayer(t, rig.PeerOptions{}))
	c.Await("inboundVideoRate") // a probe measures
	moving := rig.Dial(t, s.Gateway.URL)
	moving.AcceptUnknown() // its server's message is short
	moving.Send("connection", map[string]any{"appKey": "moving"})
	old.Accept(t).Send(websocket.TextMessage, `{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"m","status":"PLAYING"}]}`)
	both := rig.Connect(t, s.Gateway.URL, "both")
	both.Send("playStream", rig.StreamRequest("there-play", "there", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	link := old.Accept(t)
	for _, m := range []string{`{"message":"getUserData","data":[{}]}`, `{"message":"getVersion","data":["5.2"]}`} { // the latter is dropped
		link.Send(websocket.TextMessage, m)
	}
	if status, _, _ := get(t, "http://"+rest+"/rest-api/stream/find_all"); status != http.StatusOK {
		t.Errorf("find_all: %d", status)
	}
	c.Unpublish("scraped", "scraped")
	d.WantStatus("scraped-play", "FAILED", "Stopped by publisher stop")
	d.Close()
	var named []string
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		text, err := os.ReadFile("../deploy/chart/wcs-gateway/files/" + file)
		if err != nil {
			t.Fatal(err)
		}
		named = append(named, regexp.MustCompile(`\bwcs_[a-z_]+`).FindAllString(string(text), -1)...)
	}
	slices.Sort(named)
	named = slices.DeleteFunc(slices.Compact(named), func(name string) bool {
		return strings.HasPrefix(name, "wcs_pull_") // of the workers; cmd/wcs-pull has their scrape
	})
	if len(named) < 20 {
		t.Fatalf("alerts and dashboard name only %q", named)
	}
	var missing []string
	scraped := func() bool {
		_, _, body := get(t, s.Gateway.Internal+"/metrics")
		missing = slices.DeleteFunc(slices.Clone(named), func(name string) bool {
			return strings.Contains(string(body), "\n"+name+"{") || strings.Contains(string(body), "\n"+name+" ")
		})
		return len(missing) == 0
	}
	for end := time.Now().Add(20 * time.Second); !scraped() && time.Now().Before(end); { // the last events take a moment
		awaitRoundTrip(t, c)
	}
	if len(missing) > 0 {
		t.Errorf("not in the scrape: %q", missing)
	}
}
