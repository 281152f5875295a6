package ends

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/translate"
)

// reasons returns every reason that reasons.go declares.
func reasons(t *testing.T) (all []Reason) {
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Reason = "([a-z_]+)"`).FindAllSubmatch(source, -1) {
		all = append(all, Reason(m[1]))
	}
	if len(all) < 27 {
		t.Fatalf("reasons %q", all)
	}
	return all
}

func TestEndReasonsHaveVendorInfo(t *testing.T) {
	tests := []struct {
		by     translate.EndReason
		wasUp  bool
		reason Reason
		info   string
	}{
		{translate.EndTimeout, true, ICEKeepAlive, "Failed by ICE keep alive"},
		{translate.EndTimeout, false, ICETimeout, "Failed by ICE timeout"},
		{translate.EndRemoved, true, Removed, "Requested stream shutdown"},
		{translate.EndRoomClosed, true, Removed, "Requested stream shutdown"},
		{translate.EndShutdown, true, LiveKitShutdown, "Stream failed"},
		{translate.EndMedia, true, RTPActivity, "Failed by RTP activity"},
		{translate.EndReplaced, true, LiveKitLost, "Failed by error"},
		{translate.EndClient, true, LiveKitLost, "Failed by error"},
		{translate.EndAbsent, true, LiveKitLost, "Failed by error"},
		{translate.EndUnknown, false, LiveKitLost, "Failed by error"},
		{"of a later version", true, LiveKitLost, "Failed by error"},
	}
	for _, tt := range tests {
		if reason, info := ByLiveKit(tt.by, tt.wasUp); reason != tt.reason || info != tt.info {
			t.Errorf("ByLiveKit(%q, %v) = %s, %q, want %s, %q", tt.by, tt.wasUp, reason, info, tt.reason, tt.info)
		}
	}
}

// What the client's network and the client's messages cause is never a fault of a server.
func TestFaultsOfClientsAreNotUpstream(t *testing.T) {
	upstream := []Reason{BackendFailed, LiveKitFailed, LiveKitLost, LiveKitShutdown, NameLost, Overloaded, RedisFailed}
	var got []Reason
	for _, r := range reasons(t) {
		if r.Class() == Upstream {
			got = append(got, r)
		}
		if r.Media() && r.Class() != Client {
			t.Errorf("%s is of class %s", r, r.Class())
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(upstream, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMetricsDocumentListsEveryReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Reasons\n")
	got := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(section, -1) {
		got[m[1]] = m[2]
	}
	want := map[string]string{}
	for _, r := range reasons(t) {
		want[string(r)] = string(r.Class())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md, reasons and classes, -want +got:\n%s", diff)
	}
}

func TestMediaFailuresHaveSeriesBeforeTheFirst(t *testing.T) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ends"}, []string{"kind", "class", "reason", "app"})
	r := New(total, false)
	r.Preset("a")
	r.Preset("b")
	if n := testutil.CollectAndCount(total); n != 2*2*3 {
		t.Errorf("%d series, want 12", n)
	}
	r.Add(End{Kind: Play, Reason: ICETimeout, App: "a"})
	if n := testutil.ToFloat64(total.WithLabelValues("play", "client", "ice_timeout", "a")); n != 1 {
		t.Errorf("count %v, want 1", n)
	}
}
