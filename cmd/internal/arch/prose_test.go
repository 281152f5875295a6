package arch

import (
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// commentWidth is the longest line of a comment, in characters.
const commentWidth = 110

// badProse are the patterns that made this project's language private, with the plain words for each. The
// list is short on purpose: it holds only patterns that have no good use in technical English.
var badProse = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\bgives\b`), `"returns", "sends" or "has"`},
	{regexp.MustCompile(`(?i)\btells? (whether|of|that|which|how|what|who)\b`), `"reports whether", "returns", "notifies" or "sends"`},
	{regexp.MustCompile(`(?i)\b(nobody|somebody|everybody|whoever)\b`), `the noun: "no client", "another participant", "all members"`},
	{regexp.MustCompile(`(?i)\b(for ever|anew|once more|likewise|in vain|for want of|as a rule)\b`), `"again", "usually", "without success", "for lack of", or nothing`},
	{regexp.MustCompile(`(?i)\b(of|to) such\b`), `the noun`},
	{regexp.MustCompile(`(?i)\bis no (socket|object|browser|session|error|stream|client|room|number|string)\b`), `"is not a …"`},
	{regexp.MustCompile(`(?i)\bshall\b`), `"must" or "should"`},
	{regexp.MustCompile(`(?i)\b(who|what) is there\b`), `"present" or "connected"`},
}

// unquoted removes quotations, which may be in other words.
var unquoted = regexp.MustCompile("`[^`\n]*`|“[^”\n]*”|\"[^\"\n]*\"")

// proseExempt are paths of texts that are not ours, or whose words are a program's.
var proseExempt = []string{"/vendor/", "/testdata/", "/node_modules/", "/schemas/", "LICENSE", "cmd/internal/arch/prose_test.go"}

// Comments and documents are in plain technical English.
func TestProseIsPlainEnglish(t *testing.T) {
	t.Parallel()
	for _, file := range trackedFiles(t) {
		if slices.ContainsFunc(proseExempt, func(part string) bool { return strings.Contains("/"+file, part) }) {
			continue
		}
		text, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range proseFaults(file, string(text)) {
			t.Error(fault)
		}
	}
}

func TestProseFindsFaults(t *testing.T) {
	t.Parallel()
	long := "// " + strings.Repeat("long", 30)
	for _, tt := range []struct{ file, text, want string }{
		{"a.go", "package a\n\n// f gives a name.\n", `a.go:3: "gives"`},
		{"a.go", "package a\n\n// f tells whether it is so.\n", `a.go:3: "tells whether"`},
		{"a.go", "package a\n\n" + long + "\n", "a.go:3: comment of 123 columns"},
		{"a.go", "package a\n\nvar gives = \"gives\"\n", ""},
		{"a.md", "It is for nobody.\n", `a.md:1: "nobody"`},
		{"a.md", "A client is told `nobody`.\n", ""},
		{"a.yaml", "a: 1 # again and anew\n", `a.yaml:1: "anew"`},
		{"a.lua", "-- redis.call(of such)\n", `a.lua:1: "of such"`},
	} {
		got := strings.Join(proseFaults(tt.file, tt.text), "\n")
		if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: faults %q, want %q", tt.text, got, tt.want)
		}
	}
}

// trackedFiles lists the files of the project whose words are checked.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "*.go", "*.md", "*.yaml", "*.yml", "*.lua", "*.js", "*.html", "*.tpl", "*.txt", "Makefile", "Dockerfile", ".ci/*")
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// proseFaults returns what is wrong with the words of a file: of Go its comments, of everything else all of
// it.
func proseFaults(file, text string) (faults []string) {
	check := func(line int, words string) {
		words = unquoted.ReplaceAllString(words, "")
		for _, bad := range badProse {
			if found := bad.pattern.FindString(words); found != "" {
				faults = append(faults, fmt.Sprintf("%s:%d: %q: write %s", file, line, found, bad.instead))
			}
		}
	}
	if filepath.Ext(file) != ".go" {
		n := 0
		for line := range strings.Lines(text) {
			n++
			check(n, line)
		}
		return faults
	}
	for _, c := range goComments(text) {
		for i, line := range strings.Split(c.text, "\n") {
			check(c.line+i, line)
			if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > commentWidth && !strings.Contains(line, "//go:") {
				faults = append(faults, fmt.Sprintf("%s:%d: comment of %d columns, at most %d", file, c.line+i, n, commentWidth))
			}
		}
	}
	return faults
}

type goComment struct {
	line int
	text string
}

// goComments returns the comments of Go source.
func goComments(source string) (all []goComment) {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, []byte(source), nil, scanner.ScanComments)
	for {
		pos, tok, text := s.Scan()
		switch tok {
		case token.EOF:
			return all
		case token.COMMENT:
			all = append(all, goComment{line: file.Line(pos), text: text})
		}
	}
}
