package ends

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"wcsgateway/translate/wcs"
)

func TestEndsOfPublishedStreamsAreKept(t *testing.T) {
	r := newRecorder(true)
	keep := func(id, kind string, reason Reason) {
		r.Keep(Stream{"s", id}, kind, Ended{Name: "name of " + id, App: "app", Status: wcs.StatusFailed, Info: "info", Reason: reason})
	}
	keep("failed", Publish, NameLost)
	keep("played", Play, NameLost)
	keep("moved", Publish, HandedOver)
	got := r.Stream(Stream{"s", "failed"})
	if got == nil || got.Ended == nil {
		t.Fatalf("record of a published stream: %+v", got)
	}
	if e := got.Ended; e.Status != wcs.StatusFailed || e.Info != "info" || e.Reason != NameLost || e.Class != Upstream || e.Name != "name of failed" || e.At.IsZero() {
		t.Errorf("end of a published stream: %+v", e)
	}
	for _, s := range []Stream{{"s", "played"}, {"s", "moved"}, {"other", "failed"}} {
		if e := r.Stream(s); e != nil {
			t.Errorf("%v: %+v", s, e)
		}
	}
	for i := range MaxStreams {
		keep(fmt.Sprint(i), Publish, Stopped)
	}
	if r.Stream(Stream{"s", "failed"}) != nil || r.Stream(Stream{"s", "0"}) == nil {
		t.Error("more than MaxStreams are kept, or not the last ones")
	}
	last := r.LastEnded(2)
	if len(last) != 2 || last[0].MediaID != fmt.Sprint(MaxStreams-1) || last[1].MediaID != fmt.Sprint(MaxStreams-2) {
		t.Errorf("the last ones: %+v", last)
	}
	none := newRecorder(false)
	none.Keep(Stream{"s", "a"}, Publish, Ended{Reason: NameLost})
	none.Measured(Stream{"s", "a"}, Publish, wcs.VideoFigures{})
	none.Called("s", "publishStream", hookBody("a", true), time.Now(), nil)
	if none.Stream(Stream{"s", "a"}) != nil || len(none.LastEnded(10)) != 0 {
		t.Error("a stream is kept without keep")
	}
}

// Clients choose media ids. Without a session, the last stream with the id is found.
func TestStreamOfAnotherSessionHasItsOwnRecord(t *testing.T) {
	r := newRecorder(true)
	for _, session := range []string{"first", "second"} {
		r.Keep(Stream{session, "id"}, Publish, Ended{Name: session, Reason: Stopped})
	}
	for session, want := range map[string]string{"first": "first", "second": "second", "": "second"} {
		if got := r.Stream(Stream{session, "id"}); got == nil || got.Ended.Name != want {
			t.Errorf("of session %q: %+v", session, got)
		}
	}
}

func hookBody(id string, published bool) map[string]json.RawMessage {
	return map[string]json.RawMessage{"mediaSessionId": json.RawMessage(fmt.Sprintf("%q", id)), "published": json.RawMessage(fmt.Sprint(published))}
}

func TestHooksOfPublishedStreamsAreCounted(t *testing.T) {
	r := newRecorder(true)
	call := func(method, id string, published bool, err error) {
		r.Called("s", method, hookBody(id, published), time.Now(), err)
	}
	call("publishStream", "a", true, nil)
	call("StreamKeepAliveEvent", "a", true, nil)
	call("publishStream", "b", true, nil)
	call("playStream", "c", false, nil)
	r.Keep(Stream{"s", "a"}, Publish, Ended{Reason: Stopped})
	call("StreamKeepAliveEvent", "a", true, errors.New("rejected")) // after the end
	r.Called("s", "connect", nil, time.Now(), nil)
	var got []string
	for _, h := range r.Stream(Stream{"s", "a"}).Hooks {
		got = append(got, fmt.Sprintf("%s %d %t", h.Method, h.Count, h.Failed))
	}
	if want := []string{"publishStream 1 false", "StreamKeepAliveEvent 2 true"}; !slices.Equal(got, want) {
		t.Errorf("hooks %v, want %v", got, want)
	}
	if r.Stream(Stream{"s", "c"}) != nil {
		t.Error("hooks of a player are kept")
	}
	for i := range 2 * maxHooks {
		call(fmt.Sprint(i), "a", true, nil)
	}
	if h := r.Stream(Stream{"s", "a"}).Hooks; len(h) != maxHooks || h[maxHooks-1].Method != fmt.Sprint(2*maxHooks-1) {
		t.Errorf("%d hooks are kept", len(h))
	}
}

func TestQualityIsMeanOfEachStepAndBounded(t *testing.T) {
	var r record
	start := time.UnixMilli(1_700_000_000_000)
	measure := func(second int, rate int64, fps, lost int) {
		r.measured(wcs.VideoFigures{Rate: rate, FPS: fps, Lost: lost}, start.Add(time.Duration(second)*time.Second))
	}
	measure(0, 100_000, 10, 5)
	measure(1, 300_000, 20, 7)
	measure(25, 500_000, 30, 8)
	measure(26, 500_000, 31, 2) // another source, which counts from 0
	at := int32(start.Unix() / 10)
	if want := []Quality{{at, 200, 20, 7}, {at + 2, 500, 31, 1}}; !slices.Equal(r.Quality, want) {
		t.Errorf("quality %v, want %v", r.Quality, want)
	}
	for i := range 2 * MaxQuality {
		measure(100+10*i, 1, 1, 2)
	}
	if n := len(r.Quality); n != MaxQuality || cap(r.Quality) > 2*MaxQuality+2 || r.Quality[n-1].At != at+10+2*MaxQuality-1 {
		t.Errorf("%d samples, capacity %d", n, cap(r.Quality))
	}
}
