package gateway

import (
	"strings"
	"testing"
	"wcsgateway/gateway/session"
)

// Every availableStream is answered, also those that exceed the limit or are malformed.
func TestAvailableAlwaysAnswers(t *testing.T) {
	w := newWorld(t, nil)
	c := w.connect(t, podA)
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": 123})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"id":"q","status":"false"`) {
		t.Errorf("numeric name: %s", m.Raw)
	}
	const n = 2 * session.MaxWaitingLookups
	for range n {
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "none"})
	}
	for range n {
		if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"status":"false"`) {
			t.Errorf("%s", m.Raw)
		}
	}
}

// A name is checked before it waits: behind lookups that hang, a bad one is answered at once.
func TestAvailableChecksNamesBeforeTheyWait(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.NameBytes = 255 })
	c := w.connectAs(t, podA, "native")
	hold := make(chan struct{})
	w.sfu.set(func() { w.sfu.hold["list"] = hold })
	for range 10 {
		c.Send("availableStream", map[string]any{"mediaSessionId": "held", "name": "none"})
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": strings.Repeat("x", 100_000)})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"id":"q"`) {
		t.Errorf("%s", m.Raw)
	}
	close(hold)
}
