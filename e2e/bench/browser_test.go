package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/livekit/protocol/auth"

	"wcsgateway/e2e/rig"
)

const (
	browserWarmUp = 2
	browserRounds = 15
	farRoundTrip  = 50 * time.Millisecond // as in the row's name
)

// The paths, below e2e/browser, of the SDKs that the page loads.
var sdks = []string{
	"node_modules/websdk-2.0.276/flashphoner.js",
	"node_modules/livekit-client/dist/livekit-client.umd.js",
}

//go:embed page.js
var pageScript []byte

// measureBrowser measures the official WCS SDK through the gateway against livekit-client, in Chromium, each
// time from the start: session or room, stream, media. Camera and microphone are already open.
func measureBrowser(b *testing.B, p *programs, results *report) {
	s := newStage(b, p)
	const name, room = "cam", "wcs.cam"
	rig.Connect(b, s.gateway.URL, "defaultApp").Publish("publisher", name, rig.NewPublisher(b, rig.PeerOptions{Width: 640, Height: 480}))
	t := openTab(b, filepath.Join(p.root, "e2e", "browser"))
	t.call(b, "openCamera")
	streams := 0
	next := func() string { streams++; return fmt.Sprintf("stream%d", streams) }
	livekitURL := strings.Replace(s.livekit.URL, "http", "ws", 1)
	plays := func(gateway, livekit string) (ours, theirs samples) {
		play, playDirect := func(int) time.Duration {
			return t.call(b, "wcsPlay", gateway, name)
		}, func(int) time.Duration {
			return t.call(b, "liveKitPlay", livekit, nativeToken(b, s.livekit, room, next(), false))
		}
		interleave(browserWarmUp, play, playDirect)
		return interleave(browserRounds, play, playDirect)
	}
	publish, publishDirect := func(int) time.Duration {
		return t.call(b, "wcsPublish", s.gateway.URL, next())
	}, func(int) time.Duration {
		name := next()
		return t.call(b, "liveKitPublish", livekitURL, nativeToken(b, s.livekit, name, name, true))
	}
	ours, theirs := plays(s.gateway.URL, livekitURL)
	oursFar, theirsFar := plays(startDelayed(b, s.gateway.URL, farRoundTrip), startDelayed(b, livekitURL, farRoundTrip))
	interleave(browserWarmUp, publish, publishDirect)
	oursUp, theirsUp := interleave(browserRounds, publish, publishDirect)
	const against = "livekit-client, new room"
	results.add(
		row{Measure: "new session → play → first frame", Unit: "ms", Ours: millis(ours.median()), Baseline: millis(theirs.median()),
			Against: against, Goal: goal{Ratio: 0.38}},
		row{Measure: "the same, signalling round trip 50 ms", Unit: "ms", Ours: millis(oursFar.median()), Baseline: millis(theirsFar.median()),
			Against: against, Goal: goal{Ratio: 0.95}},
		row{Measure: "new session → publish → media up", Unit: "ms", Ours: millis(oursUp.median()), Baseline: millis(theirsUp.median()),
			Against: against, Goal: goal{Ratio: 0.48}},
	)
}

// nativeToken returns a token for livekit-client.
func nativeToken(b *testing.B, lk *rig.LiveKit, room, identity string, publish bool) string {
	b.Helper()
	g := &auth.VideoGrant{RoomJoin: true, Room: room, Hidden: !publish}
	g.SetCanPublish(publish)
	g.SetCanSubscribe(!publish)
	token, err := auth.NewAccessToken(lk.Key, lk.Secret).SetIdentity(identity).SetVideoGrant(g).SetValidFor(time.Minute).ToJWT()
	if err != nil {
		b.Fatal(err)
	}
	return token
}

// tab is a page with both SDKs in a Chromium of its own.
type tab struct{ ctx context.Context }

// openTab starts Chromium, which ends with the measure. dir contains the SDKs.
func openTab(b *testing.B, dir string) *tab {
	b.Helper()
	for _, sdk := range sdks {
		if _, err := os.Stat(filepath.Join(dir, sdk)); err != nil {
			b.Fatalf("an SDK is missing, run npm ci --prefix e2e/browser: %v", err)
		}
	}
	pages := httptest.NewServer(pageHandler(dir))
	b.Cleanup(pages.Close)
	path, err := exec.LookPath("chromium")
	if err != nil {
		b.Fatalf("the browser is missing (Debian package chromium): %v", err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(b.TempDir()), chromedp.Flag("headless", "new"),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
	}
	for _, flag := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update",
		"disable-sync", "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	all, closeAll := chromedp.NewExecAllocator(context.Background(), options...)
	b.Cleanup(closeAll)
	ctx, closeTab := chromedp.NewContext(all)
	b.Cleanup(closeTab)
	if err := chromedp.Do(ctx, chromedp.Navigate(pages.URL)); err != nil {
		b.Fatalf("open the page: %v", err)
	}
	return &tab{ctx: ctx}
}

func pageHandler(dir string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/node_modules/", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("/page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(pageScript) // a page without the script reports an error
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><title>bench</title><link rel="icon" href="data:,"><body><script src="/page.js"></script>`)
		for _, sdk := range sdks {
			fmt.Fprintf(w, `<script src="/%s"></script>`, sdk)
		}
	})
	return mux
}

// call runs a function of the page and returns the milliseconds that its promise resolves to.
func (t *tab) call(b *testing.B, function string, args ...any) time.Duration {
	b.Helper()
	list, err := json.Marshal(append([]any{}, args...))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	script := fmt.Sprintf("(async () => (await %s(...%s)) ?? 0)()", function, list)
	ms, err := chromedp.Run(ctx, chromedp.Evaluate[float64](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatalf("%s: %v", function, err)
	}
	return time.Duration(ms * float64(time.Millisecond))
}
