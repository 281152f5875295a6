package app

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/admin"
)

// lineCount counts the lines of a log.
type lineCount struct{ atomic.Int32 }

func (c *lineCount) Write(line []byte) (int, error) {
	c.Add(1)
	return len(line), nil
}

func TestFindingIsLoggedOnceWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		refused := admin.Finding{Level: "fault", Check: "livekit.url", Text: "refused", Hint: "start it"}
		ends := admin.Finding{Level: "warning", Check: "listen.tls", Text: "until tomorrow", Hint: "renew it"}
		looks := [][]admin.Finding{{refused}, {refused, ends}, nil, {refused}}
		var logged lineCount
		var looked atomic.Int32
		h := health{log: zerolog.New(&logged), look: func(context.Context) []admin.Finding { return looks[looked.Add(1)-1] }}
		go h.run(ctx)
		for i, want := range []int{1, 2, 2, 3} { // lines
			time.Sleep(map[bool]time.Duration{true: firstLook, false: lookInterval}[i == 0])
			synctest.Wait()
			if n, got := int(looked.Load()), int(logged.Load()); n != i+1 || got != want {
				t.Errorf("after %d looks: %d lines, want %d after %d", n, got, want, i+1)
			}
			if diff := cmp.Diff(looks[i], h.findings()); diff != "" {
				t.Errorf("findings after look %d, -want +got:\n%s", i+1, diff)
			}
		}
		cancel()
		synctest.Wait()
	})
}
