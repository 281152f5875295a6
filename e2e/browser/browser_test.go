package browser

import (
	"flag"
	"strings"
	"testing"
)

// more is set by make test-more.
var more = flag.Bool("more", false, "all versions of the SDK, all codecs of the browser, quality for longer and on a narrow path, and pages at every width")

// TestClientsWorkInChromium runs all tests on one world.
func TestClientsWorkInChromium(t *testing.T) {
	w := newWorld(t)
	t.Run("all", func(t *testing.T) {
		for _, sdk := range versions() {
			var short []string
			if sdk == oldestSDK {
				short = oldestTests
			}
			w.runCoreTests(t, sdk, w.stage.Gateway.URL, short...)
		}
		for _, sdk := range versionsOfFeatures() {
			for name, test := range hookTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t), sdk)
				})
			}
		}
		for _, sdk := range versionsOfFeatures() {
			t.Run(sdk+" the documented page publishes and plays", func(t *testing.T) {
				t.Parallel()
				documentedPage(w.newScene(t), sdk)
			})
			t.Run(sdk+" a snapshot has the published picture", func(t *testing.T) {
				t.Parallel()
				snapshots(w.newScene(t), sdk)
			})
			for name, test := range eventTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t), sdk)
				})
			}
		}
		for _, group := range []map[string]func(*scene){codecTests, nativeTests, {"a client without an SDK publishes and plays": rawClient}} {
			for name, test := range group {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t))
				})
			}
		}
	})
	w.stage.WantClean(t)
	if strings.Contains(w.stage.Gateway.Output(), "panic") {
		t.Error("the gateway's log contains a panic")
	}
}
