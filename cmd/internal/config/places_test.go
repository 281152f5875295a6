package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A fault names the line of the file, or the variable, that set the setting or the section around it.
func TestFaultsNameTheirPlace(t *testing.T) {
	file := write(t, `# a comment
livekit:
  url: "http://h"
  apiKey: k

redis:
  addrs:
    - a:1
    - b
  lease: 8
applications:
  shop.example:
    room: "x.{name}"
    native: sometimes
    romm: y
log: {level: info}
`)
	_, err := Load(file, []string{"WCS_LOG_LEVEL=loud", "WCS_LISTEN_TRUSTEDPROXIES=10.0.0.0/8, nowhere", "WCS_FOO=1", "WCS_LIMITS_DETACHED=["})
	want := map[string]string{
		"livekit.apiSecret":                 file + ":2",
		"redis.addrs[1]":                    file + ":9",
		"redis.lease":                       file + ":10",
		"applications[shop.example].native": file + ":14",
		"applications[shop.example].romm":   file + ":15",
		"log.level":                         "WCS_LOG_LEVEL",
		"listen.trustedProxies[1]":          "WCS_LISTEN_TRUSTEDPROXIES",
		"WCS_FOO":                           "",
		"WCS_LIMITS_DETACHED":               "",
	}
	for _, f := range Faults(err) {
		at, ok := want[f.Key]
		if !ok || f.At != at {
			t.Errorf("fault %v at %q, want %q", f, f.At, at)
		}
		delete(want, f.Key)
	}
	if len(want) > 0 {
		t.Errorf("no faults of %v", want)
	}
	if line := file + ":10: redis.lease: must be"; !strings.Contains(err.Error(), line) {
		t.Errorf("no line that begins %q in\n%v", line, err)
	}

	broken := write(t, "livekit:\n\turl: x\n")
	if _, err := Load(broken, nil); !strings.HasPrefix(err.Error(), broken+":2: is not valid YAML: ") {
		t.Errorf("fault of a file that is not YAML: %v", err)
	}
	for _, text := range []string{"- livekit\n", "livekit\n"} {
		file := write(t, text)
		if _, err := Load(file, nil); err == nil || !strings.HasPrefix(err.Error(), file+":1: is not valid: it must have sections with keys") {
			t.Errorf("fault of a file with %q: %v", text, err)
		}
	}
}

func TestListInVariableHasCommasOrIsYAML(t *testing.T) {
	for text, want := range map[string][]string{
		"a:1": {"a:1"}, "a:1,b:2": {"a:1", "b:2"}, " a:1 , b:2, ": {"a:1", "b:2"}, "[a:1, b:2]": {"a:1", "b:2"},
		"- a:1\n- b:2\n": {"a:1", "b:2"}, "\n - a:1": {"a:1"},
	} {
		cfg, err := Load("", append([]string{"WCS_REDIS_ADDRS=" + text}, required[:3]...))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		check(t, text, cfg.Redis.Addrs, want)
	}
	cfg, err := Load("", append([]string{"WCS_LISTEN_ORIGINS=!https://a.example.com, https://*.example.com,*"}, required...))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "patterns that are not YAML", cfg.Listen.Origins, []string{"!https://a.example.com", "https://*.example.com", "*"})
}

// What the program shows as its configuration can be loaded again, and has no secret.
func TestShownConfigurationLoads(t *testing.T) {
	cfg, err := Load("", append([]string{"WCS_APPLICATIONS={shop: {playFrom: ['a.b']}, 'a.b': {codecs: []}}", "WCS_RATES_SOURCE=off"}, required...))
	if err != nil {
		t.Fatal(err)
	}
	text, err := cfg.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, testSecret) {
		t.Errorf("secret in\n%s", text)
	}
	again, err := Load(write(t, text), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	again.LiveKit.APISecret = cfg.LiveKit.APISecret
	if diff := cmp.Diff(cfg, again, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the loaded configuration differs (-shown +loaded):\n%s", diff)
	}
}
