package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"wcsgateway/cmd/internal/config"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const (
	faulty = "livekit: {url: nowhere}\nredis:\n  adrs: []\n"
	sound  = "livekit: {url: 'http://livekit:7880', apiKey: k, apiSecret: not-for-the-log}\nredis: {addrs: ['redis:6379']}\n"
	quiet  = sound + "applications: {shop: {}}\nrest: {listen: ''}\n" // causes no warning
)

// result is what a command does.
type result struct {
	code           int
	stdout, stderr string
}

func runCommand(stdin string, environ []string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), args, program{environ: environ, stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr})
	return result{code, stdout.String(), stderr.String()}
}

// Everything that the commands print, with their exit codes, is in testdata.
func TestCommandsPrintGoldenFiles(t *testing.T) {
	golden, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	version = "1.2.3"
	t.Cleanup(func() { version = "" })
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"faulty.yaml": faulty, "sound.yaml": sound, "quiet.yaml": quiet, "broken.yaml": "livekit: {\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		args    string
		environ []string
	}{
		{"help", "help", nil},
		{"help-flag", "--help", nil},
		{"help-check", "help check", nil},
		{"help-config", "config", nil},
		{"help-nested", "help config init", nil},
		{"help-unknown", "help serv", nil},
		{"help-unknown-nested", "help config foo", nil},
		{"help-healthcheck", "healthcheck --help", nil},
		{"version", "version", nil},
		{"version-flag", "--version", nil},
		{"version-short", "-v", nil},
		{"version-one-dash", "-version", nil},
		{"unknown-command", "serv", nil},
		{"unknown-flag", "--nonsense", nil},
		{"unexpected-argument", "serve now", nil},
		{"unconfigured", "", []string{"HOME=/root", "WCS_GATEWAY_SERVICE_HOST=10.0.0.1"}},
		{"unconfigured-check", "check", nil},
		{"unconfigured-check-json", "check --json", nil},
		{"serve-faulty", "--config faulty.yaml", nil},
		{"serve-missing-file", "serve --config missing.yaml", nil},
		{"serve-broken", "serve --config broken.yaml", nil},
		{"serve-variables", "serve", []string{"WCS_REDIS_ADDRS=a:6379,b", "WCS_LIVEKIT_APIKY=k"}},
		{"check-config-faulty", "--config faulty.yaml --check-config", nil},
		{"check-config-warnings", "-check-config -config=sound.yaml", nil},
		{"check-faulty", "check --config faulty.yaml", nil},
		{"check-faulty-json", "check --json --config faulty.yaml", nil},
		{"check-warnings", "check", []string{config.EnvFile + "=sound.yaml"}},
		{"check-flag-over-variable", "--config quiet.yaml check", []string{config.EnvFile + "=faulty.yaml"}},
		{"check-ok-json", "check --config quiet.yaml --json", nil},
		{"config-init", "config init", nil},
		{"config-show", "config show --config quiet.yaml", []string{"WCS_LOG_LEVEL=debug"}},
		{"config-show-faulty", "config show --config faulty.yaml", nil},
		{"help-upstream", "upstream", nil},
		{"help-upstream-report", "upstream report --help", nil},
		{"help-upstream-transcripts", "upstream transcripts --help", nil},
		{"upstream-report-days", "upstream report --days 32", nil},
		{"upstream-report-faulty", "upstream report --config faulty.yaml", nil},
		{"healthcheck-port", "healthcheck --address localhost:http", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runCommand("", tt.environ, strings.Fields(tt.args)...)
			got := fmt.Sprintf("$ wcs-gateway %s\n%s--- standard error\n%s--- exit code %d\n", tt.args, r.stdout, r.stderr, r.code)
			file := filepath.Join(golden, tt.name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(got, secret) || strings.Contains(got, "\x1b") {
				t.Errorf("a secret or colours in\n%s", got)
			}
		})
	}
}

// Files that the program prints can be used as its configuration.
func TestPrintedFilesAreValid(t *testing.T) {
	needed := []string{"WCS_LIVEKIT_URL=http://h", "WCS_LIVEKIT_APIKEY=k", "WCS_LIVEKIT_APISECRET=s", "WCS_REDIS_ADDRS=r:1"}
	for _, tt := range []struct {
		args    []string
		environ []string
	}{{[]string{"config", "init"}, nil}, {[]string{"config", "init", "--all"}, needed}} {
		printed := runCommand("", nil, tt.args...)
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(file, []byte(printed.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := runCommand("", tt.environ, "--config", file, "--check-config"); r.code != exitOK {
			t.Errorf("%v: %+v", tt.args, r)
		}
	}
	if r := runCommand("", nil, "config", "schema"); r.stdout != string(config.Schema()) {
		t.Errorf("schema %q", r.stdout)
	}
	var variables []string
	for line := range strings.Lines(config.LeastVariables) {
		variables = append(variables, strings.TrimSpace(line))
	}
	if r := runCommand("", variables, "--check-config"); r.code != exitOK {
		t.Errorf("the least variables: %+v", r)
	}
}

func TestCompletionsAreForThreeShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := runCommand("", nil, "completion", shell); r.code != exitOK || !strings.Contains(r.stdout, "wcs-gateway") {
			t.Errorf("%s: exit code %d", shell, r.code)
		}
	}
	if r := runCommand("", nil, "__complete", "heal"); !strings.HasPrefix(r.stdout, "healthcheck\t") {
		t.Errorf("completion of heal: %q", r.stdout)
	}
}

// healthcheck requests the address of the configuration, and ignores its other faults.
func TestHealthcheckAsksTheGateway(t *testing.T) {
	ready := http.StatusServiceUnavailable
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Path == "/readyz" {
			w.WriteHeader(ready)
		}
	}))
	defer server.Close()
	addr := server.Listener.Addr().String()
	environ := []string{"WCS_LISTEN_INTERNAL=" + addr, "WCS_LOG_LEVEL=loud"}
	for _, tt := range []struct {
		args string
		code int
	}{{"healthcheck", exitOK}, {"healthcheck --ready", exitFault}, {"healthcheck --address 127.0.0.1:1", exitFault}} {
		if r := runCommand("", environ, strings.Fields(tt.args)...); r.code != tt.code || r.code == exitOK && r.stdout != "ok\n" {
			t.Errorf("%s: %+v", tt.args, r)
		}
	}
	if r := runCommand("", nil, "healthcheck", "--address", addr); r.code != exitOK {
		t.Errorf("--address: %+v", r)
	}
	server.Close()
	if r := runCommand("", environ, "healthcheck"); r.code != exitFault || !strings.Contains(r.stderr, "refused") {
		t.Errorf("without a gateway: %+v", r)
	}
	if want := []string{"/livez", "/readyz", "/livez"}; !cmp.Equal(asked, want) {
		t.Errorf("requests %v, want %v", asked, want)
	}
}

func TestHashPasswordPrintsBcryptHash(t *testing.T) {
	r := runCommand("pass word\nsecond line", nil, "hash-password")
	if r.code != exitOK || bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(r.stdout)), []byte("pass word")) != nil {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{"", "\n", strings.Repeat("x", 73)} { // bcrypt's limit is 72 bytes
		if r := runCommand(bad, nil, "hash-password"); r.code != exitFault || r.stdout != "" {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}
