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
)

func TestDocumentListsEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../../docs/pull.md")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.StoreCall("take_pull", time.Second, nil)
	m.SFUCall("remove participant", time.Second, errors.New("refused"))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 7 {
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

func TestAnswerThatDeniesIsNoError(t *testing.T) {
	for err, want := range map[error]string{nil: "ok", state.ErrTaken: "ok", state.ErrLostOwnership: "ok", state.ErrUnavailable: "error"} {
		if got := resultOf(err); got != want {
			t.Errorf("%v is %s", err, got)
		}
	}
}
