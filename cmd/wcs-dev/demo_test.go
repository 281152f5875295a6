package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"
)

// TestDemoPagePublishesAndPlays operates the page in a browser, with everything that wcs-dev starts.
func TestDemoPagePublishesAndPlays(t *testing.T) {
	requireSDK(t)
	page, ws, consolePage := startAll(t, options{host: loopback})
	b := openBrowser(t)

	b.do(chromedp.Navigate(page))
	b.see("the page knows the address", `#server`, `e.value === "`+ws+`"`)
	b.do(chromedp.SetValue(`#app-key`, "unknown"))
	b.click(`#connect`)
	b.see("unknown application", `#message`, `e.textContent.includes("“unknown”") && e.textContent.includes("defaultApp, roomApp")`)
	b.see("rejected session", `#status-session`, `e.textContent === "DISCONNECTED"`)
	b.do(chromedp.SetValue(`#app-key`, "defaultApp"))
	b.click(`#connect`)
	b.see("session", `#status-session`, `e.textContent === "ESTABLISHED"`)

	b.click(`#play`)
	b.see("play without a publisher", `#message`, `e.textContent.includes("No stream with this name") && e.textContent.includes("Session does not exist")`)
	b.click(`#publish`)
	b.see("publisher", `#status-publish`, `e.textContent === "PUBLISHING"`)
	b.click(`#available`)
	b.see("availability", `#availability`, `e.textContent.startsWith("yes")`)
	b.click(`#play`)
	b.see("player", `#status-play`, `e.textContent === "PLAYING"`)
	b.see("moving picture", `#remote video`, `e.videoWidth > 0 && e.currentTime > 1`)
	for _, panel := range []string{"#publisher", "#player"} {
		b.see("size", panel+` [data-figure=size]`, `/^\d+ × \d+$/.test(e.textContent)`)
		b.see("video rate", panel+` [data-figure=video]`, `/^[1-9]\d* kbit\/s \w+$/.test(e.textContent)`)
		b.see("audio rate", panel+` [data-figure=audio]`, `/^[1-9]\d* kbit\/s opus$/.test(e.textContent)`)
	}
	b.checkLog()

	b.click(`#play`)
	b.see("player after Stop", `#status-play`, `e.textContent === "STOPPED"`)
	b.click(`#play`)
	b.see("player again", `#status-play`, `e.textContent === "PLAYING"`)
	b.click(`#publish`)
	b.see("publisher after Stop", `#status-publish`, `e.textContent === "UNPUBLISHED"`)
	b.see("player without a publisher", `#status-play`, `e.textContent === "FAILED"`)
	b.see("reason of the end", `#message`, `e.textContent.startsWith("Play ended. The publisher stopped the stream")`)

	b.click(`#publish`)
	b.see("publisher again", `#status-publish`, `e.textContent === "PUBLISHING"`)
	b.click(`#connect`)
	b.see("closed session", `#status-session`, `e.textContent === "DISCONNECTED"`)
	b.see("publisher of a closed session", `#status-publish`, `e.textContent === "FAILED"`)
	b.see("no message", `#message`, `e.hidden`)
	b.click(`#connect`)
	b.see("second session", `#status-session`, `e.textContent === "ESTABLISHED"`)
	b.do(chromedp.Evaluate[chromedp.Void](`navigator.getUserMedia = (_, ok, failed) => failed(new DOMException("Permission denied", "NotAllowedError"))`))
	b.click(`#publish`)
	b.see("denied camera", `#message`, `e.textContent.includes("no permission to use the camera")`)

	b.do(chromedp.Navigate(consolePage))
	b.see("console", `main`, `/Overview[^]*Sessions\s+0/.test(e.innerText)`)
}

// A phone of the network has the page over HTTPS, and so a camera. On its screen the pictures are visible
// without scrolling.
func TestDemoPageOverHTTPSFitsPhone(t *testing.T) {
	requireSDK(t)
	page, ws, _ := startAll(t, options{host: loopback, https: true})
	if !strings.HasPrefix(page, "https://") || ws != "wss"+strings.TrimPrefix(page, "https")+"gateway" {
		t.Errorf("addresses %s and %s", page, ws)
	}
	b := openBrowser(t, chromedp.Flag("ignore-certificate-errors", true))
	b.do(chromedp.EmulateViewport(390, 664), chromedp.Navigate(page))
	b.click(`#connect`)
	b.click(`#publish`)
	b.see("publisher", `#status-publish`, `e.textContent === "PUBLISHING"`)
	b.click(`#play`)
	b.see("moving picture", `#remote video`, `e.videoWidth > 0 && e.currentTime > 1`)
	for _, selector := range []string{"#local", "#remote", "#play"} {
		b.see("all of "+selector+" above the fold", selector, `scrollTo(0, 0) || e.getBoundingClientRect().bottom <= innerHeight && e.getBoundingClientRect().right <= innerWidth`)
	}
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "phone.png"), picture, 0o600); err != nil {
		t.Error(err)
	}
}

// A camera plays after one click. The other one replaces it.
func TestDemoPagePlaysSampleCameras(t *testing.T) {
	requireSDK(t)
	page, _, _ := startAll(t, options{host: loopback, pull: true})
	b := openBrowser(t)
	b.do(chromedp.EmulateViewport(1100, 900), chromedp.Navigate(page))
	b.click(`[data-camera$="/clock"]`)
	b.see("player of the clock", `#status-play`, `e.textContent === "PLAYING"`)
	b.see("picture of the clock", `#remote video`, `e.videoWidth === 640 && e.currentTime > 1`)
	b.see("audio rate", `#player [data-figure=audio]`, `/^[1-9]\d* kbit\/s \w+$/.test(e.textContent)`)
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "camera.png"), picture, 0o600); err != nil {
		t.Error(err)
	}
	b.click(`[data-camera$="/bars"]`)
	b.see("picture of the bars", `#remote video`, `e.videoWidth === 1280 && e.currentTime > 1`)
	b.see("address", `#stream`, `e.value.startsWith("rtsp://127.0.0.1:") && e.value.endsWith("/bars")`)
}

// startAll runs wcs-dev on free ports, and returns the three addresses for browsers that it prints.
func startAll(t *testing.T, o options) (page, ws, consolePage string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, printed := io.Pipe()
	ended := make(chan error, 1)
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	o.sdk = installedSDK
	go func() {
		err := run(ctx, o, console{out: printed}, log)
		_ = printed.CloseWithError(err) // never fails
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
			t.Errorf("after the addresses: printed %q, ended with %v", rest, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	buffer := make([]byte, 4096)
	n, err := out.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	text := string(buffer[:n])
	for label, address := range map[string]*string{"Demo page": &page, "Gateway for your app": &ws, "Console": &consolePage} {
		found := regexp.MustCompile(`(?m)^\| ` + label + ` +(\S+) +\|$`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("printed no address of %s:\n%s", label, text)
		}
		*address = found[1]
	}
	if !strings.Contains(text, "key devkey, secret wcs-dev") || !strings.Contains(text, "app keys: defaultApp, roomApp") {
		t.Errorf("printed neither keys nor secret:\n%s", text)
	}
	return page, ws, consolePage
}

// browser is a page in a Chromium with a fake camera.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func openBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("no browser found (Debian's package is chromium): %v", err)
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path)}
	for _, name := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
		"use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
	} {
		options = append(options, chromedp.Flag(name, true))
	}
	options = append(options, chromedp.Flag("headless", "new"), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	all, closeAll := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(closeAll)
	ctx, closeTab := chromedp.NewContext(all)
	t.Cleanup(closeTab)
	w := new(watcher)
	if err := chromedp.Listen(ctx, w.see); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	t.Cleanup(func() { w.report(t) })
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatalf("watch the page's requests: %v", err)
	}
	return &browser{t: t, ctx: ctx}
}

// watcher records requests of the page to other hosts, and failures of scripts.
type watcher struct {
	mu       sync.Mutex
	requests int
	faults   []string
}

func (w *watcher) see(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		w.requests++
		u, err := url.Parse(e.Request.URL)
		if err != nil || (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != loopback.String() {
			w.faults = append(w.faults, "the page asks for "+e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		w.faults = append(w.faults, fmt.Sprintf("script: %+v", e.ExceptionDetails))
	}
}

func (w *watcher) report(t *testing.T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests == 0 {
		t.Error("no request of the page was seen")
	}
	for _, fault := range w.faults {
		t.Error(fault)
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.WaitEnabled(selector), chromedp.Click(selector))
}

// see waits until condition, an expression about the element e, holds.
func (b *browser) see(what, selector, condition string) {
	b.t.Helper()
	script := `(selector) => { const e = document.querySelector(selector); return Boolean(e) && (` + condition + `) }`
	ctx, cancel := context.WithTimeout(b.ctx, waitTimeout)
	defer cancel()
	poll := chromedp.PollFunction[chromedp.Void](script, chromedp.WithPollingArgs(selector), chromedp.WithPollingTimeout(0), chromedp.WithPollingInterval(50*time.Millisecond))
	if _, err := chromedp.Run(ctx, poll); err != nil {
		body, _ := chromedp.Run(b.ctx, chromedp.Text("body")) // for the failure message only
		b.t.Fatalf("%s: %s is not such that %s: %v\n%s", what, selector, condition, err, body)
	}
}

// checkLog looks for the messages of a publish and a play in the page's list, and opens one.
func (b *browser) checkLog() {
	b.t.Helper()
	for _, want := range []string{
		"[data-direction=out][data-name=connection]", "[data-direction=in][data-name=getUserData]",
		"[data-direction=out][data-name=publishStream]", "[data-direction=in][data-name=setRemoteSDP]",
		"[data-direction=out][data-name=playStream]", "[data-direction=in][data-name=notifyStreamStatusEvent]",
	} {
		b.see("message", "#wire "+want, `Number(e.dataset.size) > 20`)
	}
	offer := `#wire [data-name=publishStream]`
	b.do(chromedp.Click(offer + ` summary`))
	b.see("offer", offer+` pre`, `e.textContent.includes('"mediaSessionId"')`)
	text, err := chromedp.Run(b.ctx, chromedp.Text(offer+` pre`))
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.Contains(text, "v=0 … m=audio") || strings.Contains(text, "a=fingerprint") {
		b.t.Errorf("the SDP is not shortened:\n%s", text)
	}
}
