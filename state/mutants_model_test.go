package state

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// edited returns a change that replaces a part of a script. Each run has its own script, which keeps state.
func edited(t *testing.T, source, old, with string, of func(*Redis) **redis.Script) func(*Redis) {
	t.Helper()
	if strings.Count(source, old) != 1 {
		t.Fatalf("the script does not contain %q exactly once", old)
	}
	return func(r *Redis) { *of(r) = redis.NewScript(strings.Replace(source, old, with, 1)) }
}

// modelMutants are the protocol without one of its rules each.
func modelMutants(t *testing.T) []mutant {
	in := func(source, old, with string, of func(*Redis) **redis.Script) func(*Redis) {
		return edited(t, source, old, with, of)
	}
	claim := func(r *Redis) **redis.Script { return &r.scripts.claimStream }
	release := func(r *Redis) **redis.Script { return &r.scripts.releaseStream }
	renew := func(r *Redis) **redis.Script { return &r.scripts.renewLease }
	takeOver := func(r *Redis) **redis.Script { return &r.scripts.takeOver }
	put := func(r *Redis) **redis.Script { return &r.scripts.putStream }
	remove := func(r *Redis) **redis.Script { return &r.scripts.removePlayer }
	del := func(r *Redis) **redis.Script { return &r.scripts.deleteOwned }
	leave := func(r *Redis) **redis.Script { return &r.scripts.leave }
	enlist := func(r *Redis) **redis.Script { return &r.scripts.enlist }
	return []mutant{
		{name: "claim: no look at the holder", from: 3, change: in(source("listed", "claim_stream"), "if r[1] and (r[2] ~= ARGV[2] or (r[1] ~= ARGV[1] and later == 0)) then", "if false then", claim)},
		{name: "claim: no look at the mark of a release", from: 13, change: in(source("listed", "claim_stream"), "if redis.call('EXISTS', KEYS[2]) == 1", "if false", claim)},
		{name: "release: of anybody's", from: 2, change: in(source("release_stream"), "if r[1] == ARGV[1] and r[2] == ARGV[2] then", "if r[1] then", release)},
		{name: "release: of any claim of the owner", from: 3, change: in(source("release_stream"), "if r[1] == ARGV[1] and r[2] == ARGV[2] then", "if r[1] == ARGV[1] then", release)},
		{name: "release: no mark after a record", from: 61, change: in(source("release_stream"), "if ARGV[3] ~= '0' then", "if ARGV[3] ~= '0' and r[2] ~= ARGV[2] then", release)},
		{name: "release: a repetition returns nothing", from: 262, change: in(source("release_stream"), "elseif ARGV[4] ~= '' then", "elseif false then", release)},
		{name: "put: of anybody's", from: 137, change: in(source("put_stream"), "if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] then", "redis.call('HSET', KEYS[1], 'owner', ARGV[1])\nif false then", put)},
		{name: "renew: after a take-over", from: 30, change: in(source("renew_lease"), "if redis.call('EXISTS', KEYS[2]) == 1", "if redis.call('EXISTS', KEYS[2]) == 2", renew)},
		{name: "take over: from the living", from: 186, change: in(source("take_over"), "== 1 then", "== 2 then", takeOver)},
		{name: "media id: of anybody's is deleted", from: 2, change: in(source("delete_owned"), "if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]", "if not v", del)},
		{name: "player: the owner stays with the stream", from: 2, change: in(source("voided", "remove_player"), "redis.call('SREM'", "redis.call('SISMEMBER'", remove)},
		{name: "leave: no mark", from: 1855, change: in(source("leave"), "redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])", "", leave)},
		{name: "leave: although something is left", from: 5, change: in(source("leave"), "> 0 then", "> 9 then", leave)},
		{name: "enlist: after a take-over", from: 346, change: in(source("listed", "enlist"), "== 1 then", "== 2 then", enlist)},
		{name: "claim: not listed", from: 1, conditions: conditions{joint: true}, change: in(source("listed", "claim_stream"), "redis.call('HSET', index, entry, stamp)", "", claim)},
		{name: "claim: listed after a take-over", from: 222, conditions: conditions{joint: true}, change: in(source("listed", "claim_stream"), "redis.call('EXISTS', taken) == 1", "false", claim)},
		{name: "no grace after an outage", from: 15, change: func(r *Redis) { r.grace = -modelLease }},
		{name: "no lease time of quiet", from: 15, change: func(r *Redis) { r.grace -= modelLease }},
		{name: "writes with an old lease", from: 19, change: func(r *Redis) { r.lease.length *= 3 }},
		{name: "watch: a look that is not answered finds no lease", from: 28, skip: func(t *task, command string) bool {
			return strings.HasPrefix(command, "pttl") && t.pod.world.net.unreachable(command)
		}},
		{name: "watch: listed without a renewal", from: 115, rules: rules{boasts: true}},
		{name: "watch: a lost lease has ended", from: 70, rules: rules{early: true}},
	}
}

// resumeMutants are the same for taking sessions.
func resumeMutants(t *testing.T) []mutant {
	in := func(source, old, with string, of func(*Redis) **redis.Script) func(*Redis) {
		return edited(t, source, old, with, of)
	}
	put := func(r *Redis) **redis.Script { return &r.scripts.putSession }
	claim := func(r *Redis) **redis.Script { return &r.scripts.claimStream }
	media := func(r *Redis) **redis.Script { return &r.scripts.claimMedia }
	end := func(r *Redis) **redis.Script { return &r.scripts.endSession }
	swap := func(r *Redis) **redis.Script { return &r.scripts.swap }
	adopt := func(r *Redis) **redis.Script { return &r.scripts.adoptStream }
	adoptPlayer := func(r *Redis) **redis.Script { return &r.scripts.adoptPlayer }
	unlist := func(r *Redis) **redis.Script { return &r.scripts.unlist }
	never := func(words ...string) func(*task, string) bool {
		return func(t *task, command string) bool {
			for _, w := range words {
				if !strings.Contains(t.name+": "+command, w) {
					return false
				}
			}
			return true
		}
	}
	return []mutant{
		{name: "put: over anybody's", from: 10, change: in(source("put_session"), "elseif v and", "elseif false and", put)},
		{name: "put: over the end", from: 219, change: in(source("put_session"), "if v and string.sub(v, 1, 1)", "if v and 1", put)},
		{name: "put: over any registration of the pod", from: 10,
			change: in(source("put_session"), "string.sub(v, 1, #ARGV[1]) ~= ARGV[1]", "string.match(v, '^%S+') ~= string.match(ARGV[1], '^%S+')", put)},
		{name: "end: anybody's", from: 10, change: in(source("end_session"), "elseif v and", "elseif false and", end)},
		{name: "end: any registration of the pod", from: 10,
			change: in(source("end_session"), "elseif v and string.sub(value, 1, #ARGV[1]) ~= ARGV[1]", "elseif v and string.match(value, '^%S+') ~= string.match(ARGV[1], '^%S+')", end)},
		{name: "end: not for good", from: 38, change: in(source("end_session"), "redis.call('SET', KEYS[1], mark, 'PX', ARGV[2])", "redis.call('DEL', KEYS[1])", end)},
		{name: "end: a repetition returns nothing", from: 234, change: in(source("end_session"), "if keep and", "if false and", end)},
		{name: "end: not what was perhaps taken", from: 312, skip: func(t *task, command string) bool {
			return t.name == "sessions" && strings.HasPrefix(command, "evalsha END") && t.pod.world.doubts(command)
		}},
		{name: "swap: without a look", from: 10, change: in(source("swap"), "if v ~= ARGV[1] and", "if false and", swap)},
		{name: "put: no look at the generation", from: 101, conditions: conditions{wipes: true}, change: in(source("put_session"), "later > 0 or (later == 0 and ARGV[5] == '1')", "true", put)},
		{name: "claim: no look at the generation", from: 53, change: in(source("listed", "claim_stream"), "(r[1] ~= ARGV[1] and later == 0)", "r[1] ~= ARGV[1]", claim)},
		{name: "claim: in any generation", from: 53, change: in(source("listed", "claim_stream"), "later > 0", "false", claim)},
		{name: "media id: taken by anything", from: 1, change: in(source("listed", "claim_media"), "entry ~= ARGV[2]", "false", media)},
		{name: "media id: no look at the generation", from: 24, change: in(source("listed", "claim_media"), "(owner ~= ARGV[1] and later == 0)", "owner ~= ARGV[1]", media)},
		{name: "media id: in any generation", from: 44, change: in(source("listed", "claim_media"), "later > 0", "false", media)},
		{name: "adopt: in any generation", from: 62, change: in(source("adopt_stream"), "tonumber(r[3]) >= tonumber(ARGV[3])", "false", adopt)},
		{name: "adopt: another claim", from: 1408, change: in(source("adopt_stream"), "r[2] ~= ARGV[2]", "false", adopt)},
		{name: "adopt player: the old owner keeps it", from: 53, change: in(source("voided", "adopt_player"), "redis.call('HDEL', KEYS[3], ARGV[3])", "", adoptPlayer)},
		{name: "adopt player: the old owner stays with the stream", from: 44, change: in(source("voided", "adopt_player"), "redis.call('SREM'", "redis.call('SISMEMBER'", adoptPlayer)},
		{name: "adopt: not named in the index before", from: 24, skip: never("take s", "ENLIST", ":index")},
		{name: "adopt: named in the old index for ever", from: 84, skip: never("take s", "UNLIST")},
		{name: "adopt: media id kept without the stream", from: 80, skip: never("take s", "DELETE_OWNED", "media:")},
		{name: "take: not named in the index before", from: 10, skip: never("take s", "ENLIST", ":sessions")},
		{name: "take: named in the old index for ever", from: 10, skip: never("sessions: ", "UNLIST")},
		{name: "unlist: whatever is listed", from: 289, conditions: conditions{repeats: true, frail: true},
			change: in(source("unlist"), "had <= ARGV[1]", "true", unlist)},
		{name: "unlist: after a take-over", from: 2461, change: in(source("unlist"), "== 1 then", "== 2 then", unlist)},
		{name: "gateway: never looks again", from: 368, rules: rules{forgets: true}},
		{name: "gateway: loses to its own stream", from: 176, rules: rules{blind: true}},
		{name: "gateway: is hasty", from: 1920, rules: rules{hasty: true}},
		{name: "gateway: lets go at any event", from: 836, rules: rules{anyEvent: true}},
	}
}

// doubts reports whether a command is about a session that its pod has perhaps taken.
func (w *world) doubts(command string) bool {
	for _, v := range w.clients {
		for claim := range v.tried {
			if strings.Contains(command, " "+claim+" ") {
				return true
			}
		}
	}
	return false
}

// A model that accepts a wrong protocol proves nothing. Without the flag more it is given each fifth mutant.
func TestModelFindsMutants(t *testing.T) {
	c := newModelRedis(t)
	for i, m := range append(modelMutants(t), resumeMutants(t)...) {
		t.Run(m.name, func(t *testing.T) {
			if i%5 > 0 && !*more {
				t.Skip("-more is not set")
			}
			w := runModel(t, c, m.from, m)
			for seed := *modelFrom; w.failure == "" && seed < *modelFrom+*modelHunt; seed++ {
				w = runModel(t, c, seed, m)
			}
			if w.failure == "" {
				t.Fatalf("no violation found in schedule %d, nor in %d others", m.from, *modelHunt)
			}
			t.Logf("schedule %d: %s", w.seed, w.failure)
			if sound := runModel(t, c, w.seed, mutant{conditions: m.conditions}); sound.failure != "" {
				t.Errorf("schedule %d fails without the mutant as well: %s", w.seed, sound.failure)
			}
		})
	}
}
