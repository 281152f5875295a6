package rest

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

var update = flag.Bool("update", false, "write the tables of docs/rest-api.md")

const restDocument = "../../docs/rest-api.md"

// TestRESTTablesListEveryOperation checks that the tables of docs/rest-api.md are those of openapi.yaml.
func TestRESTTablesListEveryOperation(t *testing.T) {
	doc := described(t, serve(t, Config{}, nil))
	b, err := os.ReadFile(restDocument)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	page = withTable(t, page, "endpoints", endpointRows(doc))
	page = withTable(t, page, "streams", memberRows(doc, "Stream"))
	page = withTable(t, page, "figures", memberRows(doc, "Metrics"))
	page = withTable(t, page, "connections", memberRows(doc, "Connection"))
	if page == string(b) {
		return
	}
	if !*update {
		t.Fatal("a table in docs/rest-api.md is not what openapi.yaml says: run go test ./gateway/rest -run RESTTables -update")
	}
	if err := os.WriteFile(restDocument, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withTable returns the page with the rows between the marks of a table.
func withTable(t *testing.T, page, name, rows string) string {
	t.Helper()
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->"
	before, rest, found := strings.Cut(page, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("docs/rest-api.md has lost the marks of the table %q", name)
	}
	return before + begin + rows + end + after
}

// endpointRows has a row for each path. Methods with the same summary share it.
func endpointRows(doc *openapi3.T) string {
	var b strings.Builder
	b.WriteString("| endpoint | members of the request | |\n|---|---|---|\n")
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		operations := doc.Paths.Map()[path].Operations()
		methods := slices.Sorted(maps.Keys(operations))
		summary := operations[methods[len(methods)-1]].Summary // of POST, which can do more than GET
		fmt.Fprintf(&b, "| %s `%s` | %s | %s |\n", strings.Join(methods, ", "), path, requestMembers(operations[methods[len(methods)-1]]), summary)
	}
	return b.String()
}

// requestMembers lists the members of a request's body or query, the required ones in bold.
func requestMembers(o *openapi3.Operation) string {
	var names []string
	for _, p := range o.Parameters {
		names = append(names, marked(p.Value.Name, p.Value.Required))
	}
	if o.RequestBody != nil {
		schema := o.RequestBody.Value.Content["application/json"].Schema.Value
		for _, part := range append(schema.AllOf, &openapi3.SchemaRef{Value: schema}) {
			for _, name := range slices.Sorted(maps.Keys(part.Value.Properties)) {
				names = append(names, marked(name, slices.Contains(part.Value.Required, name)))
			}
		}
	}
	return strings.Join(names, ", ")
}

func marked(name string, required bool) string {
	if required {
		return "**`" + name + "`**"
	}
	return "`" + name + "`"
}

// memberRows has a row for each member of a schema.
func memberRows(doc *openapi3.T, schema string) string {
	var b strings.Builder
	b.WriteString("| member | type | |\n|---|---|---|\n")
	s := doc.Components.Schemas[schema].Value
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		member := s.Properties[name].Value
		typ := strings.Join(member.Type.Slice(), ", ")
		meaning := cmp.Or(member.Description, values(member))
		if !slices.Contains(s.Required, name) {
			typ += ", optional"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, typ, meaning)
	}
	return b.String()
}

// values lists the values of an enumeration.
func values(s *openapi3.Schema) string {
	var all []string
	for _, v := range s.Enum {
		all = append(all, fmt.Sprintf("`%v`", v))
	}
	return strings.Join(all, ", ")
}
