package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// front is a gateway with its own LiveKit in front of the world's gateway, which plays the old server.
type front struct {
	*rig.Gateway
	t    *testing.T
	file string // configuration
	old  string // ws://
}

// frontVersion is the version that a front's own clients get.
const frontVersion = "5.2.0-front"

// startFront starts the gateway. settings are those of its defaultApp.
func (w *world) startFront(t *testing.T, settings string) *front {
	t.Helper()
	f := &front{t: t, file: filepath.Join(t.TempDir(), "gateway.yaml"), old: strings.TrimSuffix(w.stage.Gateway.URL, "/")}
	f.configure(settings)
	ports := rig.NewPorts(t)
	f.Gateway = rig.StartGateway(t, rig.GatewayOptions{
		Ports: ports, LiveKit: rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()}), Redis: w.stage.Redis.Addr,
		Env: map[string]string{"WCS_DEPLOYMENT": "front", "WCS_VERSION": frontVersion, "WCS_CONFIG": f.file},
	})
	f.AwaitReady(t)
	return f
}

func (f *front) configure(settings string) {
	f.t.Helper()
	text := fmt.Sprintf("upstreams: {old: {url: %q}}\napplications: {defaultApp: {%s}}\n", f.old, settings)
	if err := os.WriteFile(f.file+".new", []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.file+".new", f.file); err != nil {
		f.t.Fatal(err)
	}
}

// reload changes the settings and waits until new sessions have them.
func (f *front) reload(settings string) {
	f.t.Helper()
	const done = "configuration reloaded"
	before := strings.Count(f.Output(), done)
	f.configure(settings)
	rig.Eventually(f.t, patience, "the gateway has reloaded", func() bool { return strings.Count(f.Output(), done) > before })
}

// Users keep their side when they come back to another pod with another SDK.
func TestShareOfSDKLoginsIsSticky(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pods := []*front{w.startFront(t, "route: {default: old, share: 10, salt: fixed}"), w.startFront(t, "route: {default: old, share: 10, salt: fixed}")}
	t.Run("all", func(t *testing.T) {
		s := w.newScene(t)
		tabs := []*legacyTab{s.legacyTab(oldestSDK), s.legacyTab(newestSDK)}
		isNew := func(pod, sdk int, logins []string) (all []bool) {
			for part := range slices.Chunk(logins, 50) {
				for _, version := range call[[]string](tabs[sdk].tab, "versionsFor", pods[pod].URL, defaultApp, part) {
					all = append(all, version == frontVersion)
				}
			}
			return all
		}
		const half = 250
		var again [2][]string
		here := make(map[string]bool)
		count := 0
		for i := range 2 {
			logins := make([]string, half)
			for j := range logins {
				logins[j] = fmt.Sprintf("user-%d", i*half+j)
			}
			for j, side := range isNew(i, i, logins) {
				here[logins[j]] = side
				if side {
					count++
				}
				if side || j%10 == 0 {
					again[i] = append(again[i], logins[j])
				}
			}
		}
		for i := range 2 {
			for j, side := range isNew(1-i, 1-i, again[i]) {
				if side != here[again[i][j]] {
					t.Errorf("%s changed sides", again[i][j])
				}
			}
		}
		t.Logf("%d of 500 logins are served by the new side", count)
		if count < 30 || count > 70 {
			t.Errorf("%d of 500 logins are served by the new side, with a share of 10 %%", count)
		}
	})
}

// All users are moved to the new server, and back while they publish and play.
func TestRollbackByReloadCutsNoStreamOfSDK(t *testing.T) {
	w := newWorld(t)
	f := w.startFront(t, "route: {default: old, share: 100}")
	t.Run("all", func(t *testing.T) {
		s := w.newScene(t)
		s.gateway = f.URL
		type running struct{ publisher, player *stream }
		var all []running
		start := func(sdk string) running {
			name := s.name("moved")
			r := running{s.legacyTab(sdk).login(defaultApp).publish(name, nil), s.legacyTab(sdk).login(defaultApp).play(name, nil)}
			r.player.wantMedia(cameraMedia)
			return r
		}
		for _, sdk := range []string{oldestSDK, newestSDK} {
			all = append(all, start(sdk))
		}
		if strings.Contains(f.Output(), "session spliced") {
			t.Fatal("a session is not served by the new server")
		}
		f.reload("route: {default: old, share: 0}")
		after := start(newestSDK)
		if !strings.Contains(f.Output(), "session spliced") {
			t.Error("a new session is served by the new server after the rollback")
		}
		for _, r := range append(all, after) {
			r.player.wantMedia(cameraMedia)
			r.publisher.stop()
			r.publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop) // and no status before
			r.player.want(wcs.StatusFailed, wcs.InfoStoppedByPublisherStop)
		}
	})
	w.stage.WantClean(t)
}

// Some sessions are spliced, and the others play streams of both servers.
func TestKilledOldServerEndsItsStreamsOfSDKOnly(t *testing.T) {
	const unavailable = "Upstream server is not available"
	w := newWorld(t)
	f := w.startFront(t, `route: {rules: [{custom: {side: old}, to: old}]}, hybrid: {upstream: old}`)
	s := w.newScene(t)
	s.gateway = f.URL
	type playing struct {
		spliced    *session
		here, lost *stream
		onOld      string
	}
	var all []playing
	for _, sdk := range []string{oldestSDK, newestSDK} {
		p := playing{onOld: "old-" + sdk} // the killed server leaves its records
		tab := s.legacyTab(sdk)
		p.spliced = tab.connectWith(defaultApp, options{"side": "old"})
		p.spliced.publish(p.onOld, nil)
		name := s.name("here")
		s.legacyTab(sdk).login(defaultApp).publish(name, nil)
		viewer := s.legacyTab(sdk).login(defaultApp)
		p.here, p.lost = viewer.play(name, nil), viewer.play(p.onOld, nil)
		p.here.wantMedia(cameraMedia)
		p.lost.wantMedia(cameraMedia)
		all = append(all, p)
	}
	w.stage.Gateway.Kill()
	for _, p := range all {
		p.spliced.tab.do("sessionStatus", p.spliced.index, []string{"DISCONNECTED"})
		p.lost.want(wcs.StatusFailed, unavailable)
		p.here.wantMedia(cameraMedia)
		again := p.spliced.tab.connectWith(defaultApp, options{"side": "old"})
		if events := strings.Join(again.events(), ", "); !strings.Contains(events, "DISCONNECTED") && !strings.Contains(events, "FAILED") || strings.Contains(events, "ESTABLISHED") {
			t.Errorf("a session of the killed server: %s", events)
		}
		name := s.name("here")
		later := p.spliced.tab.login(defaultApp).publish(name, nil)
		p.here.tab.login(defaultApp).play(name, nil).wantMedia(cameraMedia)
		later.stop()
		later.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	}
	if strings.Contains(f.Output(), "panic") {
		t.Error("the log contains a panic")
	}
}
