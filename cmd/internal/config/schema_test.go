package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const (
	schemaFile  = "schema.json"
	chartSchema = root + "/deploy/chart/wcs-gateway/values.schema.json"
)

// node is a JSON schema. Its members are written in this order.
type node struct {
	Schema      string       `json:"$schema,omitempty"`
	Title       string       `json:"title,omitempty"`
	Description string       `json:"description,omitempty"`
	Type        any          `json:"type,omitempty"`
	Properties  members      `json:"properties,omitempty"`
	Additional  any          `json:"additionalProperties,omitempty"`
	Names       *node        `json:"propertyNames,omitempty"`
	Required    []string     `json:"required,omitempty"`
	Items       *node        `json:"items,omitempty"`
	Enum        []string     `json:"enum,omitempty"`
	Pattern     string       `json:"pattern,omitempty"`
	Minimum     *json.Number `json:"minimum,omitempty"`
	Maximum     *json.Number `json:"maximum,omitempty"`
	AnyOf       []*node      `json:"anyOf,omitempty"`
	Default     any          `json:"default,omitempty"`
}

// members keeps the order of the settings.
type members []member

type member struct {
	key string
	of  *node
}

func (m members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, one := range m {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(strconv.Quote(one.key) + ":")
		if err := encoder(&b).Encode(one.of); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// durationPattern is the form that time.ParseDuration accepts, without a minus.
const durationPattern = `^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// optional is the type of a setting: without a value it has its default.
func optional(name string) []string { return []string{name, "null"} }

// wantSchema is the schema of the file.
func wantSchema(t *testing.T) *node {
	defaults := Default()
	root := sectionSchema(t, settingDocs(t), "", reflect.ValueOf(defaults))
	root.Schema, root.Title = "http://json-schema.org/draft-07/schema#", "Configuration of wcs-gateway"
	return root
}

func sectionSchema(t *testing.T, docs map[string]string, path string, v reflect.Value) *node {
	t.Helper()
	n := &node{Type: optional("object"), Additional: false}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		key := f.Tag.Get(fieldTag)
		if f.Type.Kind() == reflect.Struct {
			n.Properties = append(n.Properties, member{key, sectionSchema(t, docs, path+key+".", v.Field(i))})
			continue
		}
		s := setting{key: path + key, value: v.Field(i), tag: f.Tag}
		of := settingSchema(t, docs, s)
		of.Description = docs[s.key]
		n.Properties = append(n.Properties, member{key, of})
	}
	return n
}

func settingSchema(t *testing.T, docs map[string]string, s setting) *node {
	t.Helper()
	r, pattern := s.rule(), s.tag.Get(patternTag)
	number := func(bound string) *json.Number {
		if _, err := strconv.ParseFloat(bound, 64); err != nil {
			return nil // none, or of a duration, which JSON schema cannot compare
		}
		n := json.Number(bound)
		return &n
	}
	switch v := s.value.Interface().(type) {
	case Secret:
		return secretSchema()
	case map[string]Secret:
		return &node{Type: optional("object"), Additional: secretSchema()}
	case map[string]string:
		return &node{Type: optional("object"), Additional: &node{Type: "string"}}
	case time.Duration:
		return &node{Type: optional("string"), Pattern: durationPattern, Default: shortDuration(v)}
	case bool:
		return &node{Type: optional("boolean"), Default: v}
	case int, int64:
		return &node{Type: optional("integer"), Minimum: number(least(r)), Maximum: number(r.max), Default: v}
	case float64:
		return &node{Type: optional("number"), Minimum: number(r.min), Maximum: number(r.max), Default: v}
	case []string:
		n := &node{Type: optional("array"), Items: &node{Type: "string", Pattern: pattern}}
		if len(v) > 0 {
			n.Default = v
		}
		return n
	}
	if s.hasSections() {
		defaults, placeholder, _ := defaultSection(s.value.Type().Elem())
		return &node{Type: optional("object"), Additional: sectionSchema(t, docs, s.key+"."+placeholder+".", defaults), Names: &node{Pattern: "."}}
	}
	if s.isSectionList() {
		item := sectionSchema(t, docs, s.key+"[].", reflect.New(s.value.Type().Elem()).Elem())
		item.Type = "object"
		return &node{Type: optional("array"), Items: item}
	}
	if s.value.Kind() != reflect.String {
		t.Fatalf("%s: no schema for a %s", s.key, s.value.Type())
	}
	n := &node{Type: optional("string"), Pattern: pattern}
	if v := s.value.String(); v != "" {
		n.Default = v
	}
	if r.one != nil {
		n.Pattern = "^(" + strings.Join(r.one, "|") + ")$" // an enum would exclude null
	}
	return n
}

// least returns the least number of a rule: where 0 is allowed besides larger numbers, the schema allows
// those between.
func least(r rule) string {
	if r.orZero {
		return "0"
	}
	return r.min
}

func secretSchema() *node {
	file := &node{Type: "string", Pattern: "."}
	return &node{AnyOf: []*node{
		{Type: optional("string")},
		{Type: "object", Properties: members{{"file", file}}, Required: []string{"file"}, Additional: false},
	}}
}

func encoder(b *bytes.Buffer) *json.Encoder {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e
}

func indented(t *testing.T, n *node, prefix string) string {
	t.Helper()
	var b, pretty bytes.Buffer
	if err := encoder(&b).Encode(n); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&pretty, bytes.TrimSpace(b.Bytes()), prefix, "  "); err != nil {
		t.Fatal(err)
	}
	return pretty.String()
}

// The schema that the program prints, and its copy in the chart, are made of Config.
func TestSchemaListsEverySetting(t *testing.T) {
	want := wantSchema(t)
	checkFile(t, schemaFile, indented(t, want, "")+"\n")

	want.Schema, want.Title = "", "" // the chart has its own
	chart, err := os.ReadFile(chartSchema)
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?ms)^    "gateway": \{.*?^    \}`)
	if !part.Match(chart) {
		t.Fatalf("%s lacks the definition gateway", chartSchema)
	}
	checkFile(t, chartSchema, part.ReplaceAllLiteralString(string(chart), `    "gateway": `+indented(t, want, "    ")))
}

// checkFile compares a generated file with the wanted text, or writes it with -update.
func checkFile(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s differs from the comments and tags of config.go; make docs writes it (-want +got):\n%s", file, diff)
	}
}

// Every bound in a tag can be parsed, and every default satisfies its rule.
func TestRulesHoldForDefaults(t *testing.T) {
	rules := 0
	for _, s := range everySetting() {
		if text := s.tag.Get(patternTag); text != "" {
			if _, err := regexp.Compile(text); err != nil {
				t.Errorf("%s: %v", s.key, err)
			}
		}
		r := s.rule()
		for _, bound := range []string{r.min, r.max} {
			_, isNumber := strconv.ParseFloat(bound, 64)
			_, isDuration := time.ParseDuration(bound)
			switch _, duration := s.value.Interface().(time.Duration); {
			case bound == "":
			case duration && isDuration != nil, !duration && isNumber != nil:
				t.Errorf("%s: bound %q", s.key, bound)
			}
		}
		if s.tag.Get(ruleTag) == "" {
			continue
		}
		rules++
		if r.one == nil && r.min == "" {
			t.Errorf("%s: rule %q", s.key, s.tag.Get(ruleTag))
		}
		var f faults
		if f.checkRule(s); len(f) > 0 {
			t.Errorf("default: %v", f)
		}
	}
	if rules < 60 {
		t.Errorf("only %d rules", rules)
	}
}

var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", document); err != nil {
		return nil, err
	}
	return c.Compile("config.json")
})

// checkSchema returns the fault that the schema finds in a file.
func checkSchema(t *testing.T, text string) error {
	t.Helper()
	compiled, err := compiledSchema()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return compiled.Validate(value)
}

// Each of these files is rejected by the schema and by Load, which names the line.
func TestSchemaRejectsFaultyConfigurations(t *testing.T) {
	faulty := []string{
		"sesion: {}", "redis.lease: 5s", "livekit: {apikey: k}", "livekit: {apiSecret: {path: /x}}", "livekit: {apiSecret: {file: /x, key: y}}",
		"livekit: {apiSecret: 1234567}", "livekit: {url: livekit:7880}", "livekit: {url: 'ftp://h'}", "livekit: {webhookKeys: [a]}", "livekit: {maxConns: 0}",
		"livekit: {callTimeout: 5}", "livekit: {callTimeout: 5 seconds}", "livekit: []", "deployment: Upper Case", "deployment: 5", "nodeId: node-1", "version: 5.2",
		"listen: {public: 8080}", "listen: {public: '8080'}", "listen: {internal: 'host:http'}", "listen: {lb: {ws: 0}}", "listen: {lb: {wss: 70000}}",
		"listen: {lbPath: lb}", "listen: {tls: /cert.pem}", "listen: {origins: https://a}", "listen: {trustedProxies: [10.0.0.1]}", "listen: {proxyProtocol: 'yes'}",
		"redis: {addrs: 'a:1'}", "redis: {addrs: [redis]}", "redis: {db: -1}", "redis: {db: 1.5}", "redis: {cluster: 'true'}", "redis: {tls: {skipVerify: true}}",
		"session: {maxMessageBytes: 1000}", "session: {pingProbes: 0}", "limits: {jsonDepth: 3}", "limits: {bytesPerSecond: -5}", "media: {iceTimeout: -1s}",
		"rates: {source: on}", "rates: {source: sometimes}", "snapshot: {maxBytes: 999999999}", "snapshot: {ffmpeg: ffmpeg}", "drain: {window: forever}",
		"rest: {auth: digest}", "rest: {users: [ops]}", "tracing: {sampleRatio: 2}", "tracing: {endpoint: 'collector:4318'}", "log: {level: loud}", "log: info",
		"applications: [a]", "applications: {'': {}}", "applications: {a: {romm: 'x.{name}'}}", "applications: {a: {room: fixed}}", "applications: {a: {native: sometimes}}",
		"applications: {a: {hooks: {retries: 99}}}", "applications: {a: {hooks: {url: backend}}}", "applications: {a: {codecs: opus}}",
		"applications: {a: {missingStream: gone}}", "applications: {a: {maxSessions: many}}", "applications: {a: {rooms: true}}",
	}
	if len(faulty) < 40 {
		t.Errorf("only %d configurations", len(faulty))
	}
	for _, text := range faulty {
		if checkSchema(t, text) == nil {
			t.Errorf("the schema accepts %s", text)
		}
		file := write(t, text)
		_, err := Load(file, nil)
		found := slices.ContainsFunc(Faults(err), func(f *Fault) bool { return f.At == file+":1" && !strings.Contains(f.Text, "is missing") })
		if !found {
			t.Errorf("%s: Load finds %v, want a fault with the line", text, err)
		}
	}
}

// The schema accepts the files that Load accepts: the example, those of the documents, and each setting at
// its limits.
func TestSchemaAcceptsValidConfigurations(t *testing.T) {
	text, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	for _, valid := range append(documentedConfigurations(t), text, Least, "", "livekit:\nredis:\napplications: {a: }",
		"media: {playWait: , silenceTimeout: 0s}", "session: {maxMessageBytes: 2.097152e+06}", "livekit: {url: 'HTTP://h', apiKey: ''}") {
		if err := checkSchema(t, valid); err != nil {
			t.Errorf("%v in\n%s", err, valid)
		}
	}
	accepted := 0
	for _, s := range everySetting() {
		environ := slices.DeleteFunc(slices.Clone(required), func(v string) bool { return strings.HasPrefix(v, s.env()+"=") })
		for _, value := range oddities(s) {
			file := map[string]any{}
			section := file
			path := strings.Split(s.key, ".")
			for _, name := range path[:len(path)-1] {
				inner := map[string]any{}
				section[name], section = inner, inner
			}
			section[path[len(path)-1]] = value
			text, err := yaml.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := load("", text, environ); err != nil {
				continue
			}
			accepted++
			if err := checkSchema(t, string(text)); err != nil {
				t.Errorf("Load accepts %s, the schema does not: %v", text, err)
			}
		}
	}
	if accepted < 300 {
		t.Errorf("only %d valid configurations: the test is too weak", accepted)
	}
}

// oddities returns values that some settings of the type accept, and some of other types.
func oddities(s setting) []any {
	generic := []any{1, "x", true, map[string]any{}, []any{}, nil}
	switch {
	case s.value.CanInt() && !s.isText():
		return append(generic, -1, 0, 16, 36, 1024, 65536, 16777216, 1e7)
	case s.value.CanFloat():
		return append(generic, -1, 0, 0.5, 1.5)
	case s.isList():
		return append(generic, []string{"a:1"}, []string{"10.0.0.0/8", "::/0"}, []string{"https://a"}, []string{"opus", "VP8"}, []string{"connect"}, []string{"defaultApp"})
	case s.isText():
		return append(generic, "", "0", "0s", "2s", "1h", "1.5h", "+5s", ".5m", ":80", "[::1]:80", "none", "off", "on", "http://h", "wss://h", "HTTPS://h", "/p",
			"basic", "json", "a{name}", "Stream not found", "debug", "allowed", "probe")
	}
	return generic
}
