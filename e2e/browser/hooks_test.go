package browser

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// hookTests check what users of the SDK see of their application's backend: docs/backend-hooks.md.
var hookTests = map[string]func(s *scene, sdk string){
	"a backend refuses a session":                                refusedByConnect,
	"a backend refuses streams":                                  refusedByBackend,
	"a backend renames a stream":                                 renamedByBackend,
	"a backend answers data, and its failed events are reported": dataAndEvents,
	"a backend ends streams by their keep-alive":                 endedByBackend,
}

// startHooked starts the backend of hookedApp. Its answers depend on the custom of a client and on stream
// names, which are unique to a test.
func startHooked(t *testing.T) *rig.Backend {
	b := rig.StartBackend(t)
	overwrite := map[string]any{"restOnError": "FAIL", "restPolicy": "OVERWRITE", "restOverwrite": "name"}
	failing := map[string]any{"restOnError": "FAIL"}
	b.On("connect", func(w http.ResponseWriter, h rig.Hook) {
		if strings.Contains(string(h.Body["custom"]), "refused") {
			rig.Refuse(http.StatusForbidden)(w, h)
			return
		}
		rig.Change(map[string]any{"restClientConfig": map[string]any{
			"publishStream": overwrite, "playStream": failing, "OnDataEvent": failing, "StreamStatusEvent": failing, "StreamKeepAliveEvent": failing,
		}})(w, h)
	})
	byName := func(w http.ResponseWriter, h rig.Hook) {
		name := h.Text("name")
		switch {
		case strings.HasPrefix(name, "forbidden"):
			rig.Refuse(http.StatusForbidden)(w, h)
		case strings.HasPrefix(name, "alias-"):
			rig.Change(map[string]any{"name": strings.TrimPrefix(name, "alias-")})(w, h)
		default:
			rig.Echo(w, h)
		}
	}
	b.On("publishStream", byName)
	b.On("playStream", byName)
	b.On("StreamStatusEvent", func(w http.ResponseWriter, h rig.Hook) {
		if strings.HasPrefix(h.Text("name"), "noisy") {
			rig.Refuse(http.StatusForbidden)(w, h)
			return
		}
		rig.Echo(w, h)
	})
	b.On("StreamKeepAliveEvent", func(w http.ResponseWriter, h rig.Hook) {
		name, status := h.Text("name"), wcs.Status(h.Text("status"))
		if strings.HasPrefix(name, "unpaid") && status == wcs.StatusPlaying || strings.HasPrefix(name, "over") && status == wcs.StatusPublishing {
			rig.Refuse(http.StatusForbidden)(w, h)
			return
		}
		rig.Echo(w, h)
	})
	b.On("OnDataEvent", func(w http.ResponseWriter, h rig.Hook) {
		var payload struct{ Secret string }
		if err := json.Unmarshal(h.Body["payload"], &payload); err != nil || payload.Secret != "right" {
			rig.Refuse(http.StatusForbidden)(w, h)
			return
		}
		rig.Echo(w, h)
	})
	return b
}

func refusedByConnect(s *scene, sdk string) {
	c := s.legacyTab(sdk).connectWith(hookedApp, options{"who": "refused"})
	if events := c.events(); !slices.Equal(events, []string{"CONNECTED", "WARN Forbidden", "DISCONNECTED"}) {
		s.t.Errorf("session: %q", events)
	}
}

func refusedByBackend(s *scene, sdk string) {
	name := s.name("forbidden")
	c := s.legacyTab(sdk).login(hookedApp)
	c.start("publish", name, nil).want(wcs.StatusFailed, "Forbidden")
	c.start("play", name, nil).want(wcs.StatusFailed, "Forbidden")
	if events := c.events(); !slices.Equal(events, []string{"CONNECTED", "ESTABLISHED"}) {
		s.t.Errorf("session: %q", events)
	}
}

func renamedByBackend(s *scene, sdk string) {
	name := s.name("renamed")
	publisher := s.legacyTab(sdk).login(hookedApp).publish("alias-"+name, nil)
	viewer := s.legacyTab(sdk).login(defaultApp)
	player := viewer.play(name, nil)
	player.wantMedia(cameraMedia)
	if got := viewer.available("alias-" + name); got.There {
		s.t.Error("the stream exists under its old name, too")
	}
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
}

func dataAndEvents(s *scene, sdk string) {
	type outcome struct{ Kind, Info string }
	c := s.legacyTab(sdk).login(hookedApp)
	if got := call[outcome](c.tab.tab, "sendData", c.index, options{"secret": "right"}); got != (outcome{Kind: "resolved"}) {
		s.t.Errorf("sendData: %+v", got)
	}
	if got := call[outcome](c.tab.tab, "sendData", c.index, options{"secret": "wrong"}); got != (outcome{"rejected", "Forbidden"}) {
		s.t.Errorf("sendData: %+v", got)
	}
	publisher := c.publish(s.name("noisy"), nil)
	c.tab.do("sessionTold", c.index, "WARN", "StreamStatusEvent: Forbidden")
	publisher.stop() // the stream continued
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
}

func endedByBackend(s *scene, sdk string) {
	unpaid, over := s.name("unpaid"), s.name("over")
	publisher, viewer := s.legacyTab(sdk).login(hookedApp), s.legacyTab(sdk).login(hookedApp)
	watched := publisher.publish(unpaid, nil)
	viewer.play(unpaid, nil).want(wcs.StatusFailed, wcs.InfoTerminatedByKeepAlive)
	publisher.publish(over, nil).want(wcs.StatusFailed, wcs.InfoTerminatedByKeepAlive)
	watched.stop() // it continued
	watched.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
}
