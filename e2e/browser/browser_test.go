package browser

import (
	"strings"
	"testing"
)

// sdkVersions are the SDK versions that the core tests run with.
var sdkVersions = []string{oldestSDK, middleSDK, newestSDK}

// TestClientsWorkInChromium runs all tests on one world.
func TestClientsWorkInChromium(t *testing.T) {
	w := newWorld(t)
	t.Run("all", func(t *testing.T) {
		for _, sdk := range sdkVersions {
			for name, test := range coreTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t), sdk)
				})
			}
		}
		for _, sdk := range []string{oldestSDK, newestSDK} {
			for name, test := range hookTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t), sdk)
				})
			}
		}
		for _, sdk := range sdkVersions {
			t.Run(sdk+" documented page", func(t *testing.T) {
				t.Parallel()
				documentedPage(w.newScene(t), sdk)
			})
			t.Run(sdk+" snapshot", func(t *testing.T) {
				t.Parallel()
				snapshots(w.newScene(t), sdk)
			})
		}
		for _, sdk := range []string{oldestSDK, newestSDK} {
			for name, test := range eventTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t), sdk)
				})
			}
		}
		for _, group := range []map[string]func(*scene){codecTests, nativeTests, {"a client without an SDK": rawClient}} {
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
