package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/e2e/rig"
)

// asProgram makes the test binary the program.
const asProgram = "RUN_AS_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestRunEndsWithoutServing(t *testing.T) {
	faulty := write(t, "livekit: {url: nowhere}\nredis: {adrs: []}\n")
	sound := write(t, "livekit: {url: 'http://livekit:7880', apiKey: k, apiSecret: s}\nredis: {addrs: ['redis:6379']}\n")
	tests := []struct {
		name           string
		args, environ  []string
		code           int
		stdout, stderr []string // prefixes of the lines; nil means no output
	}{
		{
			name: "faults one a line", args: []string{"--config", faulty, "--check-config"}, code: exitFault,
			stdout: []string{"redis.adrs: unknown key", "livekit.url: ", "livekit.apiKey: ", "livekit.apiSecret: ", "redis.addrs: "},
		},
		{
			name: "faults at start", args: []string{"--config", faulty}, code: exitFault,
			stderr: []string{"redis.adrs: unknown key", "livekit.url: ", "livekit.apiKey: ", "livekit.apiSecret: ", "redis.addrs: "},
		},
		{name: "valid", args: []string{"-check-config", "-config=" + sound}, stdout: []string{"warning: no applications", "warning: the REST API is not served", "configuration is valid"}},
		{name: "file from the variable", args: []string{"--check-config"}, environ: []string{config.EnvFile + "=" + sound}, stdout: []string{"warning: no applications", "warning: the REST API is not served", "configuration is valid"}},
		{
			name: "flag over variable", args: []string{"--check-config", "--config", sound}, environ: []string{config.EnvFile + "=" + faulty},
			stdout: []string{"warning: no applications", "warning: the REST API is not served", "configuration is valid"},
		},
		{name: "version", args: []string{"--version"}, stdout: []string{buildVersion()}},
		{name: "unexpected argument", args: []string{"start"}, code: exitUsage, stderr: []string{`unexpected argument "start"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(context.Background(), tt.args, tt.environ, program{stdout: &stdout, stderr: &stderr}); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			wantLines(t, "stdout", stdout.String(), tt.stdout)
			wantLines(t, "stderr", stderr.String(), tt.stderr)
		})
	}
}

func TestUsageListsFlags(t *testing.T) {
	for arg, code := range map[string]int{"--help": exitOK, "--nonsense": exitUsage} {
		var stdout, stderr bytes.Buffer
		if got := run(context.Background(), []string{arg}, nil, program{stdout: &stdout, stderr: &stderr}); got != code {
			t.Errorf("%s: exit code %d, want %d", arg, got, code)
		}
		for _, flag := range []string{"-config", "-check-config", "-version"} {
			if !strings.Contains(stderr.String(), flag) {
				t.Errorf("%s does not mention %s:\n%s", arg, flag, stderr.String())
			}
		}
	}
}

// The process starts with neither Redis nor LiveKit, and ends in order after a signal.
func TestSignalEndsProcess(t *testing.T) {
	unreachable := fmt.Sprintf("127.0.0.1:%d", rig.FreePort(t))
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{
		asProgram + "=1",
		"WCS_LISTEN_PUBLIC=127.0.0.1:0", "WCS_LISTEN_INTERNAL=127.0.0.1:0", "WCS_LIVEKIT_URL=http://" + unreachable,
		"WCS_LIVEKIT_APIKEY=key", "WCS_LIVEKIT_APISECRET=" + secret, "WCS_REDIS_ADDRS=[" + unreachable + "]", "WCS_DRAIN_NOTICE=0s",
	}
	p := rig.StartCmd(t, cmd)
	rig.Eventually(t, time.Minute, "the internal listener is logged", func() bool {
		return strings.Contains(p.Output(), "listening: listen.internal")
	})
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("the process did not end after SIGTERM")
	}
	if err := p.Wait(); err != nil {
		t.Errorf("end of the process: %v", err)
	}
	for _, message := range []string{`"message":"starting"`, "no applications are configured", `"message":"ended"`} {
		if !strings.Contains(p.Output(), message) {
			t.Errorf("the log lacks %s", message)
		}
	}
	for line := range strings.Lines(p.Output()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
	if strings.Contains(p.Output(), secret) {
		t.Error("log contains the API secret")
	}
}

const secret = "not-for-the-log"

func TestSecondSignalEndsAtOnce(t *testing.T) {
	signals := make(chan os.Signal)
	drained, code := make(chan struct{}), make(chan int)
	go handleSignals(signals, func() { close(drained) }, func(c int) { code <- c })
	signals <- syscall.SIGTERM
	<-drained
	signals <- os.Interrupt
	if c := <-code; c != exitFault {
		t.Errorf("exit code %d, want %d", c, exitFault)
	}
}

func TestLoggerWritesJSONFromItsLevel(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(config.Log{Level: "warn", Format: "json"}, &b)
	log.Info().Msg("quiet")
	log.Warn().Str("app", "a").Msg("loud")
	var line struct{ Level, App, Message, Time string }
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("not exactly one line of JSON: %v\n%s", err, b.String())
	}
	if line.Level != "warn" || line.App != "a" || line.Message != "loud" || line.Time == "" {
		t.Errorf("line %+v", line)
	}
	b.Reset()
	log = newLogger(config.Log{Level: "debug", Format: "console"}, &b)
	log.Debug().Msg("for people")
	if text := b.String(); !strings.Contains(text, "for people") || strings.HasPrefix(text, "{") {
		t.Errorf("console line %q", text)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wcs.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantLines(t *testing.T, stream, got string, want []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if got == "" {
		lines = nil
	}
	if len(lines) != len(want) {
		t.Fatalf("%s has %d lines, want %d:\n%s", stream, len(lines), len(want), got)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("%s: line %q, want one that begins %q", stream, line, want[i])
		}
	}
}
