package browser

import (
	"net/http"
	"os"
	"regexp"
	"strings"
)

var htmlBlock = regexp.MustCompile("(?s)\n```html\n(.*?)\n```\n")

// developersPage serves the page of docs/app-developers.md, with the SDK, gateway and stream name of a test
// in the query.
func developersPage(rw http.ResponseWriter, r *http.Request) {
	text, err := os.ReadFile("../../docs/app-developers.md")
	block := htmlBlock.FindStringSubmatch(string(text))
	if err != nil || block == nil {
		http.Error(rw, "docs/app-developers.md has no page", http.StatusInternalServerError)
		return
	}
	q := r.URL.Query()
	page := strings.NewReplacer(
		`"flashphoner.js"`, `"/`+legacyScript(q.Get("sdk"))+`"`,
		`"wss://wcs.example.com"`, `"`+q.Get("gateway")+`"`,
		`name: "test"`, `name: "`+q.Get("name")+`"`,
	).Replace(block[1])
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = rw.Write([]byte(page))
}

// documentedPage loads the unchanged page of docs/app-developers.md: it publishes and plays.
func documentedPage(s *scene, sdk string) {
	name := s.name("docs")
	tb := s.openPage("developers-page?sdk=" + sdk + "&name=" + name + "&gateway=" + s.world.stage.Gateway.URL)
	if got := call[string](tb, `(async () => {
		const log = document.getElementById("log");
		while (!log.textContent) await new Promise(done => setTimeout(done, 50));
		return log.textContent;
	})`); got != "playing\n" {
		s.t.Errorf("the page logged %q", got)
	}
	call[bool](tb, `(async () => {
		const video = document.querySelector("#theirs video");
		while (!video.videoWidth) await new Promise(done => setTimeout(done, 50));
		return true;
	})`)
}
