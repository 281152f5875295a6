// Package browser tests the gateway with real clients: the official WCS SDK in several versions and
// LiveKit's own SDK, both in a real browser.
package browser

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"wcsgateway/e2e/rig"
)

// patience is the timeout of every wait; tests on a loaded machine are slow.
const patience = 40 * time.Second

// cameraRate is the frames a second of the fake camera. Chromium's own are 20; two cores have to encode and
// decode everything.
const cameraRate = 10

// Versions of the WCS SDK in package.json.
const (
	oldestSDK = "2.0.180"
	middleSDK = "2.0.233" // the last version that leaves bitrate limits to the server
	newestSDK = "2.0.276"
)

// versions returns the SDKs with which a test of the basic operations runs: with -more all.
func versions() []string {
	if *more {
		return []string{oldestSDK, middleSDK, newestSDK}
	}
	return []string{oldestSDK, newestSDK}
}

// versionsOfFeatures returns the SDKs with which a test of other features runs: with -more the oldest one,
// too.
func versionsOfFeatures() []string {
	if *more {
		return []string{oldestSDK, newestSDK}
	}
	return []string{newestSDK}
}

// Applications of the gateway. They share a template, because a room must belong to one stream name only.
const (
	defaultApp = "defaultApp"
	nativeApp  = "native" // shares its rooms with native LiveKit clients
	h264App    = "h264"   // allows publishers only H264
	hookedApp  = "hooked" // has a backend

	applications = `{defaultApp: {room: "{name}"}, native: {room: "{name}", native: both, nativeData: true}, h264: {room: "{name}", codecs: [opus, H264]},` +
		` hooked: {room: "{name}", hooks: {url: %q, keepAliveInterval: 1s}}}`
)

//go:embed page
var pageFiles embed.FS

// world is what the tests share: a stage, a browser and the server of its pages.
type world struct {
	stage   *rig.Stage
	backend *rig.Backend
	browser context.Context // of chromedp
	pages   string          // http://127.0.0.1:port/
	names   atomic.Int64    // stream names used
}

// newWorld starts everything. It ends with the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	requireSDKs(t)
	w := &world{backend: startHooked(t)}
	w.stage = rig.NewStage(t, map[string]string{
		"WCS_APPLICATIONS": fmt.Sprintf(applications, w.backend.URL), "WCS_SNAPSHOT_FFMPEG": requireFFmpeg(t),
	}, "")
	server := httptest.NewServer(pageHandler())
	t.Cleanup(server.Close)
	w.pages = server.URL + "/"
	w.browser = startBrowser(t)
	return w
}

func requireSDKs(t *testing.T) {
	t.Helper()
	rig.SkipShort(t)
	for _, name := range []string{legacyScript(oldestSDK), legacyScript(middleSDK), legacyScript(newestSDK), nativeScript} {
		if _, err := os.Stat(name); err != nil {
			t.Fatalf("an SDK is missing, run npm ci --prefix e2e/browser: %v", err)
		}
	}
}

func requireFFmpeg(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatalf("ffmpeg is missing (Debian package ffmpeg): %v", err)
	}
	return path
}

const nativeScript = "node_modules/livekit-client/dist/livekit-client.umd.js"

func legacyScript(version string) string {
	return "node_modules/websdk-" + version + "/flashphoner.js"
}

// pageHandler serves the SDKs, the scripts in page/, and for every other path a page that loads the scripts
// in its query.
func pageHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/node_modules/", http.FileServer(http.Dir(".")))
	mux.Handle("/page/", http.FileServerFS(pageFiles))
	mux.HandleFunc("/developers-page", developersPage)
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		var b strings.Builder
		b.WriteString(`<!doctype html><title>test</title><link rel="icon" href="data:,"><body>`)
		for _, src := range r.URL.Query()["script"] {
			fmt.Fprintf(&b, `<script src="/%s"></script>`, filepath.ToSlash(src))
		}
		_, _ = rw.Write([]byte(b.String())) // the browser may have closed the connection
	})
	return mux
}

// startBrowser starts a Chromium with a fake camera and microphone, in which pages play without a click. It
// ends with the test.
func startBrowser(t *testing.T) context.Context {
	return startBrowserWith(t, "no-user-gesture-required")
}

// startBrowserWith is startBrowser with another value of Chromium's autoplay-policy.
func startBrowserWith(t *testing.T, autoplay string) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("the browser is missing (Debian package chromium): %v", err)
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir())}
	for _, name := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
		"use-fake-ui-for-media-stream",
		// background tabs must not be throttled
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		options = append(options, chromedp.Flag(name, true))
	}
	options = append(options, chromedp.Flag("headless", "new"), chromedp.Flag("autoplay-policy", autoplay),
		chromedp.Flag("use-fake-device-for-media-stream", fmt.Sprintf("fps=%d", cameraRate)))
	all, closeAll := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(closeAll)
	ctx, closeFirst := chromedp.NewContext(all)
	t.Cleanup(closeFirst)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return ctx
}

// scene is one test on a world: its tabs and its streams. At its end its tabs are closed, and nothing of its
// streams may be left over.
type scene struct {
	t       *testing.T
	world   *world
	gateway string // ws://, of the pages with the WCS SDK
	names   []string
}

func (w *world) newScene(t *testing.T) *scene {
	s := &scene{t: t, world: w, gateway: w.stage.Gateway.URL}
	t.Cleanup(s.wantClean) // runs after the cleanups of its tabs
	return s
}

// name returns a stream name that no other test uses.
func (s *scene) name(what string) string {
	name := fmt.Sprintf("%s-%d", what, s.world.names.Add(1))
	s.names = append(s.names, name)
	return name
}

// wantClean waits until nothing is left of the scene's streams: no participant in their rooms, no claim in
// Redis.
func (s *scene) wantClean() {
	s.t.Helper()
	var left []string
	if !rig.Holds(patience, func() bool { left = s.leftovers(); return len(left) == 0 }) {
		s.t.Errorf("left over: %s", strings.Join(left, " "))
	}
}

func (s *scene) leftovers() (left []string) {
	s.t.Helper()
	for _, key := range s.world.stage.Redis.Claims() {
		if slices.ContainsFunc(s.names, func(name string) bool { return strings.Contains(key, "{stream:"+name+"}") }) {
			left = append(left, key)
		}
	}
	for _, name := range s.names {
		for _, p := range s.world.stage.LiveKit.Participants(s.t, name) {
			left = append(left, "room "+name+": "+p.GetIdentity())
		}
	}
	return left
}
