package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// consoleEvent returns the data of the first event with that name that the console's overview gets.
func consoleEvent(t *testing.T, g *rig.Gateway, event string) (data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Listening(t, "rest.listen")+"/console/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("ops", "secret")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // the stream has no end
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == "event: "+event && lines.Scan() {
			return strings.TrimPrefix(lines.Text(), "data: ")
		}
	}
	t.Fatalf("status %d, no event %s: %v", res.StatusCode, event, lines.Err())
	return ""
}

// The packets between the client and LiveKit's media port are lost, as behind a firewall. The metric, the
// alert WcsIceTimeouts, the console and the log show it.
func TestBlockedMediaPortsAreReported(t *testing.T) {
	t.Parallel()
	env := restEnv(t)
	env["WCS_REST_CONSOLE"] = "true"
	s := rig.NewStage(t, env, "")
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
	var failures struct {
		Rows []struct {
			Reason, Kind, Class, App, Address string
			Count                             int
			At                                int64
		}
	}
	if err := json.Unmarshal([]byte(consoleEvent(t, s.Gateway, "failures")), &failures); err != nil {
		t.Fatal(err)
	}
	if len(failures.Rows) != 1 {
		t.Fatalf("the console shows %+v, want one failure", failures.Rows)
	}
	row := failures.Rows[0]
	ago := time.Since(time.UnixMilli(row.At))
	if row.Reason != "ice_timeout" || row.Kind != "publish" || row.Class != "client" || row.App != "defaultApp" || row.Count != 1 ||
		!strings.HasPrefix(row.Address, "127.0.0.1:") || ago < 0 || ago > time.Minute {
		t.Errorf("the console shows %+v, %v ago", row, ago)
	}
	wantIceAlert(t, s.Gateway.Metrics(t), series)
	s.WantClean(t, "blocked")
}

// wantIceAlert runs promtool with the series of a scrape: the alert WcsIceTimeouts fires if failed, the
// series of the failure, grows by one a minute while all others stay.
func wantIceAlert(t *testing.T, metrics, failed string) {
	t.Helper()
	tool, err := filepath.Abs("../bin/promtool") // where .ci/setup puts it, if there is no other
	if err != nil {
		t.Fatal(err)
	}
	if installed, err := exec.LookPath("promtool"); err == nil {
		tool = installed
	}
	rules, err := filepath.Abs("../deploy/chart/wcs-gateway/files/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var input []string
	for line := range strings.Lines(metrics) {
		name, _, _ := strings.Cut(line, "} ")
		if !strings.HasPrefix(name, "wcs_stream_ends_total{") && !strings.HasPrefix(name, "wcs_stream_start_seconds_count{") {
			continue
		}
		values := "0x30"
		if name+"}" == failed {
			values = "0x5 1+1x24"
		}
		input = append(input, fmt.Sprintf(`{series: '%s, namespace="media", job="wcs"}', values: '%s'}`, name, values))
	}
	const firing = `ALERTS{alertname="WcsIceTimeouts", alertstate="firing", severity="warning", namespace="media", job="wcs", kind="publish"}`
	test := fmt.Sprintf("rule_files: [%q]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series: [%s]\n    promql_expr_test: [{expr: 'ALERTS{alertname=\"WcsIceTimeouts\"}', eval_time: 20m, exp_samples: [{labels: '%s', value: 1}]}]\n",
		rules, strings.Join(input, ", "), firing)
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, []byte(test), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s\nof\n%s", err, out, test)
	}
}
