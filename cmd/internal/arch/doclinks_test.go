package arch

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

const repository = "../../.."

// unread are directories without documents and sources of this project.
var unread = []string{".git", "node_modules", "bin", "vendor", "testdata"}

// quoting are extensions of files (or their names) that may refer to documents.
var quoting = []string{".go", ".md", ".yaml", ".yml", ".tpl", ".txt", ".json", ".sh", ".js", ".mjs", ".ts", ".html", ".service", ".conf", ".cfg", "Makefile", "Dockerfile", "Caddyfile", "setup"}

var (
	linkPattern     = regexp.MustCompile(`!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|(?m:^\[[^\]]+\]:\s+(\S+))`)
	fencePattern    = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	codePattern     = regexp.MustCompile("``[^`]+``|`[^`\n]+`")
	headingPattern  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	namedPattern    = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	documentPattern = regexp.MustCompile(`\b(docs/[\w./-]*\w\.md|README\.md|CONTRIBUTING\.md|SECURITY\.md|CHANGELOG\.md)(#[\w-]*\w)?`)
	foreignPattern  = regexp.MustCompile(`(?:^|[^\w-])((?:design|protocol|integration|feasibility|style|faults|redesign|play-path)\.md)`)
)

// documents are the texts of the files below the repository's root that satisfy accept, by their
// slash-separated path.
func documents(t *testing.T, accept func(name string) bool) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(repository, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(unread, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !accept(d.Name()) {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repository, file)
		texts[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// anchors are the fragments that GitHub generates for the headings of a Markdown text.
func anchors(text string) map[string]bool {
	known, seen := map[string]bool{}, map[string]int{}
	for _, m := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(text, ""), -1) {
		title := linkPattern.ReplaceAllStringFunc(m[1], func(link string) string {
			return link[strings.Index(link, "[")+1 : strings.Index(link, "]")]
		})
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		n := seen[anchor]
		seen[anchor]++
		if n > 0 {
			anchor += "-" + strconv.Itoa(n)
		}
		known[anchor] = true
	}
	for _, m := range namedPattern.FindAllStringSubmatch(text, -1) {
		known[m[1]] = true
	}
	return known
}

// Every relative link of a Markdown file leads to a file of the repository, and every fragment to a heading
// of it. The same holds for each mention of a document in a comment, as docs/NAME.md#anchor.
func TestDocLinksResolve(t *testing.T) {
	markdown := documents(t, func(name string) bool { return path.Ext(name) == ".md" })
	if len(markdown) < 10 {
		t.Fatalf("found only %d Markdown files", len(markdown))
	}
	known := map[string]map[string]bool{}
	for name, text := range markdown {
		known[name] = anchors(text)
	}
	check := func(from, link, file, anchor string) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(repository, filepath.FromSlash(file))); err != nil || strings.HasPrefix(file, "..") {
			t.Errorf("%s: link %q leads to no file of the repository", from, link)
			return
		}
		if anchor != "" && path.Ext(file) == ".md" && !known[file][anchor] {
			t.Errorf("%s: link %q: %s has no heading with the anchor %q", from, link, file, anchor)
		}
	}
	for name, text := range markdown {
		prose := codePattern.ReplaceAllString(fencePattern.ReplaceAllString(text, ""), "code")
		for _, m := range linkPattern.FindAllStringSubmatch(prose, -1) {
			link := m[1] + m[2]
			target, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s: link %q: %v", name, link, err)
				continue
			}
			if target.Scheme != "" || target.Host != "" {
				continue
			}
			file := name
			if target.Path != "" {
				file = path.Join(path.Dir(name), target.Path)
			}
			check(name, link, file, target.Fragment)
		}
	}
	for name, text := range quoted(t) {
		if path.Ext(name) == ".md" {
			continue
		}
		for _, m := range documentPattern.FindAllStringSubmatch(text, -1) {
			file := m[1]
			if _, ok := markdown[file]; !ok {
				if beside := path.Join(path.Dir(name), file); markdown[beside] != "" {
					file = beside
				}
			}
			check(name, m[0], file, strings.TrimPrefix(m[2], "#"))
		}
	}
}

// No text refers to documents that are not in the repository.
func TestTextsNameNoForeignDocuments(t *testing.T) {
	for name, text := range quoted(t) {
		for i, line := range strings.Split(text, "\n") {
			if m := foreignPattern.FindStringSubmatch(line); m != nil {
				t.Errorf("%s:%d refers to %s, which is not in the repository", name, i+1, m[1])
			}
		}
	}
}

// quoted are the files that may refer to documents, without the tests of these references.
func quoted(t *testing.T) map[string]string {
	t.Helper()
	texts := documents(t, func(name string) bool {
		return slices.Contains(quoting, path.Ext(name)) || slices.Contains(quoting, name)
	})
	for _, own := range []string{"doclinks_test.go", "prose_test.go"} {
		delete(texts, "cmd/internal/arch/"+own)
	}
	return texts
}

func TestAnchorsAreThoseOfGitHub(t *testing.T) {
	text := "# Rates, pictures\n## `GET /x`\n```\n# no heading\n```\n## Same\n## Same\n### The [link](x.md) in it\n<a id=\"own\"></a>\n"
	known := anchors(text)
	for _, want := range []string{"rates-pictures", "get-x", "same", "same-1", "the-link-in-it", "own"} {
		if !known[want] {
			t.Errorf("anchor %q is missing from %v", want, known)
		}
	}
	if len(known) != 6 {
		t.Errorf("anchors %v, want 6", known)
	}
}
