package gateway

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// samples returns the labels of a metric's samples, and the number of observations of histograms.
func samples(t *testing.T, reg *prometheus.Registry, name string) map[string]uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetName() + "=" + l.GetValue() + " "
			}
			found[key] = m.GetHistogram().GetSampleCount()
		}
	}
	return found
}

func TestCallsToLiveKitAreLabelledInSnakeCase(t *testing.T) {
	reg := prometheus.NewRegistry()
	NewMetrics(reg).SFUCall("whip publish", time.Second, nil)
	if got := samples(t, reg, "wcs_sfu_call_seconds"); got["class=ok op=whip_publish "] != 1 {
		t.Errorf("got %v", got)
	}
}

func TestDurationOfRESTRequestsIsRecorded(t *testing.T) {
	reg := prometheus.NewRegistry()
	NewMetrics(reg).RESTRequest("stream/find", 200, time.Second)
	if got := samples(t, reg, "wcs_rest_request_seconds"); got["path=stream/find "] != 1 {
		t.Errorf("got %v", got)
	}
}
