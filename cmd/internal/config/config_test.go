package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"wcsgateway/gateway/apps"
)

// required are the variables without which the gateway does not start.
var required = []string{
	"WCS_LIVEKIT_URL=ws://livekit:7880",
	"WCS_LIVEKIT_APIKEY=devkey",
	"WCS_LIVEKIT_APISECRET=" + testSecret,
	"WCS_REDIS_ADDRS=[redis:6379]",
}

const testSecret = "s3cret-that-must-not-be-shown"

func TestDefaultsNeedOnlyWhatIsRequired(t *testing.T) {
	got, err := Load("", required)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	want := Default()
	want.LiveKit.URL, want.LiveKit.APIKey, want.LiveKit.APISecret = "ws://livekit:7880", "devkey", testSecret
	want.Redis.Addrs = []string{"redis:6379"}
	want.Complete()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("configuration differs from the defaults (-want +got):\n%s", diff)
	}
	if apps := slices.Sorted(maps.Keys(got.Applications)); !slices.Equal(apps, []string{"defaultApp", "roomApp"}) {
		t.Errorf("applications %v, want the SDK's two", apps)
	}
	if w := got.Warnings(); len(w) != 2 || !strings.Contains(w[0], "no applications") || !strings.Contains(w[1], "rest.users is empty") {
		t.Errorf("warnings %q, want one about applications and one about the REST API", w)
	}
	if v := got.ServerVersion("1.2.3"); v != "5.2.0-1.2.3" {
		t.Errorf("server version %q", v)
	}
}

func TestMissingSettingsAreAllNamed(t *testing.T) {
	_, err := Load("", nil)
	wantFaults(t, err, map[string]string{
		"livekit.url": "is missing", "livekit.apiKey": "is missing",
		"livekit.apiSecret": "is missing", "redis.addrs": "is missing",
	})
}

func TestVariablesOverrideFileOverridesDefaults(t *testing.T) {
	file := write(t, `
livekit:
  url: https://file.example
  apiKey: fromFile
  webhookKeys: {old: oldSecret}
redis: {addrs: ["a:1", "b:2", "c:3"], lease: 10s}
session: {pingInterval: 7s, pingProbes: 3, maxMessageBytes: 2.097152e+06}
applications:
  one: {native: both, codecs: []}
  two: {room: "t2.{name}", playFrom: [one], hooks: {url: "https://backend/api", retries: 0, methods: [connect]}}
  three:
`)
	got, err := Load(file, []string{
		"WCS_CONFIG=" + file, "UNRELATED=1",
		"WCS_LIVEKIT_APIKEY=0123", // a text setting stays text
		"WCS_LIVEKIT_APISECRET=*no: [yaml",
		"WCS_LIVEKIT_WEBHOOKKEYS={new: newSecret}",
		"WCS_REDIS_ADDRS=[d:4]",
		"WCS_REDIS_TLS_ENABLED=true",
		"WCS_SESSION_PINGINTERVAL=9s",
		"WCS_REST_LISTEN=",
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	defaults := DefaultApplication()
	check(t, "livekit.url from the file", got.LiveKit.URL, "https://file.example")
	check(t, "livekit.apiKey", got.LiveKit.APIKey, "0123")
	check(t, "livekit.apiSecret", got.LiveKit.APISecret.Reveal(), "*no: [yaml")
	check(t, "livekit.webhookKeys replaced as a whole", got.LiveKit.WebhookKeys, map[string]Secret{"new": "newSecret"})
	check(t, "redis.addrs replaced as a whole", got.Redis.Addrs, []string{"d:4"})
	check(t, "redis.tls.enabled", got.Redis.TLS.Enabled, true)
	check(t, "redis.lease from the file", got.Redis.Lease.String(), "10s")
	check(t, "session.pingInterval", got.Session.PingInterval.String(), "9s")
	check(t, "session.pingProbes from the file", got.Session.PingProbes, 3)
	check(t, "session.maxMessageBytes written as floating point", got.Session.MaxMessageBytes, int64(2<<20))
	check(t, "session.maxStreams by default", got.Session.MaxStreams, Default().Session.MaxStreams)
	one, two := defaults, defaults
	one.Native, one.Codecs = apps.NativeBoth, []string{}
	two.Room, two.PlayFrom = "t2.{name}", []string{"one"}
	two.Hooks.URL, two.Hooks.Retries, two.Hooks.Methods = "https://backend/api", 0, []string{"connect"}
	check(t, "applications", got.Applications, map[string]Application{"one": one, "two": two, "three": defaults})
	check(t, "node made of the deployment", got.Node(), "37a8eec1ce19687d132fe29051dca629")
	check(t, "another deployment's node", Config{Deployment: "other"}.Node() == got.Node(), false)
	check(t, "node that is set", Config{Deployment: "default", NodeID: "n"}.Node(), "n")
	if w := got.Warnings(); len(w) != 0 {
		t.Errorf("warnings %q, want none", w)
	}
}

// Every setting can be set by its variable and by the file, with the same result.
func TestFileAndVariablesSetTheSame(t *testing.T) {
	var cfg Config
	file := map[string]any{}
	var environ []string
	for _, s := range cfg.settings() {
		value := sample(t, s)
		section := file
		path := strings.Split(s.key, ".")
		for _, name := range path[:len(path)-1] {
			if section[name] == nil {
				section[name] = map[string]any{}
			}
			section = section[name].(map[string]any)
		}
		section[path[len(path)-1]] = value
		text, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		environ = append(environ, s.env()+"="+strings.TrimSpace(string(text)))
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	byFile, errFile := Load(write(t, string(text)), nil)
	byEnv, errEnv := Load("", environ)
	for _, err := range []error{errFile, errEnv} { // the samples need not be consistent
		for _, f := range Faults(err) {
			if strings.Contains(f.Text, "unknown") || strings.Contains(f.Text, "is missing") {
				t.Errorf("%v", f)
			}
		}
	}
	if diff := cmp.Diff(byFile, byEnv, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("file and variables give different configurations (-file +variables):\n%s", diff)
	}
	defaults := Default()
	got, unset := byEnv.settings(), defaults.settings()
	for i, s := range got {
		if reflect.DeepEqual(s.value.Interface(), unset[i].value.Interface()) {
			t.Errorf("%s: the value was not set", s.key)
		}
	}
}

// sample returns a value for a setting that is not its default.
func sample(t *testing.T, s setting) any {
	t.Helper()
	switch s.value.Interface().(type) {
	case string, Secret:
		return "sample"
	case bool:
		return true
	case int, int64:
		return 77
	case float64:
		return 0.25
	case []string:
		return []string{"x:1", "y:2"}
	case map[string]Secret:
		return map[string]string{"k": "v"}
	case map[string]Upstream:
		return map[string]any{"old": map[string]any{"url": "wss://old.example", "maxLinks": 7}}
	case map[string]Application:
		return map[string]any{"app.one": map[string]any{"room": "r.{name}", "native": "play", "codecs": []string{"VP8"}}}
	default:
		if s.isText() {
			return "33s"
		}
		t.Fatalf("%s: no sample for a %s", s.key, s.value.Type())
		return nil
	}
}

func TestVariableNamesAreUnique(t *testing.T) {
	var cfg Config
	seen := map[string]string{EnvFile: "the file"}
	for _, s := range cfg.settings() {
		if other := seen[s.env()]; other != "" {
			t.Errorf("%s sets both %s and %s", s.env(), other, s.key)
		}
		seen[s.env()] = s.key
	}
	check(t, "variable of livekit.apiKey", seen["WCS_LIVEKIT_APIKEY"], "livekit.apiKey")
}

func TestSecretsAreNotShown(t *testing.T) {
	cfg, err := Load("", append([]string{
		"WCS_LIVEKIT_WEBHOOKKEYS={other: " + testSecret + "}",
		"WCS_REDIS_PASSWORD=" + testSecret,
		"WCS_REDIS_MASTERNAME=main",
		"WCS_REDIS_SENTINELPASSWORD=" + testSecret,
		"WCS_APPLICATIONS={roomApp: {hooks: {url: http://b, username: u, password: " + testSecret + "}}, other: {hooks: {url: http://b, hmacSecret: " + testSecret + "}}}",
	}, required...))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, errJSON := json.Marshal(cfg)
	asYAML, errYAML := yaml.Marshal(cfg)
	if err := errors.Join(errJSON, errYAML); err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{"JSON": string(asJSON), "YAML": string(asYAML), "Redacted": fmt.Sprint(cfg.Redacted())}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown[verb] = fmt.Sprintf(verb, cfg) //nolint:govet // mismatched verbs are intended
		shown["secret "+verb] = fmt.Sprintf(verb, cfg.LiveKit.APISecret)
	}
	for how, text := range shown {
		if strings.Contains(text, testSecret) || strings.Contains(text, fmt.Sprintf("%x", testSecret)) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
		if !strings.Contains(text, masked) {
			t.Errorf("%s does not show that a secret is set: %s", how, text)
		}
	}
	check(t, "the revealed secret", cfg.LiveKit.APISecret.Reveal(), testSecret)
	check(t, "redacted lease", cfg.Redacted()["redis.lease"], any("8s"))
	check(t, "redacted room", cfg.Redacted()["applications[roomApp].room"], any("wcs.{name}"))
	check(t, "redacted secret of a backend", cfg.Redacted()["applications[other].hooks.hmacSecret"], any(masked))
	check(t, "redacted empty password", Default().Redacted()["redis.password"], any(""))
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wcs.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantFaults requires exactly these faults, by key with a part of the text.
func wantFaults(t *testing.T, err error, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, f := range Faults(err) {
		if got[f.Key] != "" {
			t.Errorf("%s has several faults", f.Key)
		}
		got[f.Key] = f.Text
	}
	for key, text := range want {
		if !strings.Contains(got[key], text) {
			t.Errorf("fault of %s: %q, want one with %q", key, got[key], text)
		}
	}
	for key, text := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("unexpected fault %s: %s", key, text)
		}
	}
	if len(want) > 0 && strings.Count(err.Error(), "\n") != len(got)-1 {
		t.Errorf("not one line for each fault:\n%v", err)
	}
}
