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

// wantNoMoreStatus checks that no status was sent that the test has not taken: clients are notified once.
func wantNoMoreStatus(t *testing.T, clients ...*rig.Client) {
	t.Helper()
	for _, c := range clients {
		if c.Open() {
			awaitRoundTrip(t, c) // what was sent before has arrived
		}
		if n := c.Count("notifyStreamStatusEvent"); n != 0 {
			t.Errorf("notified %d times more: %s", n, c.Names())
		}
	}
}
