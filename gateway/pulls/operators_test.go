package pulls

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/state"
)

func TestOperatorsPullIsTranscodedIfAnyApplicationTranscodes(t *testing.T) {
	w := newPods(t)
	w.apps["other"] = &App{Allow: w.apps["shop"].Allow, Transcode: true}
	w.apps["third"] = &App{Allow: w.apps["shop"].Allow, Transcode: true, UDP: true}
	a := w.pod(t, "a")
	for range 50 {
		if p, err := a.anyones(camera); err != nil || !p.record.Transcode || !p.record.UDP {
			t.Fatalf("%+v, %v", p, err)
		}
	}
}

func TestOperatorsStartListAndEndPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		ctx := t.Context()
		plain := "rtsp://cam.example.com/plain"
		for _, address := range []string{camera, plain} {
			if err := a.Start(ctx, address); err != nil {
				t.Fatal(err)
			}
			if err := a.Start(ctx, address); !errors.Is(err, ErrExists) {
				t.Errorf("second start: %v", err)
			}
		}
		time.Sleep(time.Hour)
		all, err := a.List(ctx, "")
		if err != nil || len(all) != 2 {
			t.Fatalf("list %+v, %v", all, err)
		}
		for _, l := range all {
			if !l.Kept || strings.Contains(l.Address, "hunter") {
				t.Errorf("listed %+v", l)
			}
			if one, err := a.List(ctx, l.Address); err != nil || len(one) != 1 || one[0] != l {
				t.Errorf("list of %s: %+v, %v", l.Address, one, err)
			}
		}
		if one, err := a.List(ctx, plain); err != nil || len(one) != 1 || one[0].Address != plain {
			t.Errorf("list of an address without secrets: %+v, %v", one, err)
		}
		for _, address := range []string{"rtsp://example.org/x", "camera", "rtsp://cam.example.com:0"} {
			if err := a.Start(ctx, address); !errors.Is(err, ErrBadAddress) {
				t.Errorf("start of %s: %v", address, err)
			}
		}
		if err := a.Stop(ctx, camera); err != nil {
			t.Error(err)
		}
		if err := a.Stop(ctx, camera); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("second stop: %v", err)
		}
		w.store.SetWorkers()
		if err := a.Start(ctx, camera); err != nil && !errors.Is(err, ErrNoWorker) {
			t.Errorf("start without a worker: %v", err)
		}
	})
}
