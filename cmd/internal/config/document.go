package config

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// schema is made of the fields of Config, their comments and their tags: go test -update writes it.
//
//go:embed schema.json
var schema []byte

// Schema returns the JSON schema of the file, draft 7. A file that it rejects is rejected by Load; Load also
// finds faults that the schema cannot.
func Schema() []byte { return schema }

// Least is the least file: the settings without a default. LeastVariables are the same as variables.
const Least = `livekit: {url: "http://localhost:7880", apiKey: KEY, apiSecret: SECRET}
redis: {addrs: ["localhost:6379"]}
`

const LeastVariables = `WCS_LIVEKIT_URL=http://localhost:7880
WCS_LIVEKIT_APIKEY=KEY
WCS_LIVEKIT_APISECRET=SECRET
WCS_REDIS_ADDRS=localhost:6379
`

// Starter is a file to begin with.
const Starter = `# Configuration of wcs-gateway. Every setting is described in docs/configuration.md; ` + "`wcs-gateway config init --all`" + `
# prints them with their defaults. ` + "`wcs-gateway check --config FILE`" + ` lists every error in this file.

livekit:
  url: http://localhost:7880
  apiKey: KEY
  # Or a file that has only the secret: {file: /etc/wcs-gateway/secrets/livekit}
  apiSecret: SECRET

redis:
  addrs: ["localhost:6379"]

# App keys of your apps. Another app key is rejected.
applications:
  defaultApp: {}

listen:
  # Pages that may connect. Empty: all.
  origins: []
  # Networks of the proxies in front, such as 10.0.0.0/8.
  trustedProxies: []
`

const exampleHead = `# Configuration of wcs-gateway: every key with its default.
#
# A key can also be set by a variable: WCS_ and its path in capitals with _ between, so livekit.apiKey is
# WCS_LIVEKIT_APIKEY. A variable replaces a whole list or map of the file: a list is a,b or YAML, a map is YAML. Durations
# have a unit: 500ms, 5s, 24h. A secret can be in a file of its own: {file: /path} here, or the variable with _FILE
# at its end. ` + "`wcs-gateway check --config FILE`" + ` lists every error in it.
`

// Example returns a file with every setting, its documentation and its default.
func Example() (string, error) {
	var root schemaNode
	if err := json.Unmarshal(schema, &root); err != nil {
		return "", fmt.Errorf("schema: %w", err)
	}
	docs := make(map[string]string)
	root.descriptions("", docs)
	return example(docs)
}

// schemaNode is the part of a schema that has the documentation.
type schemaNode struct {
	Description string                `json:"description"`
	Properties  map[string]schemaNode `json:"properties"`
	// Additional is a schemaNode or false.
	Additional json.RawMessage `json:"additionalProperties"`
}

// descriptions adds the descriptions of all settings by path.
func (n schemaNode) descriptions(path string, docs map[string]string) {
	docs[path] = n.Description
	prefix := strings.TrimPrefix(path+".", ".")
	for key, of := range n.Properties {
		of.descriptions(prefix+key, docs)
	}
	var each schemaNode
	if json.Unmarshal(n.Additional, &each) == nil { // not false
		each.descriptions(prefix+anyApp, docs)
	}
}

func example(docs map[string]string) (string, error) {
	cfg := Default()
	cfg.Applications = map[string]Application{"defaultApp": DefaultApplication()}
	p := printer{docs: docs}
	p.b.WriteString(exampleHead)
	p.section("", "", reflect.ValueOf(cfg))
	return p.b.String(), p.err
}

// YAML returns the configuration as a file, with *** for each secret.
func (c Config) YAML() (string, error) {
	var p printer
	p.section("", "", reflect.ValueOf(c))
	return p.b.String(), p.err
}

// printer writes a configuration as YAML.
type printer struct {
	b    strings.Builder
	docs map[string]string // by path; nil for a file without comments
	err  error             // the first one
}

// section writes the fields of a struct of this package.
func (p *printer) section(indent, path string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		key, value := f.Tag.Get(fieldTag), v.Field(i)
		if indent == "" && p.docs != nil {
			p.b.WriteByte('\n')
		}
		if doc := p.docs[path+key]; doc != "" {
			for paragraph := range strings.SplitSeq(doc, "\n") {
				writeWrapped(&p.b, paragraph, indent+"# ", 100)
			}
		}
		names := setting{value: value}.sections()
		switch {
		case f.Type.Kind() == reflect.Struct:
			fmt.Fprintf(&p.b, "%s%s:\n", indent, key)
			p.section(indent+"  ", path+key+".", value)
		case len(names) > 0:
			fmt.Fprintf(&p.b, "%s%s:\n", indent, key)
			_, placeholder, _ := defaultSection(f.Type.Elem())
			for _, name := range names {
				fmt.Fprintf(&p.b, "%s  %s:\n", indent, p.text(reflect.ValueOf(name)))
				p.section(indent+"    ", path+key+"."+placeholder+".", value.MapIndex(reflect.ValueOf(name)))
			}
		default:
			fmt.Fprintf(&p.b, "%s%s: %s\n", indent, key, p.text(value))
		}
	}
}

// text returns a value as YAML on one line.
func (p *printer) text(value reflect.Value) string {
	if d, ok := value.Interface().(time.Duration); ok {
		return shortDuration(d)
	}
	var (
		node yaml.Node
		b    bytes.Buffer
	)
	err := node.Encode(value.Interface())
	if err == nil {
		node.Style |= yaml.FlowStyle
		err = yaml.NewEncoder(&b).Encode(&node)
	}
	if p.err == nil {
		p.err = err
	}
	return strings.TrimSpace(b.String())
}

// shortDuration returns a duration without units that are 0: 24h, not 24h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if cut := strings.TrimSuffix(text, zero); strings.HasSuffix(cut, "m") || strings.HasSuffix(cut, "h") {
			text = cut
		}
	}
	return text
}

// writeWrapped writes text in lines of at most width bytes, each after prefix.
func writeWrapped(b *strings.Builder, text, prefix string, width int) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(prefix)+len(line)+1+len(word) > width {
			b.WriteString(prefix + line + "\n")
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	b.WriteString(prefix + line + "\n")
}
