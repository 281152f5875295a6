package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
)

// LiveKit sends no webhook while an operator removes participants.
func TestRemovalIsNoticedWithoutWebhook(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 2, redis: redis.Addr, noWebhooks: true})
	a, b := newScene(t, pods, "lost-a"), newScene(t, pods, "lost-b")

	awaitSettled(t, a, b)
	since := time.Now()
	remove(t, lk, "wcs.lost-a", ":play:")
	if st := a.view.AwaitStatus(a.playID()); st.Status != "FAILED" {
		t.Errorf("player: %+v", st)
	}
	t.Logf("removed player notified after %v", ms(time.Since(since)))

	since = time.Now()
	remove(t, lk, "wcs.lost-b", ":pub:")
	if st := b.pub.AwaitStatus(b.pubID()); st.Status != "FAILED" {
		t.Errorf("publisher: %+v", st)
	}
	t.Logf("removed publisher notified after %v", ms(time.Since(since)))
	b.view.WantStatus(b.playID(), "FAILED", infoStopped)
	t.Logf("its player notified after %v", ms(time.Since(since)))

	a.pub.Unpublish(a.pubID(), a.name) // it was not concerned
	a.pub.WantStatus(a.pubID(), "UNPUBLISHED", infoStopped)
	rig.WantClean(t, lk, redis)
	wantNoMoreStatus(t, a.pub, a.view, b.pub, b.view)
}

// remove removes the participant of a role as an operator does.
func remove(t *testing.T, lk *rig.LiveKit, room, role string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	removed := 0
	for _, p := range lk.Participants(t, room) {
		if !strings.Contains(p.GetIdentity(), role) {
			continue
		}
		if _, err := lk.Rooms().RemoveParticipant(ctx, &lkproto.RoomParticipantIdentity{Room: room, Identity: p.GetIdentity()}); err != nil {
			t.Fatal(err)
		}
		removed++
	}
	if removed != 1 {
		t.Fatalf("%d participants in %s have %s in their identity", removed, room, role)
	}
}

// The event of a publisher's end is published without a subscriber: Redis accepts it and delivers it to no
// pod.
func TestEndReachesPlayerThoughEventIsLost(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 2, redis: redis.Addr, noWebhooks: true})
	s, next := newScene(t, pods, "event"), newScene(t, pods, "next")
	listening := func() int { return strings.Count(redis.CLI("pubsub", "channels", "wcs:*"), "wcs:default:pod:") }
	if n := listening(); n != len(pods) {
		t.Fatalf("%d pods listen", n)
	}

	awaitSettled(t, s)
	redis.CLI("acl", "setuser", "default", "-subscribe")
	redis.CLI("client", "kill", "type", "pubsub")
	rig.Eventually(t, 10*time.Second, "nobody listens", func() bool { return listening() == 0 })
	sent := published(t, redis)
	t.Logf("player notified after %v, by polling", ms(s.end(t)))
	if n := published(t, redis) - sent; n < 1 {
		t.Errorf("%d messages published: the event was not lost, it was never sent", n)
	}
	if n := listening(); n != 0 {
		t.Errorf("%d pods are subscribed, and may have received it", n)
	}

	redis.CLI("acl", "setuser", "default", "+subscribe")
	rig.Eventually(t, 40*time.Second, "both pods listen again", func() bool { return listening() == len(pods) })
	t.Logf("next player notified after %v, by event", ms(next.end(t)))
	rig.WantClean(t, lk, redis)
	wantNoMoreStatus(t, s.pub, s.view, next.pub, next.view)
}

// Redis restarts, and comes back empty, while the publisher ends: the record of the
// stream's players is missing for a moment.
func TestPlayersEndAlthoughRedisRestarts(t *testing.T) {
	t.Parallel()
	redis := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 2, redis: redis.Addr})
	s := newScene(t, pods, "restart")
	redis.Kill()
	s.pub.Unpublish(s.pubID(), s.name)
	redis.Restart()
	since := time.Now()
	s.view.WantStatus(s.playID(), "FAILED", infoStopped)
	t.Logf("player notified %v after Redis was back", ms(time.Since(since)))
	s.pub.WantStatus(s.pubID(), "UNPUBLISHED", infoStopped)
	rig.WantClean(t, lk, redis)
	wantNoMoreStatus(t, s.pub, s.view)
}
