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

// A pod takes a session at its second attempt. The removal of the first attempt's entry then arrives again.
func TestLateRemovalFromIndexKeepsSessionTakenSince(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := idlePod(t, cfg, podA), idlePod(t, cfg, podB)
	removal := &tape{words: []string{b.keys.sessions(b.life()), b.scripts.unlist.Hash(), "a0"}}
	b.client.AddHook(removal)
	s := Session{ID: "a0", Resumable: true}
	a.PutSession(s)
	must(t, a.writeSessionBatch(t.Context()))
	attempts := 0
	var next Session
	_, err := b.TakeSession(t.Context(), s.ID, func(was Session) (Session, error) {
		if attempts++; attempts == 1 {
			s.App = "changed since it was read"
			a.PutSession(s)
			must(t, a.writeSessionBatch(t.Context()))
		}
		next = was
		next.Generation, next.TokenHash = 1, TokenHash{1}
		return next, nil
	})
	must(t, err)
	see := client(t, cfg)
	removal.arriveLate(t, see)
	if listed := see.HExists(t.Context(), b.keys.sessions(b.life()), next.registration().String()).Val(); attempts != 2 || !listed {
		t.Errorf("after %d attempts, the session is in its owner's index: %v", attempts, listed)
	}
	must(t, b.EndSession(t.Context(), next))
	if left := keysWithout(allKeys(t, see), "session:", "{pod:"+podA); len(left) != 0 {
		t.Errorf("keys left: %v", left)
	}
}

// The last member of a pod leaves a room, and another one joins. The removal of the room from the pod's index
// then arrives again: without the entry, no pod would take the members out of the room if the pod died.
func TestLateRemovalFromIndexKeepsRoomJoinedSince(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := idlePod(t, cfg, podA)
	removal := &tape{words: []string{a.keys.rooms(a.life()), a.scripts.unlist.Hash()}}
	a.client.AddHook(removal)
	lobby := Room{App: "roomApp", Name: "lobby"}
	one, two := []Member{{Login: "al", ID: "1"}}, []Member{{Login: "bob", ID: "2"}}
	for _, u := range []RoomUpdate{{Put: one}, {Remove: one}, {Put: two}} {
		u.Room, u.MaxMembers = lobby, 10
		_, err := a.SyncRoom(t.Context(), u)
		must(t, err)
	}
	see := client(t, cfg)
	removal.arriveLate(t, see)
	if !see.HExists(t.Context(), a.keys.rooms(a.life()), lobby.entry()).Val() {
		t.Error("the room is not in the index of its member's owner")
	}
	_, err := a.SyncRoom(t.Context(), RoomUpdate{Room: lobby, Remove: two, MaxMembers: 10})
	must(t, err)
	if left := keysWithout(allKeys(t, see), ":departures"); len(left) != 0 {
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
	one, two := testStream("one", "m1"), testStream("two", "m2")
	removed, refused := testPlayer("one", "m3"), testPlayer("one", "m4")
	claimAll(t, a, one, two)
	playAll(t, a, removed, refused)
	plain, ended := Session{ID: "plain"}, Session{ID: "ended", Resumable: true}
	a.PutSession(plain)
	a.PutSession(ended)
	must(t, a.writeSessionBatch(ctx))
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

	_, err = a.ReleaseStream(ctx, one)
	must(t, err)
	wantErr(t, a.ClaimStream(ctx, two), ErrLeaseStale)
	must(t, a.RemovePlayer(ctx, removed))
	_, err = a.AddPlayer(ctx, refused)
	wantErr(t, err, ErrLeaseStale)
	a.DropSession(plain.ID)
	must(t, a.writeSessionBatch(ctx))
	must(t, a.EndSession(ctx, ended))
	_, err = a.SyncRoom(ctx, RoomUpdate{Room: lobby.Room, Remove: lobby.Put, MaxMembers: 10})
	wantErr(t, err, ErrLostOwnership)

	must(t, c.takeOver(ctx, dead))
	want := []string{
		"player of one wcs.one play-m3", "player of one wcs.one play-m4", "room lobby of roomApp members on []",
		"session ended", "session plain", "stream one wcs.one pub-m1 players on []", "stream two wcs.two pub-m2 players on []",
	}
	if diff := cmp.Diff(want, c.taken()); diff != "" {
		t.Errorf("handed over by the next taker (-want +got):\n%s", diff)
	}
	see := client(t, cfg)
	if left := keysWithout(allKeys(t, see), ":void:", ":taken", "session:", ":departures"); len(left) != 0 {
		t.Errorf("keys left: %v", left)
	}
}
