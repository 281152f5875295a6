package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Bounds of what a reader has to keep in mind at once.
const (
	maxPackageLines     = 6000 // of files that are not tests
	maxPackageFiles     = 45
	maxInterfaceMethods = 8
)

// centralTypes are the structs that everything passes through, and that would grow back first.
var centralTypes = []struct {
	dir, name              string
	fields, methods, files int // 0: not bounded
}{
	{"gateway", "Gateway", 15, 30, 8},
	{"gateway/session", "Session", 18, 0, 0},
	{"gateway/session", "stream", 25, 0, 0},
}

func TestPackagesStayWithinSizeLimits(t *testing.T) {
	t.Parallel()
	lines, files := map[string]int{}, map[string]int{}
	for _, file := range trackedFiles(t) {
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(file))
		lines[dir] += bytes.Count(source, []byte("\n"))
		files[dir]++
		for _, fault := range largeInterfaces(t, file, source) {
			t.Error(fault)
		}
	}
	for dir := range files {
		if lines[dir] > maxPackageLines || files[dir] > maxPackageFiles {
			t.Errorf("package %s has %d lines in %d files; at most %d and %d", dir, lines[dir], files[dir], maxPackageLines, maxPackageFiles)
		}
	}
	for _, c := range centralTypes {
		fields, methods, in := sizeOfType(t, c.dir, c.name)
		t.Logf("%s.%s: %d fields, %d methods in %d files", c.dir, c.name, fields, methods, in)
		if fields == 0 || fields > c.fields || c.methods > 0 && methods > c.methods || c.files > 0 && in > c.files {
			t.Errorf("%s.%s has %d fields and %d methods in %d files; at most %d, %d and %d (0: any)",
				c.dir, c.name, fields, methods, in, c.fields, c.methods, c.files)
		}
	}
}

// largeInterfaces returns the interfaces of a file with too many methods. Embedded ones count as one.
func largeInterfaces(t *testing.T, file string, source []byte) (faults []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxInterfaceMethods {
				faults = append(faults, fmt.Sprintf("%s: interface %s has %d methods, at most %d", file, spec.Name.Name, i.Methods.NumFields(), maxInterfaceMethods))
			}
		}
		return true
	})
	return faults
}

// sizeOfType counts the fields of a struct, an embedded one as one, and its methods with the files that have
// them.
func sizeOfType(t *testing.T, dir, name string) (fields, methods, files int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("../../..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		before := methods
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch d := n.(type) {
			case *ast.TypeSpec:
				if s, ok := d.Type.(*ast.StructType); ok && d.Name.Name == name {
					fields = s.Fields.NumFields()
				}
			case *ast.FuncDecl:
				if d.Recv != nil && receiver(d) == name {
					methods++
				}
			}
			return true
		})
		if methods > before {
			files++
		}
	}
	return fields, methods, files
}

// receiver returns the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	if pointer, ok := typ.(*ast.StarExpr); ok {
		typ = pointer.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}
