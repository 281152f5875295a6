package console

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"wcsgateway/docs"
)

var (
	hrefs = regexp.MustCompile(`<a href="([^"]*)"`)
	ids   = regexp.MustCompile(`<h[1-6] id="([^"]*)"`)
)

func TestLinksInServedDocumentsResolve(t *testing.T) {
	files, err := docs.Files.ReadDir(".")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d documents: %v", len(files), err)
	}
	known, pages := map[string]bool{"": true}, map[string]string{}
	for _, f := range files {
		text, err := render(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		pages[f.Name()], known[f.Name()] = text, true
		for _, m := range ids.FindAllStringSubmatch(text, -1) {
			known[f.Name()+"#"+m[1]] = true
		}
	}
	links := 0
	for name, text := range pages {
		for _, m := range hrefs.FindAllStringSubmatch(text, -1) {
			to := strings.ReplaceAll(m[1], "&amp;", "&")
			if u, err := url.Parse(to); err != nil || u.IsAbs() {
				continue // TestDocLinksResolve
			}
			if strings.HasPrefix(to, "#") {
				to = name + to
			}
			if links++; !known[to] {
				t.Errorf("%s links to %s, which the console does not serve", name, to)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were found", links)
	}
	if text := pages["install-linux.md"]; !strings.Contains(text, "wcs-gateway.service") {
		t.Error("the text of a link to a file outside the documents is missing")
	}
}
