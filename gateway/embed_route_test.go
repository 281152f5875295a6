package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"wcsgateway/gateway/embed"
)

func TestPlayerForFramesIsServedOnlyIfConfigured(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.Handler
		path    string
		want    int
	}{
		"not configured": {nil, embed.Path, http.StatusNotFound},
		"configured":     {embed.New(embed.Config{AppKey: "defaultApp"}), embed.Path, http.StatusOK},
		"another path":   {embed.New(embed.Config{}), embed.Path + "/", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *Config) { cfg.Embed = c.handler })
			rec := httptest.NewRecorder()
			w.pods[podA].Public().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, c.path+"?streamName=test", nil))
			if rec.Code != c.want {
				t.Errorf("status %d, want %d", rec.Code, c.want)
			}
		})
	}
}
