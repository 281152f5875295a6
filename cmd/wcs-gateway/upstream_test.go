package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/e2e/rig"
	"wcsgateway/state"
)

// uses are the counts of three days, today's first.
func uses() []map[state.UpstreamUse]int64 {
	sessions := func(app, version string) state.UpstreamUse {
		return state.UpstreamUse{App: app, Upstream: "old", ClientVersion: version}
	}
	commands := func(app, name string) state.UpstreamUse {
		return state.UpstreamUse{App: app, Upstream: "old", Command: name}
	}
	return []map[state.UpstreamUse]int64{
		{sessions("shop", "2.0"): 1200, sessions("shop", ""): 1, commands("shop", "connection"): 1201, commands("shop", "playStream"): 900},
		{},
		{
			sessions("shop", "2.0"): 34, sessions("phone", "2.0.180"): 5, sessions("", ""): 2,
			commands("shop", "playStream"): 10, commands("phone", "call"): 3, commands("", "connectMediaTransport"): 2,
		},
	}
}

func TestReportOfUpstreamsPrintsGoldenFiles(t *testing.T) {
	today := time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		report usesReport
		asJSON bool
	}{
		"upstream-report":       {newUsesReport(today, uses()), false},
		"upstream-report-json":  {newUsesReport(today, uses()), true},
		"upstream-report-empty": {newUsesReport(today, make([]map[state.UpstreamUse]int64, 7)), false},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := tt.report.write(&got, tt.asJSON); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The command reads what pods have written.
func TestReportOfUpstreamsIsReadFromRedis(t *testing.T) {
	rig.SkipShort(t)
	redis := rig.StartRedis(t)
	environ := []string{"WCS_LIVEKIT_URL=http://h", "WCS_LIVEKIT_APIKEY=k", "WCS_LIVEKIT_APISECRET=" + secret, "WCS_REDIS_ADDRS=" + redis.Addr}
	if r := runCommand("", environ, "upstream", "report"); r.code != exitOK || !strings.Contains(r.stdout, "none") {
		t.Errorf("without counts: %+v", r)
	}
	cfg, err := config.Load("", environ)
	if err != nil {
		t.Fatal(err)
	}
	store, err := app.Store(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // nothing is pending
	if err := store.CountUpstreamUse(t.Context(), uses()[0]); err != nil {
		t.Fatal(err)
	}
	r := runCommand("", environ, "upstream", "report", "--days", "31", "--json")
	var got usesReport
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != exitOK {
		t.Fatalf("%+v: %v", r, err)
	}
	if len(got.Sessions) != 2 || len(got.Commands) != 2 || got.Sessions[0].ClientVersion != "2.0" || got.Sessions[0].Count != 1200 || got.Commands[1].Command != "playStream" {
		t.Errorf("report %+v", got)
	}
	redis.Stop()
	if r := runCommand("", environ, "upstream", "report"); r.code != exitFault || !strings.Contains(r.stderr, "refused") || strings.Contains(r.stderr, secret) {
		t.Errorf("without Redis: %+v", r)
	}
}

func TestTranscriptsAreReadFromRedis(t *testing.T) {
	rig.SkipShort(t)
	redis := rig.StartRedis(t)
	environ := []string{
		"WCS_LIVEKIT_URL=http://h", "WCS_LIVEKIT_APIKEY=k", "WCS_LIVEKIT_APISECRET=" + secret, "WCS_REDIS_ADDRS=" + redis.Addr,
		"WCS_APPLICATIONS={shop: {}, phone: {}}",
	}
	cfg, err := config.Load("", environ)
	if err != nil {
		t.Fatal(err)
	}
	store, err := app.Store(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // nothing is pending
	for _, key := range []string{"shop", "phone"} {
		if err := store.AddTranscript(t.Context(), key, 1, []byte(`{"app":"`+key+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{
		"upstream transcripts":            "{\"app\":\"phone\"}\n{\"app\":\"shop\"}\n",
		"upstream transcripts --app shop": "{\"app\":\"shop\"}\n",
		"upstream transcripts --app none": "",
	} {
		if r := runCommand("", environ, strings.Fields(args)...); r.code != exitOK || r.stdout != want {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
