package state

import (
	"testing"

	"wcsgateway/e2e/rig"
)

// A claim that was sent again, as after Reset, can arrive after its stream was released. Its index entry is
// gone by then, so no pod would ever remove it. Several streams with one name and media id must not make
// Redis forget the mark of an earlier one.
func TestLateRepetitionOfReleasedClaimIsRejected(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	first, second, third := testStream("cam", "m1"), testStream("cam", "m1"), testStream("cam", "m1")
	second.Identity, third.Identity = "pub-second", "pub-third"
	claimAll(t, a, first)
	_, err := a.ReleaseStream(t.Context(), first)
	must(t, err)
	claimAll(t, a, second)
	displaced, err := b.FindStream(t.Context(), "cam")
	must(t, err)
	_, err = b.DisplaceStream(t.Context(), displaced)
	must(t, err)

	wantErr(t, a.ClaimStream(t.Context(), first), ErrLostOwnership)
	wantErr(t, a.ClaimStream(t.Context(), second), ErrLostOwnership)
	if left := keysWithout(allKeys(t, client(t, cfg)), "{pod:", "pods", ":void:"); len(left) != 0 {
		t.Errorf("keys left: %v", left)
	}
	claimAll(t, a, third)
}

// A claim in flight while its pod leaves must not be registered for a pod that will not be taken over any
// more.
func TestClaimIsRejectedAfterPodLeft(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	owner, _ := a.lease.current()
	a.end()
	e := entryOfStream(testStream("cam", "m1"))
	wantErr(t, b.enlist(t.Context(), owner, b.keys.index(owner), b.stamp(0), e.String()), ErrLostOwnership)
}
