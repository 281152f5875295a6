package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/session"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
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
	w.sfu.set(func() { w.sfu.hold["participants"] = hold })
	for range 10 {
		c.Send("availableStream", map[string]any{"mediaSessionId": "held", "name": "none"})
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": strings.Repeat("x", 100_000)})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"id":"q"`) {
		t.Errorf("%s", m.Raw)
	}
	close(hold)
}

// Five hundred native participants that publish nothing cost one list and eight questions a second, however
// many clients look and however they do: by availableStream, playStream or publishStream.
func TestClientsShareListsOfNatives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, nil)
		w.sfu.set(func() {
			for i := range 500 {
				w.sfu.join("native.s", translate.Participant{Identity: translate.Identity(fmt.Sprint("idle", i)), JoinedAt: time.Unix(int64(i), 0)})
			}
		})
		calls := func() (n int) {
			synctest.Wait()
			for len(w.sfu.called) > 0 {
				if op := <-w.sfu.called; op == "participants" || op == "participant" {
					n++
				}
			}
			return n
		}
		for i := range 10 {
			c := w.connectAs(t, podA, "native")
			c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
			playAV(t, c, fmt.Sprint("play", i), "s")
			c.Await("availableStream")
			c.WantStatus(fmt.Sprint("play", i), "FAILED", wcs.InfoSessionDoesNotExist)
		}
		if n := calls(); n != 1+8 {
			t.Errorf("%d calls to LiveKit, want 1 and 8", n)
		}
		w.sfu.set(func() { // one of the last publishes, and the list shows it
			w.sfu.join("native.s", translate.Participant{Identity: "idle400", JoinedAt: time.Unix(400, 0), Active: true, Tracks: avTracks})
		})
		time.Sleep(time.Second)
		c := w.connectAs(t, podA, "native")
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
		if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"status":"true"`) {
			t.Errorf("%s", m.Raw)
		}
		if n := calls(); n != 2 {
			t.Errorf("%d calls to LiveKit for a publisher that the list shows, want 2", n)
		}
	})
}

// One address has a part of the lookups that run at a time: those of another do not wait for it.
func TestAddressesTakeTurnsToLookUpStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld()
		w.net = newPipeNet()
		w.start(t, podA, nil)
		hold := make(chan struct{})
		store := &heldFinds{Store: w.pods[podA].env.Store, hold: hold}
		w.pods[podA].env.Store = store
		ask := func(from string, questions int) *rig.Client {
			w.net.setClient(from)
			c := w.connect(t, podA)
			for range questions {
				c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "none"})
			}
			synctest.Wait()
			return c
		}
		var all []*rig.Client
		for i := range 20 {
			all = append(all, ask(fmt.Sprint("192.0.2.1:", i+1), 4))
		}
		if n := store.asked.Load(); n != session.MaxLookups/4 {
			t.Errorf("%d lookups of one address at a time, want %d", n, session.MaxLookups/4)
		}
		all = append(all, ask("192.0.2.2:1", 4))
		if n := store.asked.Load(); n != session.MaxLookups/4+4 {
			t.Errorf("%d lookups with those of another address, want 4 more", n)
		}
		close(hold)
		for _, c := range all {
			for range 4 {
				if m := c.Await("availableStream"); !strings.Contains(m.Raw, wcs.InfoStreamNotFound) {
					t.Errorf("%s", m.Raw)
				}
			}
		}
	})
}

// heldFinds holds lookups in the store.
type heldFinds struct {
	session.Store
	hold  chan struct{}
	asked atomic.Int32
}

func (h *heldFinds) FindStream(ctx context.Context, name string) (state.Stream, error) {
	h.asked.Add(1)
	<-h.hold
	return h.Store.FindStream(ctx, name)
}

// Each application has the text that its apps compare.
func TestPlayOfMissingStreamFailsWithTextOfApplication(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		app := c.Apps["defaultApp"]
		app.Key, app.MissingStream = "older", wcs.InfoStreamNotFound
		c.Apps["older"] = app
	})
	for app, info := range map[string]string{"defaultApp": wcs.InfoSessionDoesNotExist, "older": wcs.InfoStreamNotFound} {
		c := w.connectAs(t, podA, app)
		playAV(t, c, "none", "none")
		c.WantStatus("none", "FAILED", info)
	}
}
