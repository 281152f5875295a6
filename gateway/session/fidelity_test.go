package session

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"wcsgateway/translate/wcs"
)

// fidelityTable returns a table of docs/fidelity.md by its heading.
func fidelityTable(t *testing.T, heading string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(b), "\n## "+heading+"\n")
	table, _, ended := strings.Cut(table, "\n## ")
	if !found || !ended {
		t.Fatalf("docs/fidelity.md has lost its table %q", heading)
	}
	return table
}

// names returns the values of package wcs' constants of type Name whose own names begin with a prefix.
func names(t *testing.T, prefix string) (all []string) {
	t.Helper()
	files, err := os.ReadDir("../../translate/wcs")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), "../../translate/wcs/"+file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Name" || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), prefix) {
				return true
			}
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				name, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, name)
			}
			return true
		})
	}
	return all
}

// Every message that clients are sent, and every message of the protocol that is never sent, has a row in the
// fidelity table.
func TestFidelityListsMessages(t *testing.T) {
	table := fidelityTable(t, "What clients are sent")
	sent := names(t, "note")
	if len(sent) < 15 {
		t.Fatalf("found only %v", sent)
	}
	never := []string{
		"webRTCMetricsDescriptionUpdate", "webRTCMetricsTokenRefresh", "registered", "notifyTryingResponse", "ring", "hold", "talk", "notifyTransferEvent",
		"notifyIncomingCall",
	}
	for _, name := range append(sent, never...) {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("%s has no row", name)
		}
	}
}

// Every command of the command table has a row in the fidelity table.
func TestFidelityListsCommands(t *testing.T) {
	table := fidelityTable(t, "What clients send")
	for _, name := range names(t, "cmd") {
		if _, ok := commands[wcs.Name(name)]; !ok {
			t.Errorf("%s is not in the command table", name)
		}
	}
	for name := range commands {
		if !strings.Contains(table, "`"+string(name)+"`") {
			t.Errorf("%s has no row", name)
		}
	}
}
