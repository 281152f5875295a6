package tests

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the table of values in the chart's README")

// valuesTable returns a row for each value that has no members of its own in the schema.
func valuesTable(t *testing.T) string {
	t.Helper()
	var schema object
	if err := json.Unmarshal(readFile(t, filepath.Join(chartDir, "values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	var file yamlnode.Node
	if err := yamlnode.Unmarshal(readFile(t, filepath.Join(chartDir, "values.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| value | default | |\n|---|---|---|\n")
	var rows func(path, above string, schema object, of *yamlnode.Node)
	rows = func(path, above string, schema object, of *yamlnode.Node) {
		properties, _ := schema["properties"].(object)
		for i := 0; i < len(of.Content); i += 2 {
			key, value := of.Content[i], of.Content[i+1]
			name := path + key.Value
			text := strings.TrimSpace(strings.ReplaceAll(strings.TrimPrefix(strings.ReplaceAll("\n"+key.HeadComment, "\n#", "\n"), "\n"), "\n", ""))
			inner, _ := properties[key.Value].(object)
			if value.Kind == yamlnode.MappingNode && inner["additionalProperties"] == false && inner["properties"] != nil {
				rows(name+".", text, inner, value)
				continue
			}
			if text == "" {
				t.Errorf("values.yaml does not describe %s", name)
			}
			if i == 0 {
				text = strings.TrimSpace(above + " " + text)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, defaultText(t, name, value), strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(text))
		}
	}
	rows("", "", schema, file.Content[0])
	return b.String()
}

// defaultText is the default as one line of YAML, or empty for an empty one.
func defaultText(t *testing.T, name string, value *yamlnode.Node) string {
	t.Helper()
	var v any
	if err := value.Decode(&v); err != nil {
		t.Fatal(err)
	}
	switch name {
	case "config", "podSecurityContext", "securityContext", "topologySpreadConstraints", "strategy":
		return "[values.yaml](values.yaml)"
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	switch text := string(b); text {
	case `""`, "{}", "[]", "null":
		return ""
	default:
		return "`" + strings.Trim(text, `"`) + "`"
	}
}

// The chart's README has a table of all values, with the descriptions of values.yaml.
func TestReadmeHasTableOfValues(t *testing.T) {
	const begin, end = "<!-- values:begin -->\n", "<!-- values:end -->"
	file := filepath.Join(chartDir, "README.md")
	before, rest, _ := strings.Cut(string(readFile(t, file)), begin)
	got, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no %s", file, end)
	}
	want := valuesTable(t)
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("README.md, which make docs writes (-values.yaml +README.md):\n%s", diff)
	}
}

// values.yaml documents every value of the schema. The schema rejects other values, so rendering would
// fail with them. Only config and secrets have free members.
func TestValuesHaveWhatTheSchemaTakes(t *testing.T) {
	var schema, defaults object
	if err := json.Unmarshal(readFile(t, filepath.Join(chartDir, "values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(readFile(t, filepath.Join(chartDir, "values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, schema, defaults object)
	compare = func(path string, schema, defaults object) {
		properties, _ := schema["properties"].(object)
		for name, of := range properties {
			value, there := defaults[name]
			if !there {
				t.Errorf("values.yaml lacks %s", path+name)
				continue
			}
			inner, isMap := value.(object)
			if s, ok := of.(object); ok && isMap && s["additionalProperties"] == false {
				compare(path+name+".", s, inner)
			}
		}
	}
	delete(schema["properties"].(object), "global") // Helm's own
	compare("", schema, defaults)
}
