package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"wcsgateway/e2e/rig"
)

// A page of another origin uses the SDK's REST module, as WCS' own consoles do: the browser sends a
// preflight request before each POST.
func TestPageCallsREST(t *testing.T) {
	t.Parallel()
	rig.SkipShort(t)
	module, err := os.ReadFile("node_modules/websdk-" + newestSDK + "/src/rest-module.js")
	if err != nil {
		t.Fatal(err)
	}
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<script>var module = {};\n%s</script>", module) // the browser may have closed the connection
	}))
	t.Cleanup(pages.Close)
	ports, redis := rig.NewPorts(t), rig.StartRedis(t)
	livekit := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()})
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports, LiveKit: livekit, Redis: redis.Addr, Env: map[string]string{
		"WCS_REST_LISTEN": "127.0.0.1:0", "WCS_REST_AUTH": "none", "WCS_REST_ORIGINS": fmt.Sprintf("[%q]", pages.URL),
	}})
	g.AwaitReady(t)
	api := "http://" + g.Listening(t, "rest.listen")
	pub := rig.Connect(t, g.URL, "defaultApp")
	pub.Publish("page-pub", "page", rig.NewPublisher(t, rig.PeerOptions{}))

	tab, closeTab := openTab(t, startBrowser(t))
	t.Cleanup(closeTab)
	call := func(page, method string) string {
		t.Helper()
		script := fmt.Sprintf(`module.exports.instance(%q, %q).%s.then(r => JSON.stringify(r ?? null), x => "refused " + x?.status)`, api, api, method)
		if err := chromedp.Do(tab, chromedp.Navigate(page)); err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		answer, err := chromedp.Run(tab, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		return answer
	}
	for _, method := range []string{"stream.findAll()", `stream.find("page-pub")`, `stream.find(undefined, "page", true)`} {
		var list []struct{ MediaSessionID, Status string }
		answer := call(pages.URL, method)
		if err := json.Unmarshal([]byte(answer), &list); err != nil || len(list) != 1 || list[0].MediaSessionID != "page-pub" || list[0].Status != "PUBLISHING" {
			t.Errorf("%s: %s", method, answer)
		}
	}
	if s := call(pages.URL, "stat.poll()"); !strings.Contains(s, `"streams_webrtc_in":"1"`) {
		t.Errorf("statistics: %s", s)
	}
	other := strings.Replace(pages.URL, "127.0.0.1", "localhost", 1) // the same page at an address that is not in the list
	if s := call(other, `stream.terminate("page-pub")`); !strings.HasPrefix(s, "refused") {
		t.Errorf("a page that is not in rest.origins: %s", s)
	}
	if s := call(pages.URL, `stream.terminate("page-pub")`); s != "null" {
		t.Errorf("terminate: %s", s)
	}
	since := time.Now()
	pub.WantStatus("page-pub", "UNPUBLISHED", "Stopped by rest /terminate")
	took := time.Since(since)
	t.Logf("publisher notified within %v of the answer", took)
	if took > 5*time.Second { // some milliseconds, unless the machine is busy
		t.Errorf("publisher notified %v after the answer", took)
	}
}
