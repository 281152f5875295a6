package config

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the configuration's documentation instead of checking it")

const (
	root       = "../../.."
	document   = root + "/docs/configuration.md"
	example    = root + "/deploy/wcs-gateway.example.yaml"
	tableBegin = "<!-- config:begin -->\n"
	tableEnd   = "<!-- config:end -->"
)

const exampleHead = `# Configuration of wcs-gateway: every key with its default.
#
# A key can also be set by a variable: WCS_ and its path in capitals with _ between, so livekit.apiKey is
# WCS_LIVEKIT_APIKEY; a list or map is YAML text there and replaces the file's. Variables win over this file. Durations
# have a unit: 500ms, 5s, 24h. A secret can be in a file of its own: {file: /path} here, or the variable with _FILE
# at its end. ` + "`wcs-gateway --config FILE --check-config`" + ` tells all that is wrong with it.
`

func TestDocumentListsEverySetting(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatalf("the document with the table of settings is missing: %v", err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	got, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("docs/configuration.md lacks the marks %q and %q", tableBegin, tableEnd)
	}
	want := table(t)
	if *update {
		if err := os.WriteFile(document, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table in docs/configuration.md differs from config.go; go test ./cmd/internal/config -update writes it (-want +got):\n%s", diff)
	}
}

func TestExampleListsEverySetting(t *testing.T) {
	want := exampleText(t)
	if *update {
		if err := os.WriteFile(example, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the example is not what config.go says; go test ./cmd/internal/config -update writes it (-want +got):\n%s", diff)
	}

	loaded, err := Load(example, required)
	if err != nil {
		t.Fatalf("the example cannot be loaded: %v", err)
	}
	defaults, err := Load("", required)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults, loaded, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty(),
		cmpopts.IgnoreMapEntries(func(key string, _ Application) bool { return key == "roomApp" })); diff != "" {
		t.Errorf("the example's values are not the defaults (-defaults +example):\n%s", diff)
	}
}

// table is the table of all settings in docs/configuration.md.
func table(t *testing.T) string {
	docs := fieldDocs(t)
	var b strings.Builder
	b.WriteString("| key | variable | default | meaning |\n|---|---|---|---|\n")
	row := func(key, variable, value, doc string) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key, variable, value, strings.ReplaceAll(doc, "|", `\|`))
	}
	cfg := Default()
	for _, s := range cfg.settings() {
		variable := code(s.env())
		if s.isSecret() {
			variable += ", " + code("…"+fileSuffix)
		}
		row(s.key, variable, code(plain(t, s)), docs.of(t, s))
		if s.value.Type() != reflect.TypeFor[map[string]Application]() {
			continue
		}
		for _, a := range settings(s.key+".<appKey>.", reflect.ValueOf(DefaultApplication())) {
			row(a.key, "", code(plain(t, a)), docs.of(t, a))
		}
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// exampleText is a file with every setting, its documentation and its default.
func exampleText(t *testing.T) string {
	var b strings.Builder
	b.WriteString(exampleHead)
	cfg := Default()
	cfg.Applications = map[string]Application{"defaultApp": DefaultApplication()}
	writeSection(t, &b, fieldDocs(t), "", reflect.ValueOf(cfg))
	return b.String()
}

func writeSection(t *testing.T, b *strings.Builder, docs fieldDocumentation, indent string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		key, value := f.Tag.Get(fieldTag), v.Field(i)
		if indent == "" {
			b.WriteByte('\n')
		}
		s := setting{key: key, value: value, owner: v.Type(), field: f.Name}
		if f.Type.Kind() == reflect.Struct {
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			writeSection(t, b, docs, indent+"  ", value)
			continue
		}
		comment(b, indent, docs.of(t, s))
		if apps, ok := value.Interface().(map[string]Application); ok {
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			for name, app := range apps {
				fmt.Fprintf(b, "%s  %s:\n", indent, name)
				writeSection(t, b, docs, indent+"    ", reflect.ValueOf(app))
			}
			continue
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, key, asYAML(t, s))
	}
}

// comment writes text in lines of about 100 bytes.
func comment(b *strings.Builder, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// plain is a default for people: nothing if it is empty.
func plain(t *testing.T, s setting) string {
	switch s.value.Kind() {
	case reflect.String:
		return s.value.String()
	case reflect.Slice, reflect.Map:
		if s.value.Len() == 0 {
			return ""
		}
	}
	return asYAML(t, s)
}

func asYAML(t *testing.T, s setting) string {
	t.Helper()
	if d, ok := s.value.Interface().(time.Duration); ok {
		text := d.String() // 24h0m0s
		for _, zero := range []string{"0s", "0m"} {
			if cut := strings.TrimSuffix(text, zero); strings.HasSuffix(cut, "m") || strings.HasSuffix(cut, "h") {
				text = cut
			}
		}
		return text
	}
	var node yaml.Node
	if err := node.Encode(s.value.Interface()); err != nil {
		t.Fatal(err)
	}
	node.Style |= yaml.FlowStyle
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(&node); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// fieldDocumentation is the comments of struct fields by type and field name.
type fieldDocumentation map[string]string

// fieldDocs reads them from this package's source.
func fieldDocs(t *testing.T) fieldDocumentation {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	docs := fieldDocumentation{}
	for _, file := range files {
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(source, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					if len(f.Names) > 0 {
						docs[spec.Name.Name+"."+f.Names[0].Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
			return false
		})
	}
	return docs
}

func (d fieldDocumentation) of(t *testing.T, s setting) string {
	t.Helper()
	doc := d[s.owner.Name()+"."+s.field]
	if doc == "" {
		t.Errorf("%s has no documentation: give the field %s.%s a comment", s.key, s.owner.Name(), s.field)
	}
	return doc
}
