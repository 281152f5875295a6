package gateway

import (
	"errors"
	"testing"
	"testing/synctest"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
	"wcsgateway/translate"
)

func (w *world) pushes(t *testing.T, pod, address string) []admin.Push {
	t.Helper()
	all, err := w.pods[pod].admin.Pushes(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Pushes are started, found and ended by any pod: LiveKit keeps them.
func TestPushIsFoundAndEndedByOtherPod(t *testing.T) { withEgress(t, pushOnBothPods) }

func pushOnBothPods(t *testing.T, w *world) {
	c := w.connect(t, podA)
	w.publishFor(t, c, "s", nil)
	b := w.pods[podB].admin
	p, err := b.StartPush(t.Context(), "s", "rtmp://live.example.com/app", false)
	if err != nil || p.Stream != "s" || p.Address != "rtmp://live.example.com/app" {
		t.Fatalf("%+v, %v", p, err)
	}
	r := w.files.requested()
	if len(r) != 1 || r[0].URL != "rtmp://live.example.com/app/rtmp_s" || r[0].Room != "wcs.s" || r[0].Kind != translate.EgressRTMP {
		t.Errorf("requested %+v", r)
	}
	if _, err := w.pods[podA].admin.StartPush(t.Context(), "s", "rtmp://live.example.com/app/", false); !errors.Is(err, admin.ErrPushExists) {
		t.Errorf("the same address again: %v", err)
	}
	full, err := b.StartPush(t.Context(), "s", "rtmp://live.example.com/app/secret", true)
	if err != nil || w.files.requested()[1].URL != "rtmp://live.example.com/app/secret" {
		t.Errorf("full address: %v", err)
	}
	if all := w.pushes(t, podA, ""); len(all) != 2 || all[0].Address != "rtmp://live.example.com/app" || all[1].Address != "rtmp://live.example.com/app/{sec...}" {
		t.Errorf("pushes %+v", all)
	}
	for address, id := range map[string]string{"rtmp://live.example.com/app": p.ID, "rtmp://live.example.com/app/secret": full.ID} {
		if all := w.pushes(t, podA, address); len(all) != 1 || all[0].ID != id {
			t.Errorf("pushes to %s: %+v", address, all)
		}
	}

	if err := w.pods[podA].admin.StopPush(t.Context(), p.ID); err != nil {
		t.Error(err)
	}
	if err := w.pods[podA].admin.StopPush(t.Context(), p.ID); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("ended again: %v", err)
	}
	w.event(podA, w.files.become(t, full.ID, translate.EgressFailed))
	if all := w.pushes(t, podA, ""); len(all) > 0 {
		t.Errorf("left %+v", all)
	}
	wantEnd(t, c, "s", "") // the stream went on
}

func TestPushWithoutStreamOrPermissionIsRefused(t *testing.T) { withEgress(t, refusedPushes) }

func refusedPushes(t *testing.T, w *world) {
	c := w.connect(t, podA)
	publishAV(t, c, "s", "s")
	c.AwaitSDP("s")
	a := w.pods[podA].admin
	const address = "rtmp://live.example.com/app"
	if _, err := a.StartPush(t.Context(), "s", address, false); !errors.Is(err, admin.ErrNoSuchStream) {
		t.Errorf("a stream that is not up: %v", err)
	}
	w.allUp()
	c.WantStatus("s", "PUBLISHING", "")
	synctest.Wait()
	for _, bad := range []string{"rtmp://10.0.0.1/app", "http://live.example.com/app", "rtmp://user:pw@live.example.com/app", "x"} {
		if _, err := a.StartPush(t.Context(), "s", bad, true); !errors.Is(err, admin.ErrPushForbidden) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := a.StartPush(t.Context(), "nobody", address, false); !errors.Is(err, admin.ErrNoSuchStream) {
		t.Errorf("no stream: %v", err)
	}
	w.files.set(func() { w.files.fail["start"] = egressError("start", translate.ErrKindUnavailable) })
	if _, err := a.StartPush(t.Context(), "s", address, false); !errors.Is(err, admin.ErrPushFailed) {
		t.Errorf("without an egress service: %v", err)
	}
	w.files.set(func() { w.files.fail["list"] = egressError("list", translate.ErrKindUnavailable) })
	if _, err := a.StartPush(t.Context(), "s", address, false); !errors.Is(err, admin.ErrEgresses) {
		t.Errorf("without LiveKit: %v", err)
	}
	if _, err := a.Pushes(t.Context(), ""); !errors.Is(err, admin.ErrEgresses) {
		t.Errorf("list without LiveKit: %v", err)
	}
}

// A push that ends while the client's own egress is being started is not taken for the client's.
func TestPushIsNotTakenForRepublishingOfClient(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		hold := make(chan struct{})
		w.files.set(func() { w.files.hold["start"] = hold })
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", republished)
		push := translate.Egress{ID: "EG_push", Kind: translate.EgressRTMP, State: translate.EgressFailed}
		w.event(podA, translate.Event{Kind: translate.EventEgress, Room: "wcs.s", Identity: w.publisherOf("wcs.s"), Egress: push})
		close(hold)
		synctest.Wait()
		wantEnd(t, c, "s", "")
	})
}

// The list has the running recordings of this deployment, and nothing of other systems.
func TestRecordingsAreListed(t *testing.T) {
	withEgress(t, func(t *testing.T, w *world) {
		c := w.connect(t, podA)
		w.publishFor(t, c, "s", recorded)
		w.files.set(func() {
			w.files.begin(translate.EgressRequest{Room: "wcs.s", Publisher: "someone-else", Kind: translate.EgressRecord, File: "/out/other.mp4"})
		})
		all, err := w.pods[podB].admin.Recordings(t.Context())
		if err != nil || len(all) != 1 || all[0] != (admin.Recording{MediaID: "s", File: "s.mp4"}) {
			t.Errorf("%+v, %v", all, err)
		}
		if pushes := w.pushes(t, podB, ""); len(pushes) > 0 {
			t.Errorf("recordings are listed as pushes: %+v", pushes)
		}
	})
}
