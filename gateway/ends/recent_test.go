package ends

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func newRecorder(keep bool) *Recorder {
	return New(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ends"}, []string{"kind", "class", "reason", "app"}), keep)
}

func TestFailuresAreThoseOfLastHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(true)
		for i := range 3 {
			r.Add(End{Publish, ICETimeout, "a", fmt.Sprint("192.0.2.1:", i)})
		}
		r.Add(End{Publish, Stopped, "a", "192.0.2.2:1"})      // no failure
		r.Add(End{Publish, Disconnected, "a", "192.0.2.2:1"}) // nor is this
		time.Sleep(30 * time.Minute)
		last := time.Now()
		r.Add(End{Publish, ICETimeout, "a", "192.0.2.3:1"})
		want := []Failure{{Publish, ICETimeout, Client, "a", 4, "192.0.2.3:1", last}}
		if diff := cmp.Diff(want, r.Failures()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		time.Sleep(35 * time.Minute)
		want[0].Count = 1
		if diff := cmp.Diff(want, r.Failures()); diff != "" {
			t.Errorf("after 65 minutes, -want +got:\n%s", diff)
		}
		time.Sleep(30 * time.Minute)
		if all := r.Failures(); len(all) != 0 {
			t.Errorf("after 95 minutes: %v", all)
		}
	})
}

func TestKeptFailuresAreBounded(t *testing.T) {
	r := newRecorder(true)
	for i := range 2 * MaxFailures {
		r.Add(End{Play, ICETimeout, "regular", "192.0.2.1:1"})
		r.Add(End{Play, ICETimeout, fmt.Sprint("app", i), "192.0.2.1:1"})
	}
	all := r.Failures()
	if len(all) != MaxFailures {
		t.Errorf("%d failures are kept, want %d", len(all), MaxFailures)
	}
	for _, f := range all {
		if f.App == "regular" && f.Count == 2*MaxFailures {
			return
		}
	}
	t.Error("the failure that occurs most often is not kept")
}

func TestNothingIsKeptWithoutConsole(t *testing.T) {
	r := newRecorder(false)
	r.Add(End{Play, ICETimeout, "a", "192.0.2.1:1"})
	if all := r.Failures(); len(all) != 0 {
		t.Errorf("kept %v", all)
	}
}
