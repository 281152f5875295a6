package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
)

// Firefox makes no media connection to 127.0.0.1, and works with the address that wcs-dev chooses.
func TestFirefoxPublishesAndPlaysDemoPage(t *testing.T) {
	requireSDK(t)
	addr, ok := networkAddress()
	if !ok {
		t.Skip("this machine has no address but 127.0.0.1")
	}
	page, _, consolePage := startAll(t, options{host: loopback, media: addr})
	rig.StartFirefox(t, page+"?start")
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
