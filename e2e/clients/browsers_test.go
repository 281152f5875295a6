package clients

import (
	"testing"

	"wcsgateway/e2e/rig"
)

// startChromium opens a page in a Chromium of its own, which ends with the test.
func startChromium(t *testing.T, address string, flags ...string) {
	t.Helper()
	args := append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
		"--user-data-dir=" + t.TempDir(),
	}, flags...)
	rig.Start(t, "chromium", append(args, address)...)
}
