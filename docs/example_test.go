// Package docs has only tests: that the documents are what the code says.
package docs

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The root of the repository, from this package's directory.
const root = ".."

var codeBlock = regexp.MustCompile("(?ms)^ *```go\n(.*?)^ *```$")

// TestAddCommandExampleCompiles compiles the code of "Add a command" (docs/development.md) into the gateway,
// with an overlay, and runs the test that is part of it. The first line of each block names the place of its
// code.
func TestAddCommandExampleCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the gateway again")
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/development.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Add a command\n")
	if !found {
		t.Fatal(`docs/development.md has no section "Add a command"`)
	}
	blocks := codeBlock.FindAllStringSubmatch(section, -1)
	if len(blocks) != 4 {
		t.Fatalf("%d blocks of code, want 4", len(blocks))
	}
	replace := make(map[string]string)
	var tested string // the directory with the example's test
	for _, block := range blocks {
		head, code, _ := strings.Cut(unindent(block[1]), "\n")
		var path string
		if file, ok := strings.CutPrefix(head, "// new file "); ok {
			path = file
			if _, err := os.Stat(filepath.Join(root, path)); err == nil {
				t.Errorf("%s exists already", path)
			}
			if strings.HasSuffix(path, "_test.go") {
				tested = filepath.Dir(path)
			}
		} else if where, ok := strings.CutPrefix(head, "// row in "); ok {
			file, line, _ := strings.Cut(where, " after: ")
			path, code = file, insertAfter(t, file, line, code)
		} else {
			t.Fatalf("block begins with %q", head)
		}
		abs, err := filepath.Abs(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		replace[abs] = writeTemp(t, filepath.Base(path), []byte(code))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", writeTemp(t, "overlay.json", overlay), "-count=1", "-v", "-run", "^TestEchoReturnsText$", "./"+tested)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestEchoReturnsText")) {
		t.Errorf("the example fails (%v):\n%s", err, out)
	}
}

// unindent removes the indentation of a block inside a list.
func unindent(block string) string {
	indent := block[:len(block)-len(strings.TrimLeft(block, " "))]
	lines := strings.Split(block, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], indent)
	}
	return strings.Join(lines, "\n")
}

// insertAfter returns a file of the repository with code after a line.
func insertAfter(t *testing.T, file, line, code string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(b), line+"\n")
	if !found {
		t.Fatalf("%s has no line %q", file, line)
	}
	return before + line + "\n" + code + after
}

func writeTemp(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
