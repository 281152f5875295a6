package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// infoText is a literal that a client may get as info: a phrase that begins with a capital.
var infoText = regexp.MustCompile(`^[A-Z][A-Za-z]* [^%]*$`)

// TestErrorTextsAreDocumented checks that docs/app-developers.md explains every info text: the vendor's, the
// outcomes of errors.go and the constants called info… .
func TestErrorTextsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("app-developers.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	texts := make(map[string]string) // text → file
	for _, dir := range []string{"../gateway", "../translate/wcs"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					for i, name := range n.Names {
						if strings.HasPrefix(strings.ToLower(name.Name), "info") && i < len(n.Values) {
							addText(texts, path, n.Values[i])
						}
					}
				case *ast.BasicLit:
					if path == "../gateway/errors.go" || path == "../gateway/session/errors.go" {
						addText(texts, path, n)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(texts) < 45 {
		t.Fatalf("found only %d texts: are they elsewhere now?", len(texts))
	}
	for text, path := range texts {
		if !strings.Contains(page, strings.TrimRight(text, " ")) {
			t.Errorf("%s: %q is not explained", path, text)
		}
	}
}

// addText notes the value of a string literal if it is an info text.
func addText(texts map[string]string, path string, n ast.Expr) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return
	}
	text, err := strconv.Unquote(lit.Value)
	if err == nil && infoText.MatchString(text) {
		texts[text] = path
	}
}
