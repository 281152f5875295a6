package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a page in the browser.
type tab struct {
	t   *testing.T
	ctx context.Context // of chromedp
}

// openTab opens an empty tab. All share a window, because a window of its own costs a second of a processor.
// Only one tab of a window is shown, but each takes itself for shown and focused, so nothing is throttled.
func openTab(t *testing.T, browser context.Context, options ...chromedp.ContextOption) (ctx context.Context, closeTab context.CancelFunc) {
	t.Helper()
	ctx, closeTab = chromedp.NewContext(browser, append(options, chromedp.WithNewWindow(false))...)
	if err := chromedp.Do(ctx, command(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})); err != nil {
		closeTab()
		t.Fatalf("open a tab: %v", err)
	}
	return ctx, closeTab
}

// newTab opens a page that loads these scripts, after the one that keeps the journal.
func (s *scene) newTab(scripts ...string) *tab {
	s.t.Helper()
	return s.openPage("?" + url.Values{"script": append([]string{"page/journal.js"}, scripts...)}.Encode())
}

// openPage opens a page of the test server in a tab of its own.
func (s *scene) openPage(path string) *tab {
	s.t.Helper()
	ctx, cancel := openTab(s.t, s.world.browser)
	tb := &tab{t: s.t, ctx: ctx}
	s.t.Cleanup(func() {
		tb.close() // waits, so that no event arrives after the test
		cancel()
	})
	if err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok && !playGivenUp(e.ExceptionDetails) {
			s.t.Errorf("script: %+v %+v", *e.ExceptionDetails, e.ExceptionDetails.Exception)
		}
	}); err != nil {
		s.t.Fatalf("open a tab: %v", err)
	}
	limited, cancelLimit := context.WithTimeout(ctx, patience)
	defer cancelLimit()
	if err := chromedp.Do(limited, chromedp.Navigate(s.world.pages+path)); err != nil {
		s.t.Fatalf("load the page: %v", err)
	}
	return tb
}

// playGivenUp is the exception of the WCS SDK when a stream is stopped, or an MSE play refused, while its
// element is starting to play, or while the SDK waits for the browser's statistics of it.
func playGivenUp(e *runtime.ExceptionDetails) bool {
	return e.Exception != nil && (strings.HasPrefix(e.Exception.Description, "AbortError: The play() request was interrupted") ||
		strings.HasPrefix(e.Exception.Description, "TypeError: Cannot set properties of null (setting 'muted')") ||
		strings.HasPrefix(e.Exception.Description, "TypeError: Cannot read properties of null (reading 'play')") ||
		strings.HasPrefix(e.Exception.Description, "TypeError: Cannot read properties of null (reading 'srcObject')") &&
			strings.Contains(e.Exception.Description, "/flashphoner.js"))
}

// close closes the tab as a user does: the page cannot act before. It can be called repeatedly.
func (tb *tab) close() {
	_ = chromedp.Cancel(tb.ctx) // closed already
}

// call runs a function of the page and waits for the value of its promise.
func call[T any](tb *tab, function string, args ...any) T {
	tb.t.Helper()
	list, err := json.Marshal(append([]any{}, args...))
	if err != nil {
		tb.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, chromedp.Evaluate[T](fmt.Sprintf("%s(...%s)", function, list), chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%s%s: %v\n%s", function, list, err, tb.journal())
	}
	return result
}

// do runs a function of the page without a result.
func (tb *tab) do(function string, args ...any) {
	tb.t.Helper()
	call[chromedp.Void](tb, function, args...)
}

// journal returns the events of the page, for failure messages.
func (tb *tab) journal() string {
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`journalText()`))
	if err != nil {
		return fmt.Sprintf("no journal: %v", err)
	}
	return text
}
