package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"wcsgateway/state"
)

// askLB requests lbUrl from a host and returns the answer.
func (w *world) askLB(t *testing.T, pod, host string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/lb", nil)
	r.Host = host
	w.pods[pod].Public().ServeHTTP(rec, r)
	res := rec.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Access-Control-Allow-Origin") != "*" || !json.Valid(body) {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	return string(body)
}

func TestLoadBalancerNamesReadyPodWithFewestSessions(t *testing.T) {
	answer := func(server, ws, wss string) string {
		return `{"server":"` + server + `","ws":"` + ws + `","wss":"` + wss + `","flash":null}` + "\n"
	}
	const low, high = "low.example", "high.example"
	pod := func(server string, sessions int, ready bool) state.Peer {
		return state.Peer{Server: server, WS: "1", WSS: "2", Sessions: sessions, Ready: ready}
	}
	for name, c := range map[string]struct {
		cfg   LoadBalancer
		peers []state.Peer
		asked string
		want  string
	}{
		"its own address":            {asked: "wcs.example:8443", want: answer("wcs.example", "8443", "8443")},
		"its own address, IPv6":      {asked: "[::1]:8080", want: answer("[::1]", "8080", "8080")},
		"its own address, no port":   {asked: "wcs.example", want: answer("wcs.example", "80", "443")},
		"the deployment's":           {cfg: LoadBalancer{LBServer: "all.example"}, asked: "x:1", want: answer("all.example", "80", "443")},
		"the pod with few sessions":  {cfg: LoadBalancer{LBPodHost: high}, peers: []state.Peer{pod(high, 9, true), pod(low, 3, true)}, want: answer(low, "1", "2")},
		"only pods that are ready":   {cfg: LoadBalancer{LBPodHost: low}, peers: []state.Peer{pod(high, 9, true), pod(low, 3, false)}, want: answer(high, "1", "2")},
		"only pods that are reached": {cfg: LoadBalancer{LBPodHost: low}, peers: []state.Peer{pod("", 1, true), pod(high, 9, true)}, want: answer(high, "1", "2")},
		"this pod, without Redis":    {cfg: LoadBalancer{LBPodHost: low}, want: answer(low, "80", "443")},
	} {
		t.Run(name, func(t *testing.T) {
			w := emptyWorld()
			w.peers = c.peers
			w.start(t, podA, func(cfg *Config) {
				cfg.LoadBalancer = c.cfg
				cfg.LBPath, cfg.LBWS, cfg.LBWSS = "/lb", "80", "443"
			})
			for range 20 { // chance is in it
				if got := w.askLB(t, podA, c.asked); got != c.want {
					t.Fatalf("%s, want %s", got, c.want)
				}
			}
		})
	}
}

// A pod reports the number of its sockets, and that it is not ready any more.
func TestPodReportsSocketsAndReadiness(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.LoadBalancer = LoadBalancer{LBPodHost: "a.example", LBWS: "1", LBWSS: "2"} })
	w.connect(t, podA)
	want := state.Peer{Server: "a.example", WS: "1", WSS: "2", Sessions: 1, Ready: true}
	if got := w.pods[podA].StoreHandlers().Describe(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	w.pods[podA].draining.Store(true)
	if got := w.pods[podA].StoreHandlers().Describe(); got.Ready {
		t.Errorf("%+v", got)
	}
}
