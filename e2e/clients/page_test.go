package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// scripts are those of a page with a version of the SDK: paths below e2e.
func scripts(sdk string) []string {
	return []string{
		"browser/page/journal.js", "browser/node_modules/websdk-" + sdk + "/flashphoner.js",
		"browser/page/legacy.js", "clients/page/roundtrip.js",
	}
}

// pages serves pages, and gets their reports.
type pages struct {
	server  *httptest.Server
	reports chan pageReport
}

// pageReport is what a page reports at its end: what its player has decoded, or a failure.
type pageReport struct {
	Stream, Failure        string
	AudioCodec, VideoCodec string
	Width                  int
	agent                  string
}

func newPages(t *testing.T) *pages {
	t.Helper()
	p := &pages{reports: make(chan pageReport, 16)}
	mux := http.NewServeMux()
	mux.Handle("GET /e2e/", http.StripPrefix("/e2e/", http.FileServer(http.Dir(".."))))
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(pageText("/e2e", r.URL.Query().Get("sdk")))) // the browser can be gone
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		report := pageReport{agent: r.UserAgent()}
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			report.Failure = err.Error()
		}
		p.reports <- report
	})
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

func pageText(base, sdk string) string {
	var b strings.Builder
	b.WriteString(`<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,"><body>`)
	for _, s := range scripts(sdk) {
		fmt.Fprintf(&b, `<script src="%s/%s"></script>`, base, s)
	}
	return b.String()
}

// address is where a browser finds the page.
func (p *pages) address(s *stage, sdk, name string) string {
	return p.server.URL + "/page?" + p.query(s, sdk, name)
}

func (p *pages) query(s *stage, sdk, name string) string {
	return url.Values{"sdk": {sdk}, "gateway": {s.Gateway.URL}, "name": {name}, "report": {p.server.URL + "/report"}}.Encode()
}

// file writes the page to a file, and returns its address.
func (p *pages) file(t *testing.T, s *stage, sdk, name string) string {
	t.Helper()
	e2e, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(pageText("file://"+e2e, sdk)), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + file + "?" + p.query(s, sdk, name)
}

// wantMedia waits for the report of the page of a stream, that its player has decoded the camera and the
// microphone. It returns the browser's User-Agent.
func (p *pages) wantMedia(t *testing.T, stream string) (agent string) {
	t.Helper()
	select {
	case r := <-p.reports:
		if r.Failure != "" || r.Stream != stream || r.Width == 0 || r.AudioCodec != "opus" || r.VideoCodec != "VP8" {
			t.Fatalf("the page reports %+v", r)
		}
		return r.agent
	case <-time.After(patience):
		t.Fatal("no report of the page")
		return ""
	}
}
