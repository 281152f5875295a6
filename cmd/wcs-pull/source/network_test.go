package source

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/pull"
)

// The networks that the operator named are not for sources that a pattern for every host allows.
func TestSourceForEveryHostReachesPublicNetworksOnly(t *testing.T) {
	server := rig.StartRTSP(t, "", "")
	asked := make(chan string, 10)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(web.Close)
	inside, reached := trap(t)
	for _, url := range []string{server.URL("cam"), web.URL + "/film.mp4", "rtmp://" + inside + "/live/cam", "srt://" + inside} {
		start1(t, url, func(j *Job) { j.Source = j.Source.With(pull.Rights{PublicOnly: true}) }).wantFault(pull.Forbidden)
	}
	if n := server.Readers() + len(asked) + int(reached()); n != 0 {
		t.Errorf("%d connections", n)
	}
}
