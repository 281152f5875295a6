package main

import (
	"slices"
	"strings"
	"testing"
)

func TestInvalidOptionsAreReported(t *testing.T) {
	idle := []string{"--scenario", "idle"}
	for _, tt := range []struct {
		args []string
		want []string // prefixes of the lines
	}{
		{nil, []string{"--scenario: must be one of idle, publish, play, fanout, churn, storm"}},
		{[]string{"--scenario", "flood"}, []string{"--scenario: must be one of"}},
		{append(idle, "now"), []string{`unexpected argument "now"`}},
		{append(idle, "--sessions", "0"), []string{"--sessions: must be 1 to 100000"}},
		{append(idle, "--sessions", "100001"), []string{"--sessions: must be 1 to 100000"}},
		{append(idle, "--players", "0"), []string{"--players: must be 1 to 100000"}},
		{append(idle, "--publishers", "11"), []string{"--publishers: must be 0 to --sessions"}},
		{append(idle, "--rate", "0"), []string{"--rate: must be above 0"}},
		{append(idle, "--rate", "NaN"), []string{"--rate: must be above 0"}},
		{append(idle, "--duration", "25h"), []string{"--duration: must be above 0 and at most 24h0m0s"}},
		{append(idle, "--every", "0"), []string{"--every: "}},
		{append(idle, "--timeout", "-1s"), []string{"--timeout: "}},
		{append(idle, "--progress", "-1s"), []string{"--progress: "}},
		{append(idle, "--audio-rate", "51"), []string{"--audio-rate: "}},
		{append(idle, "--video-rate", "-1"), []string{"--video-rate: "}},
		{append(idle, "--audio-rate", "0", "--video-rate", "0"), []string{"--audio-rate, --video-rate: one must be above 0"}},
		{append(idle, "--url", "http://127.0.0.1"), []string{"--url: must be ws://host or wss://host"}},
		{append(idle, "--url", "ws:///"), []string{"--url: must be ws://host or wss://host"}},
		{append(idle, "--url", "wss://wcs.example.com:8443"), []string{"--url: wcs.example.com is not this machine; --allow-remote"}},
		{append(idle, "--url", "ws://10.0.0.1:8080"), []string{"--url: 10.0.0.1 is not this machine"}},
		{append(idle, "--url", "ws://localhost.example.com"), []string{"--url: localhost.example.com is not this machine"}},
		{append(idle, "--sessions", "1000"), []string{"--duration: idle needs more than 1m39.9s"}},
		{[]string{"--scenario", "fanout", "--players", "302"}, []string{"--duration: fanout needs more than 30.1s"}},
		{[]string{"--scenario", "storm", "--every", "30s"}, []string{"--duration: storm needs more than 30.9s"}},
		{append(idle, "--sessions", "0", "--rate", "-1"), []string{"--sessions: ", "--rate: "}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			code, stderr := endAtOnce(t, tt.args...)
			lines := slices.Collect(strings.Lines(stderr))
			begins := func(line, want string) bool { return strings.HasPrefix(line, want) }
			if code != exitUsage || !slices.EqualFunc(lines, tt.want, begins) {
				t.Errorf("exit code %d, stderr:\n%swant lines that begin %q", code, stderr, tt.want)
			}
		})
	}
}

func TestUnknownFlagPrintsUsage(t *testing.T) {
	code, stderr := endAtOnce(t, "--sesions", "1")
	if code != exitUsage || !strings.HasPrefix(stderr, "flag provided but not defined: -sesions\nusage: wcs-bench") {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
}

func TestHelpListsScenarios(t *testing.T) {
	code, stderr := endAtOnce(t, "--help")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, name := range scenarios() {
		if !strings.Contains(stderr, "\n  "+name+" ") {
			t.Errorf("no %s in:\n%s", name, stderr)
		}
	}
}

func TestRemoteLoadNeedsFlag(t *testing.T) {
	for _, args := range [][]string{
		{"--url", "ws://127.0.0.1:8080"}, {"--url", "ws://[::1]:8080/any/path"}, {"--url", "wss://localhost"},
		{"--url", "wss://wcs.example.com:8443", "--allow-remote"},
	} {
		if _, err := parse(append(args, "--scenario", "idle"), t.Output()); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}
