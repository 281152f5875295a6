package admin

import (
	"slices"
	"testing"
)

func TestMessageLogOmitsWhatComesRegularly(t *testing.T) {
	var l MessageLog
	for _, name := range []string{"connection", "ping", "pong", "webRTCMetricsBatch", "webRTCMetricsClientDescription", "publishStream"} {
		l.Received(name, 10)
	}
	for _, name := range []string{"ping", "inboundVideoRate", "notifyStreamStatusEvent"} {
		l.Sent([]byte(`{"message":"` + name + `","data":[]}`))
	}
	var types []string
	for _, m := range l.Last() {
		types = append(types, m.Type)
	}
	if want := []string{"connection", "webRTCMetricsClientDescription", "publishStream", "notifyStreamStatusEvent"}; !slices.Equal(types, want) {
		t.Errorf("messages %v, want %v", types, want)
	}
}
