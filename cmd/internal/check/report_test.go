package check

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"wcsgateway/cmd/internal/config"
)

func TestReportHasOneLineForEachResult(t *testing.T) {
	var r Report
	if r.Worst() != OK {
		t.Errorf("worst of nothing is %v", r.Worst())
	}
	r.Add(Result{Check: "redis", Text: "reachable"})
	r.Add(Result{Level: Fault, Check: "gateway.yaml", At: "gateway.yaml:3", Text: "is not valid YAML"}, Result{Level: Warning, Check: "livekit", Text: "old", Hint: "update it"})
	if r.Worst() != Fault {
		t.Errorf("worst is %v", r.Worst())
	}
	var plain, colour bytes.Buffer
	if err := errors.Join(r.Write(&plain, false), r.Write(&colour, true)); err != nil {
		t.Fatal(err)
	}
	want := "ok       redis: reachable\nfault    gateway.yaml:3: is not valid YAML\nwarning  livekit: old: update it\n"
	if plain.String() != want {
		t.Errorf("report\n%s, want\n%s", plain.String(), want)
	}
	if strings.Count(colour.String(), "\x1b[0m") != 3 || !strings.Contains(colour.String(), "\x1b[31mfault  \x1b[0m") {
		t.Errorf("report with colours %q", colour.String())
	}
}

// A configuration that Load accepts and from which no gateway can be built is a fault, too.
func TestConfigurationThatCannotBeBuiltIsFault(t *testing.T) {
	r := Configuration(config.Config{}, nil)
	if r.Worst() != Fault {
		t.Errorf("results %v", r.Results)
	}
}
