package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"wcsgateway/e2e/rig"
)

const (
	consoleUser, consolePassword = "ops", "correct horse"
	simulated                    = 1000 // sessions
)

// consoleWorld is two pods with the console, and a browser.
type consoleWorld struct {
	pods    [2]*rig.Gateway
	options [2]rig.GatewayOptions
	rest    [2]string // host:port
	browser context.Context
}

func newConsoleWorld(t *testing.T) *consoleWorld {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(consolePassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w := &consoleWorld{browser: startBrowser(t)}
	ports, redis := [2]rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}, rig.StartRedis(t)
	livekit := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[0].Webhook()})
	for i := range w.pods {
		w.rest[i] = fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
		w.options[i] = rig.GatewayOptions{Ports: ports[i], LiveKit: livekit, Redis: redis.Addr, Env: map[string]string{
			"WCS_REST_LISTEN": w.rest[i], "WCS_REST_USERS": fmt.Sprintf("{%s: %q}", consoleUser, hash), "WCS_REST_CONSOLE": "true",
			"WCS_LOG_LEVEL": "info",
		}}
		w.pods[i] = rig.StartGateway(t, w.options[i])
		w.pods[i].AwaitReady(t)
	}
	return w
}

// consoleTab is a page of the console.
type consoleTab struct {
	t   *testing.T
	ctx context.Context
}

func (w *consoleWorld) tab(t *testing.T) *consoleTab {
	t.Helper()
	ctx, cancel := openTab(t, w.browser)
	t.Cleanup(cancel)
	return &consoleTab{t: t, ctx: ctx}
}

// failOnPageErrors fails the test when a script of the page throws, or the browser refuses something for
// security.
func (c *consoleTab) failOnPageErrors() {
	c.t.Helper()
	if err := chromedp.Listen(c.ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			c.t.Errorf("script: %+v %+v", *e.ExceptionDetails, e.ExceptionDetails.Exception)
		case *cdplog.EventEntryAdded:
			if e.Entry.Source == cdplog.EntrySourceSecurity {
				c.t.Errorf("refused by the browser: %s", e.Entry.Text)
			}
		}
	}); err != nil {
		c.t.Fatal(err)
	}
	c.run(command(cdplog.Enable, cdp.Empty{}))
}

// open opens the console of a pod. Every violation of the page's Content-Security-Policy, and every
// exception, fails the test.
func (w *consoleWorld) open(t *testing.T, pod int, view string) *consoleTab {
	t.Helper()
	c := w.tab(t)
	c.failOnPageErrors()
	c.run(chromedp.Navigate(fmt.Sprintf("http://%s:%s@%s/console/%s", consoleUser, strings.ReplaceAll(consolePassword, " ", "%20"), w.rest[pod], view)))
	return c
}

func (c *consoleTab) run(actions ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		c.t.Fatal(err)
	}
}

// command is a command of the browser's protocol without a result.
func command[P any](c cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, c, params)
		return err
	})
}

// eval returns the value of a script, or the value that its promise resolves to.
func eval[T any](c *consoleTab, script string) T {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		c.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// shows waits until the page's text contains the words.
func (c *consoleTab) shows(words ...string) {
	c.t.Helper()
	for _, word := range words {
		rig.Eventually(c.t, patience, "the page shows "+word, func() bool {
			return strings.Contains(eval[string](c, `document.body.innerText`), word)
		})
	}
}

// press presses the button with this label.
func (c *consoleTab) press(label string) {
	c.t.Helper()
	found := eval[bool](c, fmt.Sprintf(`(() => {
		const b = [...document.querySelectorAll('dialog[open] button, button')].find((b) => b.textContent.trim() === %q && b.checkVisibility());
		b?.click();
		return !!b;
	})()`, label))
	if !found {
		c.t.Fatalf("button %q not found", label)
	}
}

// shot checks that the page is not wider than the window. With go test -artifacts it keeps a screenshot.
func (c *consoleTab) shot(name string, width int, dark bool) {
	c.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	c.run(chromedp.EmulateViewport(int64(width), 844), command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}), command(emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})) // they would hide the right edge
	if wide := eval[int](c, `document.documentElement.scrollWidth`); wide > width {
		c.t.Errorf("%s is %d pixels wide in a window of %d", name, wide, width)
	}
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		return
	}
	picture, err := chromedp.Run(c.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(c.t.ArtifactDir(), fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		c.t.Error(err)
	}
}

// accessible runs axe-core to find violations of WCAG 2 A and AA.
func (c *consoleTab) accessible(what string) {
	c.t.Helper()
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		c.t.Fatalf("axe-core is missing, run npm ci --prefix e2e/browser: %v", err)
	}
	found := eval[string](c, string(axe)+`;axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then((r) => r.passes.length < 5 ? 'hardly anything was looked at' : r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html).join(' ')).join('\n'))`)
	if found != "" {
		c.t.Errorf("%s: %.2000s", what, found)
	}
}

// shots looks at the page in a wide window with light colours, where it checks its accessibility, and in a
// narrow one with dark colours; with the flag more at four widths, each in both colours and with that check.
func (c *consoleTab) shots(name string) {
	c.t.Helper()
	type look struct {
		width int
		dark  bool
	}
	looks := []look{{1920, false}, {390, true}}
	if *more {
		looks = nil
		for _, width := range []int{1920, 1280, 768, 390} {
			looks = append(looks, look{width, false}, look{width, true})
		}
	}
	for _, l := range looks {
		c.shot(name, l.width, l.dark)
		if *more || l == looks[0] {
			c.accessible(fmt.Sprintf("%s, %d pixels, dark %v", name, l.width, l.dark))
		}
	}
	c.run(chromedp.EmulateViewport(1280, 844))
}

// TestConsoleShowsTwoPodsAndThousandSessions uses the console as operators do, with two pods and a thousand
// sessions.
func TestConsoleShowsTwoPodsAndThousandSessions(t *testing.T) {
	t.Parallel()
	w := newConsoleWorld(t)
	pub := rig.Connect(t, w.pods[1].URL, "defaultApp")
	pub.Publish("console-pub", "console", rig.NewPublisher(t, rig.PeerOptions{Width: 640, Height: 360}))
	play := rig.Connect(t, w.pods[0].URL, "defaultApp")
	play.Play("console-play", "console", rig.NewPlayer(t, rig.PeerOptions{}))
	w.crowd(t)
	play.Send("publishStream", rig.StreamRequest("console-bad", "bad", "", true, nil))
	play.WantStatus("console-bad", "FAILED", "Bad SDP: it has no media")
	for i := range 3 {
		id := fmt.Sprint("console-none", i)
		pub.Send("playStream", rig.StreamRequest(id, "none", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
		pub.WantStatus(id, "FAILED", "Session does not exist")
	}

	overview := w.open(t, 0, "")
	overview.shows("live", fmt.Sprint(simulated+2), "Streams", "ready", "(serves this page)")
	rig.Eventually(t, patience, "last hour is drawn", func() bool { return eval[int](overview, `document.querySelectorAll('.plot canvas').length`) == 6 })
	rig.Eventually(t, patience, "first figures are shown", func() bool {
		return eval[string](overview, `document.querySelector('.legend b').textContent`) == fmt.Sprint(simulated+2)
	})
	overview.shows("p50", "p95", "All pods are in order.") // each pod looks within 30 s after its start
	overview.shows("bad_offer", "not_found", "127.0.0.1:")
	if row := eval[string](overview, `document.querySelector('.failures tbody tr').innerText`); !strings.Contains(row, "not_found\tplay\tdefaultApp\tclient\t3\t") {
		t.Errorf("the most frequent failure is %q", row)
	}
	overview.shots("overview")

	settings := w.open(t, 0, "#/settings")
	settings.shows("console: true", "'***'", "defaultApp")
	settings.shots("settings")

	sessions := w.open(t, 0, "#/sessions")
	sessions.shows(fmt.Sprintf("%d in total", simulated+2), "1 to 50")
	sessions.shots("sessions")
	sessions.press("Next")
	sessions.shows("51 to 100")
	id := sessionOf(t, w.rest[0], "console-pub")
	sessions.run(chromedp.SendKeys(chromedp.CSS("input[type=search]"), id))
	sessions.shows(fmt.Sprintf("1 of %d", simulated+2))
	sessions.run(chromedp.Click(chromedp.CSS("tbody a")))
	sessions.shows("Last messages", "publishStream", "setRemoteSDP", "from the client")
	if text := eval[string](sessions, `document.body.innerText`); strings.Contains(text, "v=0") || strings.Contains(text, "ice-ufrag") {
		t.Error("the page of a session shows message contents")
	}
	sessions.shots("session")

	narrow := w.open(t, 0, "#/sessions")
	narrow.run(chromedp.EmulateViewport(390, 844))
	narrow.shows("1 to 50")
	eval[bool](narrow, `(() => { const s = document.querySelector('.narrow select'); s.value = 'since desc'; return s.checkVisibility() && s.dispatchEvent(new Event('change', {bubbles: true})); })()`)
	rig.Eventually(t, patience, "a narrow window sorts", func() bool {
		return eval[bool](narrow, `location.hash.includes('sort=since') && document.querySelector('th[aria-sort=descending]')?.textContent.startsWith('Duration') === true`)
	})

	streams := w.open(t, 0, "#/streams")
	streams.shows("console", "PUBLISHING", "VP8 640×360")
	if !eval[bool](streams, `(() => { const pod = document.querySelector('td[data-label=Pod] span'); return pod.textContent === '`+hostname(t)+`' && /^[0-9a-f]{8}$/.test(pod.title); })()`) {
		t.Error("the table does not show the host of the stream's pod with its id as title")
	}
	streams.shots("streams")
	streams.run(chromedp.Click(chromedp.CSS("tbody a")))
	streams.shows("Stream console", "Players", "PLAYING", "Quality", "Hooks")
	w.picture(t, streams)
	streams.shots("stream")
	w.event(t, streams, play)
	w.foreignPage(t, pub)
	w.wrongPassword(t)
	w.end(t, streams, pub, play)
	w.ended(streams)
	streams.run(chromedp.Navigate("http://" + w.rest[0] + "/console/docs/metrics.md#reasons"))
	streams.shows("ice_timeout")
	streams.shots("document")
}

// ended opens the page of a stream that has ended from the list of those. It uses an open tab, because a
// browser has six connections to an address.
func (w *consoleWorld) ended(c *consoleTab) {
	c.t.Helper()
	eval[bool](c, `!!(location.hash = '#/streams')`)
	c.shows("Ended last", "Stopped by rest /terminate", "terminated")
	c.shots("ended")
	c.run(chromedp.Click(chromedp.CSS("a[href='#/stream/console-pub']")))
	c.shows("Stream console", "It has ended.", "UNPUBLISHED", "terminated", "operator", "defaultApp")
	c.shots("ended-stream")
}

func hostname(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// crowd connects the simulated sessions, half of them to each pod.
func (w *consoleWorld) crowd(t *testing.T) {
	t.Helper()
	var work sync.WaitGroup
	for i := range 20 {
		work.Go(func() {
			for range simulated / 20 {
				rig.Connect(t, w.pods[i%2].URL, "defaultApp")
			}
		})
	}
	work.Wait()
}

func (w *consoleWorld) picture(t *testing.T, c *consoleTab) {
	t.Helper()
	c.press("Take a snapshot")
	rig.Eventually(t, patience, "the snapshot is shown", func() bool {
		return eval[bool](c, `document.querySelector('.picture img')?.naturalWidth === 640`)
	})
}

func (w *consoleWorld) event(t *testing.T, c *consoleTab, play *rig.Client) {
	t.Helper()
	c.press("Send event")
	c.shows("Send an event to the 1 players of console?")
	eval[bool](c, `(() => { const f = document.querySelector('dialog[open] textarea'); f.value = '{"text": "from the console"}'; return f.dispatchEvent(new Event('input', {bubbles: true})); })()`)
	c.run(chromedp.Click(chromedp.CSS("dialog[open] .buttons button:last-child")))
	m := play.AwaitMatch("the event", func(m rig.Message) bool { return strings.Contains(m.Raw, "from the console") })
	if m.Name != "notifyStreamEvent" {
		t.Errorf("the event came as %s", m.Raw)
	}
	c.shows("Sent.")
}

// foreignPage is a page of another origin that makes the browser, which knows the password, request the end
// of the stream. The page belongs to the same site, on another port: browsers trust pages of other sites
// less.
func (w *consoleWorld) foreignPage(t *testing.T, pub *rig.Client) {
	t.Helper()
	pages := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = rw.Write([]byte("<title>elsewhere</title>")) // the browser may have closed the connection
	}))
	t.Cleanup(pages.Close)
	c := w.tab(t)
	c.run(chromedp.Navigate(pages.URL))
	address := "http://" + w.rest[0] + "/rest-api/stream/terminate"
	body, err := json.Marshal(map[string]string{"mediaSessionId": "console-pub"})
	if err != nil {
		t.Fatal(err)
	}
	for _, headers := range []string{`{}`, `{'Content-Type': 'application/json'}`} {
		for _, mode := range []string{"cors", "no-cors"} {
			script := fmt.Sprintf(`fetch(%q, {method: 'POST', mode: %q, credentials: 'include', headers: %s, body: %q, signal: AbortSignal.timeout(3000)}).then((r) => r.type + r.ok, () => 'refused')`, address, mode, headers, body)
			if got := eval[string](c, script); strings.HasSuffix(got, "true") {
				t.Errorf("another origin can end streams (%s, %s): %s", mode, headers, got)
			}
		}
	}
	pub.Send("sendData", map[string]any{"operationId": "alive", "payload": 1})
	pub.Await("DataStatusEvent")
	if n := pub.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("the publisher got %d statuses", n)
	}
}

// sessionOf returns the session of a stream, from the REST API.
func sessionOf(t *testing.T, rest, mediaID string) string {
	t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"mediaSessionId": %q}`, mediaID))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+rest+"/rest-api/stream/find", body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(consoleUser, consolePassword)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var list []struct{ SessionID string }
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list) != 1 {
		t.Fatalf("find: %v, %v", list, err)
	}
	return list[0].SessionID
}

func (w *consoleWorld) wrongPassword(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/console/", "/console/live", "/console/static/x/app.js"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.rest[0]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(consoleUser, "wrong")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a wrong password: %d", path, res.StatusCode)
		}
	}
}

// end ends the other pod's stream with the keyboard alone.
func (w *consoleWorld) end(t *testing.T, c *consoleTab, pub, play *rig.Client) {
	t.Helper()
	focused := func() string {
		return eval[string](c, `(document.activeElement?.textContent || '').trim()`)
	}
	eval[bool](c, `document.getElementById('title').focus() ?? true`)
	rig.Eventually(t, patience, "the button has the focus", func() bool {
		if focused() == "End stream" {
			return true
		}
		c.run(chromedp.KeyEvent("\t"))
		return false
	})
	c.run(chromedp.KeyEvent("\r"))
	c.shows("End the stream console?")
	if got := focused(); got != "Cancel" {
		t.Errorf("the dialog's focus begins at %q, want Cancel", got)
	}
	c.run(chromedp.KeyEvent("\r")) // cancelled
	if eval[bool](c, `!!document.querySelector('dialog[open]')`) || pub.Count("notifyStreamStatusEvent") != 0 {
		t.Error("Cancel does not cancel")
	}
	if got := focused(); got != "End stream" {
		t.Errorf("the focus went to %q", got)
	}
	c.run(chromedp.KeyEvent("\r"), chromedp.KeyEvent("\t"))
	since := time.Now()
	c.run(chromedp.KeyEvent("\r"))
	pub.WantStatus("console-pub", "UNPUBLISHED", "Stopped by rest /terminate")
	told := time.Since(since)
	play.WantStatus("console-play", "FAILED", "Stopped by publisher stop")
	t.Logf("publisher on the other pod notified %v after the key", told)
	if told > 10*time.Second {
		t.Errorf("publisher notified only after %v", told)
	}
	c.shows("It has ended.", "Last status", "UNPUBLISHED", "Stopped by rest /terminate", "terminated", "operator")
}

// TestConsoleIsLiveAgainAfterItsPodRestarts checks that an open page shows that its pod is down, and is live
// again after the restart.
func TestConsoleIsLiveAgainAfterItsPodRestarts(t *testing.T) {
	t.Parallel()
	w := newConsoleWorld(t)
	c := w.open(t, 0, "#/sessions")
	c.shows("live", "0 in total")
	overview := w.open(t, 1, "")
	overview.shows("ready")
	w.pods[0].Kill()
	c.shows("not live", "connecting")
	overview.shows("silent") // the killed process, until its lease expires
	w.pods[0] = rig.StartGateway(t, w.options[0])
	w.pods[0].AwaitReady(t)
	rig.Connect(t, w.pods[0].URL, "defaultApp")
	c.shows("1 in total")
	if text := eval[string](c, `document.querySelector('header').innerText`); strings.Contains(text, "not live") {
		t.Errorf("the page shows %q", text)
	}
	rig.Eventually(t, patience, "the dead pod is gone", func() bool {
		return !strings.Contains(eval[string](overview, `document.body.innerText`), "silent")
	})
}
