package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
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

func TestMessageLogCountsHooksOfStreams(t *testing.T) {
	var l MessageLog
	call := func(method, id string, err error) {
		l.Called(method, map[string]json.RawMessage{"mediaSessionId": json.RawMessage(id)}, time.Now(), err)
	}
	call("publishStream", `"a"`, nil)
	call("StreamKeepAliveEvent", `"a"`, nil)
	call("publishStream", `"b"`, nil)
	call("StreamKeepAliveEvent", `"a"`, errors.New("refused"))
	l.Called("connect", nil, time.Now(), nil)
	var got []string
	for _, h := range l.Hooks() {
		got = append(got, fmt.Sprintf("%s %s %d %t", h.Method, h.MediaID, h.Count, h.Failed))
	}
	if want := []string{"publishStream a 1 false", "publishStream b 1 false", "StreamKeepAliveEvent a 2 true"}; !slices.Equal(got, want) {
		t.Errorf("hooks %v, want %v", got, want)
	}
	for i := range 2 * maxLoggedHooks {
		call("publishStream", fmt.Sprintf("%q", fmt.Sprint(i)), nil)
	}
	if h := l.Hooks(); len(h) != maxLoggedHooks || h[maxLoggedHooks-1].MediaID != "99" || cap(l.hooks) > 2*maxLoggedHooks+2 {
		t.Errorf("%d hooks are kept, capacity %d, last %+v", len(h), cap(l.hooks), h[len(h)-1])
	}
	var none *MessageLog
	none.Called("publishStream", nil, time.Now(), nil)
	if none.Hooks() != nil {
		t.Error("hooks are kept without a log")
	}
}
