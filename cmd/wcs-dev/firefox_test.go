package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// firefoxPrefs give a Firefox a fake camera without questions, media that play without a click, and no
// connections of its own.
const firefoxPrefs = `
user_pref("media.navigator.permission.disabled", true);
user_pref("media.navigator.streams.fake", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
`

// Firefox makes no media connection to 127.0.0.1, and works with the address that wcs-dev chooses.
func TestFirefoxPublishesAndPlaysDemoPage(t *testing.T) {
	requireSDK(t)
	addr, ok := networkAddress()
	if !ok {
		t.Skip("this machine has no address but 127.0.0.1")
	}
	page, _, consolePage := startAll(t, options{host: loopback, media: addr})
	profile := t.TempDir()
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(firefoxPrefs), 0o600); err != nil {
		t.Fatal(err)
	}
	firefox := exec.CommandContext(t.Context(), "firefox-esr", "--headless", "--no-remote", "--profile", profile, page+"?start")
	firefox.Env = append(os.Environ(), "HOME="+profile)
	if err := firefox.Start(); err != nil {
		t.Fatalf("start Firefox (Debian's package is firefox-esr): %v", err)
	}
	t.Cleanup(func() {
		_ = firefox.Process.Kill() // it can have ended
		_ = firefox.Wait()         // it was killed
	})
	rest := strings.TrimSuffix(consolePage, "/console/") + "/rest-api/stream/find_all"
	eventually(t, "Firefox publishes and plays", func() bool {
		up := statuses(t, rest)
		return up["PUBLISHING"] == 1 && up["PLAYING"] == 1
	})
}

// statuses counts the streams of the deployment by their status.
func statuses(t *testing.T, address string) map[string]int {
	t.Helper()
	res, err := http.Post(address, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var streams []struct{ Status string }
	counts := make(map[string]int)
	if json.Unmarshal(body, &streams) == nil { // without streams it is an error's text
		for _, s := range streams {
			counts[s.Status]++
		}
	}
	return counts
}
