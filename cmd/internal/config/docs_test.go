package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the configuration's documentation instead of checking it")

const (
	root        = "../../.."
	document    = root + "/docs/configuration.md"
	exampleFile = root + "/deploy/wcs-gateway.example.yaml"

	workerDocument = root + "/docs/pull.md"

	tableBegin = "<!-- config:begin -->\n"
	tableEnd   = "<!-- config:end -->"
)

func TestDocumentListsEverySetting(t *testing.T) {
	compareTables(t, document, tables(t, everySetting()))
}

// The settings for Redis and the log are those of the gateway.
func TestDocumentListsEverySettingOfWorker(t *testing.T) {
	cfg := DefaultWorker()
	compareTables(t, workerDocument, tables(t, slices.DeleteFunc(cfg.settings(), func(s setting) bool {
		return strings.HasPrefix(s.key, "redis.") || strings.HasPrefix(s.key, "log.")
	})))
}

// compareTables compares the generated tables of a document, or writes them.
func compareTables(t *testing.T, document, want string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	got, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks %q and %q", document, tableBegin, tableEnd)
	}
	if *update {
		if err := os.WriteFile(document, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the tables in %s differ from the comments of the fields; go test ./cmd/internal/config -update writes them (-want +got):\n%s", document, diff)
	}
}

func TestExampleListsEverySetting(t *testing.T) {
	want, err := example(settingDocs(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(exampleFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the example differs from config.go; go test ./cmd/internal/config -update writes it (-want +got):\n%s", diff)
	}

	loaded, err := Load(exampleFile, required)
	if err != nil {
		t.Fatalf("loading the example: %v", err)
	}
	defaults, err := Load("", required)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults, loaded, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty(),
		cmpopts.IgnoreMapEntries(func(key string, _ Application) bool { return key == "roomApp" })); diff != "" {
		t.Errorf("values of the example differ from the defaults (-defaults +example):\n%s", diff)
	}
}

// The configurations that the documents show can be loaded. Their secrets are in files.
func TestDocumentedConfigurationsLoad(t *testing.T) {
	for _, text := range documentedConfigurations(t) {
		if _, err := Load(write(t, text), nil); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}

// documentedConfigurations returns the configurations in the documents, with an existing file for each
// secret.
func documentedConfigurations(t *testing.T) (all []string) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of thirty-two characters"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "docs/configuration.md", "docs/install-linux.md"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			if !strings.Contains(block, "apiSecret: {file:") {
				continue
			}
			found = true
			all = append(all, regexp.MustCompile(`\{file: [^}]*\}`).ReplaceAllString(block, "{file: "+secret+"}"))
		}
		if !found {
			t.Errorf("%s shows no configuration", name)
		}
	}
	return all
}

// maxRowWords bounds a row of the tables. Longer descriptions have further paragraphs, which stand below the
// table.
const maxRowWords = 60

// tables are the tables of settings in a document, one for each section of the file.
func tables(t *testing.T, settings []setting) string {
	docs := fieldDocs(t)
	var b, notes strings.Builder
	section := ""
	row := func(s setting) {
		if name := sectionOf(s.key); name != section {
			b.WriteString(notes.String())
			notes.Reset()
			if section != "" {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "### %s\n\n| key | default | meaning |\n|---|---|---|\n", name)
			section = name
		}
		value := code(plain(t, s))
		if s.isSecret() {
			value = "*secret*"
		}
		meaning, more, _ := strings.Cut(docs.of(t, s), "\n")
		line := fmt.Sprintf("| `%s` | %s | %s |\n", s.key, value, strings.ReplaceAll(meaning, "|", `\|`))
		if n := len(strings.Fields(line)); n > maxRowWords {
			t.Errorf("the row of %s has %d words, more than %d: move details to a second paragraph of the comment", s.key, n, maxRowWords)
		}
		b.WriteString(line)
		for more != "" {
			var paragraph string
			paragraph, more, _ = strings.Cut(more, "\n")
			notes.WriteByte('\n')
			writeWrapped(&notes, fmt.Sprintf("**`%s`**: %s", s.key, paragraph), "", 130)
		}
	}
	for _, s := range settings {
		row(s)
	}
	b.WriteString(notes.String())
	return b.String()
}

// sectionOf is the heading below which a setting is listed.
func sectionOf(key string) string {
	section, _, below := strings.Cut(key, ".")
	if !below && section != "applications" && section != "upstreams" {
		return "general"
	}
	return section
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// plain is the text of a default value, empty for an empty one.
func plain(t *testing.T, s setting) string {
	switch s.value.Kind() {
	case reflect.String:
		return s.value.String()
	case reflect.Slice, reflect.Map:
		if s.value.Len() == 0 {
			return ""
		}
	}
	var p printer
	text := p.text(s.value)
	if p.err != nil {
		t.Fatalf("%s: %v", s.key, p.err)
	}
	return text
}

// fieldDocumentation holds the comments of struct fields by type and field name, one paragraph a line.
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
						docs[spec.Name.Name+"."+f.Names[0].Name] = paragraphs(f.Doc.Text())
					}
				}
			}
			return false
		})
	}
	return docs
}

// paragraphs puts each paragraph of a comment on a line of its own.
func paragraphs(text string) string {
	var lines []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines = append(lines, strings.Join(strings.Fields(paragraph), " "))
	}
	return strings.Join(lines, "\n")
}

func (d fieldDocumentation) of(t *testing.T, s setting) string {
	t.Helper()
	doc := d[s.owner.Name()+"."+s.field]
	if doc == "" {
		t.Errorf("%s has no documentation: the field %s.%s needs a comment", s.key, s.owner.Name(), s.field)
	}
	return doc
}

// settingDocs returns the comments by the path of the setting.
func settingDocs(t *testing.T) map[string]string {
	t.Helper()
	docs, byPath := fieldDocs(t), make(map[string]string)
	for _, s := range everySetting() {
		byPath[s.key] = docs.of(t, s)
	}
	return byPath
}

// everySetting returns the settings with their defaults, with those of an application, an upstream and a
// rule.
func everySetting() []setting {
	cfg := Default()
	return withNested(cfg.settings())
}

// withNested adds the settings of sections in maps and lists, each after its own.
func withNested(flat []setting) (all []setting) {
	for _, s := range flat {
		all = append(all, s)
		switch {
		case s.hasSections():
			defaults, placeholder, _ := defaultSection(s.value.Type().Elem())
			all = append(all, withNested(settings(s.key+"."+placeholder+".", defaults))...)
		case s.isSectionList():
			all = append(all, settings(s.key+"[].", reflect.New(s.value.Type().Elem()).Elem())...)
		}
	}
	return all
}

func (s setting) isSectionList() bool {
	return s.isList() && s.value.Type().Elem().Kind() == reflect.Struct
}
