package state

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// edit replaces a part of a script.
func edit(t *testing.T, source, old, with string) *redis.Script {
	t.Helper()
	if strings.Count(source, old) != 1 {
		t.Fatalf("%q is not once in the script", old)
	}
	return redis.NewScript(strings.Replace(source, old, with, 1))
}

// modelMutants are what the protocol would be without one of its rules.
func modelMutants(t *testing.T) []mutant {
	in := func(source, old, with string, of func(*Redis) **redis.Script) func(*Redis) {
		s := edit(t, source, old, with)
		return func(r *Redis) { *of(r) = s }
	}
	claim := func(r *Redis) **redis.Script { return &r.scripts.claimStream }
	release := func(r *Redis) **redis.Script { return &r.scripts.releaseStream }
	renew := func(r *Redis) **redis.Script { return &r.scripts.renewLease }
	takeOver := func(r *Redis) **redis.Script { return &r.scripts.takeOver }
	put := func(r *Redis) **redis.Script { return &r.scripts.putStream }
	remove := func(r *Redis) **redis.Script { return &r.scripts.removePlayer }
	del := func(r *Redis) **redis.Script { return &r.scripts.deleteOwned }
	leave := func(r *Redis) **redis.Script { return &r.scripts.leave }
	return []mutant{
		{"claim: no look at the holder", 1, in(claimStreamSource, "if r[1] and (r[1] ~= ARGV[1] or r[2] ~= ARGV[2]) then", "if false then", claim)},
		{"claim: no look at the mark of a release", 91, in(claimStreamSource, "if redis.call('GET', KEYS[2]) ==", "if 1 ==", claim)},
		{"release: of anybody's", 1, in(releaseStreamSource, "if r[1] == ARGV[1] and r[2] == ARGV[2] then", "if r[1] then", release)},
		{"release: of any claim of the owner", 1, in(releaseStreamSource, "if r[1] == ARGV[1] and r[2] == ARGV[2] then", "if r[1] == ARGV[1] then", release)},
		{"release: no mark after a record", 103, in(releaseStreamSource, "if ARGV[3] ~= '0' then",
			"if ARGV[3] ~= '0' and redis.call('HGET', KEYS[1], 'claim') ~= ARGV[2] then", release)},
		{"put: of anybody's", 20, in(putStreamSource, "if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] then", "redis.call('HSET', KEYS[1], 'owner', ARGV[1])\nif false then", put)},
		{"renew: after a take-over", 32, in(renewLeaseSource, "if redis.call('EXISTS', KEYS[2]) == 1", "if redis.call('EXISTS', KEYS[2]) == 2", renew)},
		{"take over: from the living", 54, in(takeOverSource, "== 1 then", "== 2 then", takeOver)},
		{"media id: of anybody's is deleted", 1, in(deleteOwnedSource, "if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]", "if not v", del)},
		{"player: the owner stays with the stream", 1, in(removePlayerSource, "redis.call('SREM'", "redis.call('SISMEMBER'", remove)},
		{"leave: no mark", 3064, in(leaveSource, "redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])", "", leave)},
		{"leave: although something is left", 1, in(leaveSource, "> 0 then", "> 9 then", leave)},
		{"no grace after an outage", 13, func(r *Redis) { r.grace = -modelLease }},
		{"no lease time of quiet", 15, func(r *Redis) { r.grace -= modelLease }},
		{"writes with an old lease", 23, func(r *Redis) { r.lease.length *= 3 }},
	}
}

// A model that finds nothing wrong with a wrong protocol shows nothing.
func TestModelFindsMutants(t *testing.T) {
	c := newModelRedis(t)
	for _, m := range modelMutants(t) {
		t.Run(m.name, func(t *testing.T) {
			stop := time.Now().Add(time.Minute)
			w := runModel(t, c, m.from, m)
			for seed := uint64(1); w.failure == "" && time.Now().Before(stop); seed++ {
				w = runModel(t, c, seed, m)
			}
			if w.failure == "" {
				t.Fatal("not found in a minute")
			}
			t.Logf("schedule %d: %s", w.seed, w.failure)
			if sound := runModel(t, c, w.seed, mutant{}); sound.failure != "" {
				t.Errorf("schedule %d fails without the mutant, too: %s", w.seed, sound.failure)
			}
		})
	}
}
