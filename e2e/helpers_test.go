package e2e

import (
	"io"
	"net/http"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

func get(t *testing.T, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, body
}

// wantToldOnce checks that no status waits to be taken: what clients were told they were told once.
func wantToldOnce(t *testing.T, clients ...*rig.Client) {
	t.Helper()
	for _, c := range clients {
		if c.Open() {
			pang(t, c) // what was sent before is there
		}
		if n := c.Count("notifyStreamStatusEvent"); n != 0 {
			t.Errorf("told %d times more: %s", n, c.Names())
		}
	}
}
