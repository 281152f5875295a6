package state

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"wcsgateway/e2e/rig"
)

// tape records the commands that contain all its words. A Cluster client sends a command again whose reply is
// late, so any of them can reach Redis a second time, at any later time.
type tape struct {
	words []string

	mu       sync.Mutex
	commands [][]any
}

func (h *tape) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *tape) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.record(cmd)
		return next(ctx, cmd)
	}
}

func (h *tape) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			h.record(cmd)
		}
		return next(ctx, cmds)
	}
}

func (h *tape) record(cmd redis.Cmder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.words, func(w string) bool { return !strings.Contains(cmd.String(), w) }) {
		h.commands = append(h.commands, cmd.Args())
	}
}

// arriveLate sends the commands again.
func (h *tape) arriveLate(t *testing.T, c redis.UniversalClient) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.commands) == 0 {
		t.Fatalf("no command with %q was sent", h.words)
	}
	for _, args := range h.commands {
		must(t, c.Do(t.Context(), args...).Err())
	}
}

// idlePod returns a store that does no background work.
func idlePod(t *testing.T, cfg Config, id string) *testPod {
	t.Helper()
	p := newPod(t, cfg, id)
	p.lease.renewed(time.Now().Add(time.Hour))
	t.Cleanup(func() { must(t, p.client.Close()) })
	return p
}

// A session goes to another pod and comes back. The removal of its stream from the first pod's index then
// arrives again: without the entry, no pod would release the stream if the first one died.
func TestLateRemovalFromIndexKeepsLaterGeneration(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := idlePod(t, cfg, podA), idlePod(t, cfg, podB)
	removal := &tape{words: []string{a.keys.index(a.life()), "cam"}}
	s, player := testStream("cam", "m1"), testPlayer("cam", "m2")
	claimAll(t, a, s)
	playAll(t, a, player)

	b.client.AddHook(removal)
	s.Generation, player.Generation = 1, 1
	must(t, b.AdoptStream(t.Context(), s, a.life()))
	_, err := b.AdoptPlayer(t.Context(), player, a.life())
	must(t, err)
	see := client(t, cfg)
	if n := see.HLen(t.Context(), a.keys.index(a.life())).Val(); n != 0 {
		t.Errorf("%d entries are left in the index of the previous owner", n)
	}
	s.Generation, player.Generation = 2, 2
	must(t, a.AdoptStream(t.Context(), s, b.life()))
	_, err = a.AdoptPlayer(t.Context(), player, b.life())
	must(t, err)
	removal.arriveLate(t, see)
	for _, e := range []entry{entryOfStream(s), entryOfPlayer(player)} {
		if listed := see.HExists(t.Context(), a.keys.index(a.life()), e.String()).Val(); !listed {
			t.Errorf("%q is not in its owner's index", e)
		}
	}
	must(t, a.RemovePlayer(t.Context(), player))
	_, err = a.ReleaseStream(t.Context(), s)
	must(t, err)
	if left := keysWithout(allKeys(t, see), ":void:"); len(left) != 0 {
		t.Errorf("keys left: %v", left)
	}
}

// A pod registers a player. The call arrives again when the player is another pod's, has come back, or is
// removed: it must not make the pod one with players of the stream.
func TestLatePlayerIsRejected(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := idlePod(t, cfg, podA), idlePod(t, cfg, podB)
	a.apart.Store(true) // as in a Cluster
	s, player := testStream("cam", "m1"), testPlayer("cam", "m2")
	claimAll(t, b, s)
	added := &tape{words: []string{a.keys.playersOf("cam", a.life()), "evalsha"}}
	playAll(t, a, testPlayer("cam", "m3")) // loads the script
	must(t, a.RemovePlayer(t.Context(), testPlayer("cam", "m3")))
	a.client.AddHook(added)
	playAll(t, a, player)
	see := client(t, cfg)
	late := func(want ...string) {
		t.Helper()
		added.arriveLate(t, see)
		pods, err := b.PutStream(t.Context(), s)
		must(t, err)
		if !slices.Equal(pods, want) {
			t.Errorf("pods with players: %v, want %v", pods, want)
		}
	}
	player.Generation = 1
	_, err := b.AdoptPlayer(t.Context(), player, a.life())
	must(t, err)
	late(podB)
	player.Generation = 2
	_, err = a.AdoptPlayer(t.Context(), player, b.life())
	must(t, err)
	added.commands = added.commands[:1] // without the adoption
	late(podA)
	must(t, a.RemovePlayer(t.Context(), player))
	added.commands = added.commands[:1]
	late()
}

// A taker dies after it released the records of a dead pod and before it handed them over. Calls of the dead
// pod arrive in between: the next taker must find the records nevertheless.
func TestLateCallsOfDeadPodHideNothingFromNextTaker(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b, c := idlePod(t, cfg, podA), idlePod(t, cfg, podB), idlePod(t, cfg, "cccccccc")
	c.handlers = c.handlerSet()
	dead, ctx := a.life(), t.Context()
	one := testStream("one", "m1")
	removed, refused := testPlayer("one", "m3"), testPlayer("one", "m4")
	claimAll(t, a, one)
	playAll(t, a, removed, refused)
	lobby := RoomUpdate{Room: Room{App: "roomApp", Name: "lobby"}, Put: []Member{{Login: "al", ID: "1"}}, MaxMembers: 10}
	_, err := a.SyncRoom(ctx, lobby)
	must(t, err)

	mine, err := b.recordTakeOver(ctx, dead)
	must(t, err)
	if !mine {
		t.Fatal("the pod is not taken over")
	}
	for index, add := range map[string]func(context.Context, *batch, Owner, string) (pendingRelease, error){
		b.keys.index(dead): b.addReleaseEntry, b.keys.sessions(dead): b.addReleaseSession, b.keys.rooms(dead): b.addReleaseRoom,
	} {
		names, err := b.client.HKeys(ctx, index).Result()
		must(t, err)
		_, err = b.releaseTogether(ctx, names, func(to *batch, name string) (pendingRelease, error) { return add(ctx, to, dead, name) })
		must(t, err)
	}

	wantErr(t, a.ClaimStream(ctx, one), ErrLeaseStale)
	must(t, a.RemovePlayer(ctx, removed))
	_, err = a.AddPlayer(ctx, refused)
	wantErr(t, err, ErrLeaseStale)
	_, err = a.SyncRoom(ctx, RoomUpdate{Room: lobby.Room, Remove: lobby.Put, MaxMembers: 10})
	wantErr(t, err, ErrLostOwnership)

	must(t, c.takeOver(ctx, dead))
	want := []string{
		"player of one wcs.one play-m3", "player of one wcs.one play-m4", "room lobby of roomApp members on []",
		"stream one wcs.one pub-m1 players on []",
	}
	if diff := cmp.Diff(want, c.taken()); diff != "" {
		t.Errorf("handed over by the next taker (-want +got):\n%s", diff)
	}
	see := client(t, cfg)
	if left := keysWithout(allKeys(t, see), ":void:", ":taken", "session:", ":departures"); len(left) != 0 {
		t.Errorf("keys left: %v", left)
	}
}
