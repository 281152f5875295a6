package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every log message that the troubleshooting table and the runbook quote is logged by the gateway.
func TestQuotedLogMessagesExist(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{"../gateway", "../cmd", "../state", "../translate"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			source.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	message := regexp.MustCompile("`([a-zA-Z][a-zA-Z',;:-]*(?: [a-zA-Z',;:-]+)+)`")
	quoted := 0
	for _, row := range strings.Split(section(t, "operations.md", "## Troubleshooting"), "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 3 {
			continue
		}
		for _, m := range message.FindAllStringSubmatch(cells[1], -1) {
			quoted++
			// Some messages are put together, as in Msg(st.kind() + " failed") and Msg(setting + ": new certificate …").
			literal := strings.TrimPrefix(m[1], "publish")
			if !strings.Contains(source.String(), `"`+literal) && !strings.Contains(source.String(), `": `+literal) {
				t.Errorf("operations.md quotes the log message %q, which is not in the source", m[1])
			}
		}
	}
	if quoted < 10 {
		t.Errorf("found only %d quoted log messages", quoted)
	}
}

// section is the text of a document below a heading, up to the next heading of the same level.
func section(t *testing.T, file, heading string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", file, heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	rest, _, _ = strings.Cut(rest, "\n"+level+" ")
	return rest
}
