package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wcsgateway/e2e/rig"
)

// embedWorld is a gateway that serves the player for frames, a page that has it in a frame, and a browser
// with the autoplay policy of users' browsers.
type embedWorld struct {
	*world
	at     string // host:port of the player
	frames string // URL of the page with the frame; the gateway allows its origin
}

func newEmbedWorld(t *testing.T) *embedWorld {
	t.Helper()
	requireSDKs(t)
	w := &embedWorld{world: &world{}}
	mux := http.NewServeMux()
	mux.Handle("/", pageHandler())
	mux.HandleFunc("/frame", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(rw, `<!doctype html><title>frame</title><link rel="icon" href="data:,"><body><iframe src="http://%s/embed_player?%s" width="640" height="400" allow="autoplay"></iframe>`, w.at, r.URL.RawQuery)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.pages, w.frames = server.URL+"/", server.URL+"/frame"

	ports := rig.NewPorts(t)
	w.at = fmt.Sprintf("127.0.0.1:%d", ports.Public)
	w.stage = &rig.Stage{Ports: ports, Redis: rig.StartRedis(t)}
	w.stage.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()})
	w.startGateway(t)
	w.browser = startBrowserWith(t, "document-user-activation-required")
	return w
}

// startGateway starts the gateway, also a second time at the same address.
func (w *embedWorld) startGateway(t *testing.T) {
	t.Helper()
	w.stage.Gateway = rig.StartGateway(t, rig.GatewayOptions{Ports: w.stage.Ports, LiveKit: w.stage.LiveKit, Redis: w.stage.Redis.Addr, Env: map[string]string{
		"WCS_APPLICATIONS": `{defaultApp: {room: "{name}"}}`, "WCS_LISTEN_EMBED_ENABLED": "true",
		"WCS_LISTEN_EMBED_FRAMES":  strings.TrimSuffix(w.pages, "/"),
		"WCS_LISTEN_EMBED_SERVERS": fmt.Sprintf("ws://localhost:%d", w.stage.Ports.Public),
	}})
	w.stage.Gateway.AwaitReady(t)
}

// player is a tab with the player.
type player struct{ *consoleTab }

// open opens the player. Every exception of its script, and whatever its Content-Security-Policy refuses,
// fails the test. before is a script that runs before the page's; "": none.
func (w *embedWorld) open(t *testing.T, query url.Values, before string) player {
	t.Helper()
	ctx, cancel := openTab(t, w.browser)
	t.Cleanup(cancel)
	p := player{&consoleTab{t: t, ctx: ctx}}
	p.failOnPageErrors()
	if before != "" {
		p.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: before})
			return err
		}))
	}
	p.run(chromedp.Navigate("http://" + w.at + "/embed_player?" + escaped(query)))
	return p
}

// escaped is a query as encodeURIComponent writes it: in WCS's addresses a plus sign is no space.
func escaped(query url.Values) string { return strings.ReplaceAll(query.Encode(), "+", "%20") }

// is waits until the player is in a state and shows these words.
func (p player) is(state string, words ...string) {
	p.t.Helper()
	var now string
	ok := func() bool {
		now = eval[string](p.consoleTab, `document.body.dataset.state + ': ' + document.getElementById('status').textContent + ' [' + document.getElementById('toggle').textContent + ']'`)
		for _, word := range words {
			if !strings.Contains(now, word) {
				return false
			}
		}
		return strings.HasPrefix(now, state+":")
	}
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the player is %s", now)
		}
	}()
	rig.Eventually(p.t, patience, fmt.Sprintf("the player is %s %q", state, words), ok)
}

// decodes waits until the element shows frames of the camera, and receives its beeps. Chromium decodes the
// sound of an element only if it is not muted.
func (p player) decodes() {
	p.t.Helper()
	var now struct {
		Paused, Shown, Muted   bool
		Frames, Width, Packets int
		Sound                  float64 // energy
	}
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the element: %+v", now)
		}
	}()
	rig.Eventually(p.t, patience, "frames and sound are decoded", func() bool {
		text := eval[string](p.consoleTab, `(async () => {
			const stats = [...(await stream.connection.getStats()).values()], sound = stats.find((s) => s.type === 'inbound-rtp' && s.kind === 'audio');
			return JSON.stringify({Paused: video.paused, Shown: getComputedStyle(video).visibility === 'visible', Width: video.videoWidth,
				Frames: video.getVideoPlaybackQuality().totalVideoFrames, Sound: sound?.totalAudioEnergy ?? 0,
				Muted: video.muted, Packets: sound?.packetsReceived ?? 0});
		})()`)
		if err := json.Unmarshal([]byte(text), &now); err != nil {
			p.t.Fatal(err)
		}
		return !now.Paused && now.Shown && now.Frames > 10 && now.Width == 320 && now.Packets > 10 && (now.Muted || now.Sound > 0)
	})
}

// key presses a key in the focused element.
func (p player) key(k string) {
	p.t.Helper()
	p.run(chromedp.KeyEvent(k))
}

// focus moves to the button with the tab key.
func (p player) focus(id string) {
	p.t.Helper()
	for range 5 {
		p.key(kb.Tab)
		if eval[string](p.consoleTab, `document.activeElement.id`) == id {
			return
		}
	}
	p.t.Fatalf("the tab key does not reach %s", id)
}

func (p player) muted() bool { return eval[bool](p.consoleTab, `video.muted`) }

func (w *embedWorld) viewers(t *testing.T, name string) (n int) {
	t.Helper()
	for _, part := range w.stage.LiveKit.Participants(t, name) {
		if strings.Contains(part.GetIdentity(), ":play:") {
			n++
		}
	}
	return n
}

// TestEmbeddedPlayerPlaysForViewers uses the player as viewers do.
func TestEmbeddedPlayerPlaysForViewers(t *testing.T) {
	t.Parallel()
	w := newEmbedWorld(t)
	s := w.newScene(t)
	live := s.name("live+1 #2")
	publisher := s.legacyTab(newestSDK).login(defaultApp)
	published := publisher.publish(live, nil)

	t.Run("autoplay with sound refused, plays muted", func(t *testing.T) {
		p := w.open(t, url.Values{"streamName": {live}, "autoplay": {"true"}, "mediaProviders": {"MSE,WebRTC"}}, "")
		p.is("playing", "Stop")
		p.decodes()
		if !p.muted() {
			t.Error("the browser plays with sound without a click")
		}
		p.shows("Turn sound on")
		p.shots("playing")
		p.focus("sound")
		p.key(kb.Enter)
		p.shows("Mute")
		if p.muted() || eval[bool](p.consoleTab, `video.paused`) {
			t.Error("the player is muted or paused after a click")
		}
		p.decodes()
		p.focus("toggle")
		p.key(" ")
		p.is("idle", "Stopped", "Play")
		rig.Eventually(t, patience, "the player leaves the room", func() bool { return w.viewers(t, live) == 0 })
	})

	t.Run("autoplay refused, waits for the play button", func(t *testing.T) {
		p := w.open(t, url.Values{"streamName": {live}, "autoplay": {"true"}}, `{
			const play = HTMLMediaElement.prototype.play;
			HTMLMediaElement.prototype.play = function () {
				return navigator.userActivation.hasBeenActive ? play.call(this) : Promise.reject(new DOMException('refused', 'NotAllowedError'));
			};
		}`)
		p.is("idle", "does not play before you press Play")
		rig.Eventually(t, patience, "nothing is received", func() bool { return w.viewers(t, live) == 0 })
		p.shots("refused")
		p.focus("toggle")
		p.key(kb.Enter)
		p.is("playing")
		p.decodes()
		if p.muted() {
			t.Error("muted after Play was pressed")
		}
	})

	t.Run("without autoplay, a click anywhere plays with sound", func(t *testing.T) {
		p := w.open(t, url.Values{"streamName": {live}, "width": {"480"}, "height": {"270"}}, "")
		p.is("idle", "Press Play to watch “"+live+"”")
		p.shots("idle")
		if size := eval[string](p.consoleTab, `stage.clientWidth + 'x' + stage.clientHeight`); size != "480x270" {
			t.Errorf("the picture has %s", size)
		}
		p.run(chromedp.MouseClickXY(100, 100))
		p.is("playing")
		p.decodes()
		if p.muted() {
			t.Error("muted after a click")
		}
	})

	t.Run("mute", func(t *testing.T) {
		p := w.open(t, url.Values{"streamName": {live}, "autoplay": {"1"}, "mute": {"true"}}, "")
		p.is("playing")
		p.decodes()
		if !p.muted() {
			t.Error("not muted")
		}
	})

	t.Run("publisher appears later, goes and comes back", func(t *testing.T) {
		later := s.name("later")
		p := w.open(t, url.Values{"streamName": {later}, "autoplay": {"true"}}, "")
		p.is("waiting", "“"+later+"” is not published at the moment. The next attempt is in", "Stop")
		p.shots("waiting")
		st := publisher.publish(later, nil)
		p.is("playing")
		p.decodes()
		st.stop()
		st.next()
		p.is("waiting")
		st = publisher.publish(later, nil)
		p.is("playing")
		p.decodes()
		st.stop()
		st.next()
		p.is("waiting")
		p.focus("toggle")
		p.key(kb.Enter)
		p.is("idle", "Stopped")
	})

	t.Run("addresses", func(t *testing.T) {
		own, listed := fmt.Sprintf("wss://127.0.0.1:%d/x", w.stage.Ports.Public), fmt.Sprintf("ws://localhost:%d", w.stage.Ports.Public)
		for _, server := range []string{own, listed} {
			p := w.open(t, url.Values{"streamName": {live}, "autoplay": {"true"}, "urlServer": {server}}, "")
			p.is("playing")
			if got := eval[string](p.consoleTab, `session.socket.url`); !strings.HasPrefix(got, strings.Replace(server[:len(server)-2], "wss:", "ws:", 1)) {
				t.Errorf("urlServer %s: connected to %s", server, got)
			}
		}
		for _, server := range []string{"wss://evil.example", "ws://127.0.0.1:1", "https://" + w.at, "x"} {
			p := w.open(t, url.Values{"streamName": {live}, "autoplay": {"true"}, "urlServer": {server}}, "")
			p.is("failed", "may not connect to the server that its address names")
			if server == "x" {
				p.shots("failed")
			}
		}
		w.open(t, url.Values{"autoplay": {"true"}}, "").is("failed", "names no stream")
		w.open(t, url.Values{"streamName": {"a/../b"}, "autoplay": {"true"}}, "").is("failed", "The server refuses to play", "Bad stream name")
	})

	t.Run("frames", func(t *testing.T) {
		rig.Eventually(t, patience, "the players of other tests are gone", func() bool { return w.viewers(t, live) == 0 })
		w.framed(t, w.frames, live, true)
		w.framed(t, strings.Replace(w.frames, "127.0.0.1", "localhost", 1), live, false)
	})

	t.Run("gateway restarts", func(t *testing.T) {
		p := w.open(t, url.Values{"streamName": {live}, "autoplay": {"true"}}, "")
		p.is("playing")
		w.stage.Gateway.Kill()
		p.is("waiting", "The next attempt is in")
		p.is("waiting", "The server cannot be reached")
		w.startGateway(t)
		publisher = s.legacyTab(newestSDK).login(defaultApp)
		published = publisher.publish(live, nil)
		p.is("playing")
		p.decodes()
	})
	published.stop()
	published.next()
}

// framed opens a page that has the player in a frame, and checks whether the browser shows and plays it.
func (w *embedWorld) framed(t *testing.T, address, name string, allowed bool) {
	t.Helper()
	ctx, cancel := openTab(t, w.browser)
	defer cancel()
	c := &consoleTab{t: t, ctx: ctx}
	var (
		mu      sync.Mutex
		refused []string
	)
	if err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*cdplog.EventEntryAdded); ok && e.Entry.Source == cdplog.EntrySourceSecurity {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, e.Entry.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	c.run(command(cdplog.Enable, cdp.Empty{}))
	c.run(chromedp.Navigate(address + "?" + escaped(url.Values{"streamName": {name}, "autoplay": {"true"}})))
	if allowed {
		rig.Eventually(t, patience, "the player in the frame plays", func() bool { return w.viewers(t, name) > 0 })
		return
	}
	rig.Eventually(t, patience, "the browser refuses the frame", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(refused) > 0 && strings.Contains(refused[0], "frame-ancestors")
	})
}
