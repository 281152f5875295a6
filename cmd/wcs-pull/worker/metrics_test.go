package worker

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/state"
	"wcsgateway/translate/pull"
)

func TestDocumentListsEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../../docs/pull.md")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	New(Config{Max: 1}, Deps{Metrics: m})
	m.StoreCall("take_pull", time.Second, nil)
	m.SFUCall("remove participant", time.Second, errors.New("refused"))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 10 {
		t.Errorf("%d metrics", len(families))
	}
	for _, f := range families {
		if !strings.Contains(string(text), "`"+f.GetName()+"`") {
			t.Errorf("docs/pull.md lacks %s", f.GetName())
		}
		for _, label := range f.GetMetric()[0].GetLabel() {
			if !strings.Contains(string(text), "`"+label.GetName()+"`") {
				t.Errorf("docs/pull.md lacks the label %s of %s", label.GetName(), f.GetName())
			}
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Each loss of a source that ran is one interruption, however often it is reported.
func TestInterruptionsAreCountedOnce(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	before := pull.Connecting
	for _, now := range []pull.State{pull.Interrupted, pull.Running, pull.Interrupted, pull.Interrupted, pull.Running, pull.Interrupted, pull.Failed} {
		m.changed(before, now, time.Second)
		before = now
	}
	if got := testutil.ToFloat64(m.interruptions); got != 2 {
		t.Errorf("%v interruptions", got)
	}
}

func TestAnswerThatDeniesIsNoError(t *testing.T) {
	for err, want := range map[error]string{nil: "ok", state.ErrTaken: "ok", state.ErrLostOwnership: "ok", state.ErrUnavailable: "error"} {
		if got := resultOf(err); got != want {
			t.Errorf("%v is %s", err, got)
		}
	}
}
