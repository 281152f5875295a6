package ends

import (
	"fmt"
	"testing"

	"wcsgateway/translate/wcs"
)

func TestEndsOfPublishedStreamsAreKept(t *testing.T) {
	r := newRecorder(true)
	keep := func(id, kind string, reason Reason) {
		r.Keep(Stream{"s", id}, kind, wcs.StatusFailed, "info", reason)
	}
	keep("failed", Publish, NameLost)
	keep("played", Play, NameLost)
	keep("moved", Publish, HandedOver)
	e := r.StreamEnd(Stream{"s", "failed"})
	if e == nil || e.Status != wcs.StatusFailed || e.Info != "info" || e.Reason != NameLost || e.Class != Upstream || e.At.IsZero() {
		t.Errorf("end of a published stream: %+v", e)
	}
	for _, s := range []Stream{{"s", "played"}, {"s", "moved"}, {"other", "failed"}} {
		if e := r.StreamEnd(s); e != nil {
			t.Errorf("%v: %+v", s, e)
		}
	}
	for i := range MaxEnded {
		keep(fmt.Sprint(i), Publish, Stopped)
	}
	if r.StreamEnd(Stream{"s", "failed"}) != nil || r.StreamEnd(Stream{"s", "0"}) == nil {
		t.Error("more than MaxEnded are kept, or not the last ones")
	}
	none := newRecorder(false)
	none.Keep(Stream{"s", "a"}, Publish, wcs.StatusFailed, "", NameLost)
	if none.StreamEnd(Stream{"s", "a"}) != nil {
		t.Error("an end is kept without keep")
	}
}
