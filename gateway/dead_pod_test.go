package gateway

import (
	"testing"
	"time"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// kill ends a pod's calls to the store, as if its process were dead.
func (w *world) kill(pod string) {
	w.store.Kill(pod)
	w.dead[pod] = true
}

func TestDeadPodIsTakenOver(t *testing.T) {
	w := newWorld(t, nil)
	_, play := w.up(t, podA, podB)
	w.kill(podA)
	w.store.TakeOver(podA, podB)
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	rig.Eventually(t, 20*time.Second, "its participant is removed", func() bool { return w.sfu.participants() == 0 })
	if names := w.store.Names(); len(names) != 0 {
		t.Errorf("names %v", names)
	}
}

// A player whose answer lacks tracks is played again under another identity. Its pod's records have that one,
// so that a take-over leaves no participant.
func TestPlayerPlayedAgainIsRegisteredUnderItsLastIdentity(t *testing.T) {
	w := newWorld(t, nil)
	pub := w.connect(t, podA)
	publishAV(t, pub, "pub", "s")
	pub.AwaitSDP("pub")
	w.media(t, podA, translate.RolePublish)
	pub.WantStatus("pub", "PUBLISHING", "")
	w.sfu.set(func() {
		w.sfu.join("wcs.s", translate.Participant{Identity: "other"})
		w.sfu.bound = []string{"other", "other"}
	})
	play := w.connect(t, podB)
	playAV(t, play, "play", "s")
	play.AwaitSDP("play")
	rig.Eventually(t, 20*time.Second, "one player is left", func() bool { return len(w.sfu.inRoom("wcs.s", translate.RolePlay)) == 1 })
	w.kill(podB)
	w.store.TakeOver(podB, podA)
	rig.Eventually(t, 20*time.Second, "the player is removed", func() bool { return len(w.sfu.inRoom("wcs.s", translate.RolePlay)) == 0 })
}
