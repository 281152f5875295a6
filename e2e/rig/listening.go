package rig

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Listening returns the address that the gateway has bound for a setting, such as rest.listen with port 0.
func (g *Gateway) Listening(t testing.TB, setting string) (addr string) {
	t.Helper()
	Eventually(t, 20*time.Second, "the gateway listens: "+setting, func() bool {
		for line := range strings.Lines(g.Output()) {
			var l struct{ Addr, Message string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Message == "listening: "+setting {
				addr = l.Addr
			}
		}
		return addr != ""
	})
	return addr
}
