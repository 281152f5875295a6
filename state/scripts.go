package state

import (
	"context"
	"embed"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var sources embed.FS

// source returns the text of some scripts, in order.
func source(names ...string) string {
	var text strings.Builder
	for _, name := range names {
		script, err := sources.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			panic(err) // the file is not in the program
		}
		text.Write(script)
	}
	return text.String()
}

func newScript(names ...string) *redis.Script { return redis.NewScript(source(names...)) }

// scripts are the Lua scripts. Each can be repeated, except countUse and addTranscript, and touches keys of
// one slot only, except those that claim if one server has all keys.
type scripts struct {
	enlist, unlist, claimStream, claimMedia, putStream, releaseStream, addPlayer, removePlayer *redis.Script
	deleteOwned, putSession, endSession, swap, adoptStream, adoptPlayer                        *redis.Script
	syncRoom, releaseRoom                                                                      *redis.Script
	renewLease, takeOver, leave, countUse, addTranscript                                       *redis.Script
	enlistPull, wantPull, releasePull, endPull, findPull                                       *redis.Script
	takePull, renewPull, restorePull, returnPull, pullWorkers                                  *redis.Script
}

func newScripts() scripts {
	return scripts{
		enlist:        newScript("listed", "enlist"),
		unlist:        newScript("unlist"),
		claimStream:   newScript("listed", "claim_stream"),
		claimMedia:    newScript("listed", "claim_media"),
		putStream:     newScript("put_stream"),
		releaseStream: newScript("release_stream"),
		addPlayer:     newScript("listed", "voided", "add_player"),
		removePlayer:  newScript("voided", "remove_player"),
		deleteOwned:   newScript("delete_owned"),
		putSession:    newScript("put_session"),
		endSession:    newScript("end_session"),
		swap:          newScript("swap"),
		adoptStream:   newScript("adopt_stream"),
		adoptPlayer:   newScript("voided", "adopt_player"),
		syncRoom:      newScript("departures", "sync_room"),
		releaseRoom:   newScript("departures", "release_room"),
		renewLease:    newScript("renew_lease"),
		takeOver:      newScript("take_over"),
		leave:         newScript("leave"),
		countUse:      newScript("count_use"),
		addTranscript: newScript("add_transcript"),
		enlistPull:    newScript("pull_clock", "enlist_pull"),
		wantPull:      newScript("pull_clock", "pull_status", "want_pull"),
		releasePull:   newScript("pull_clock", "release_pull"),
		endPull:       newScript("pull_clock", "end_pull"),
		findPull:      newScript("pull_clock", "pull_status", "find_pull"),
		takePull:      newScript("pull_clock", "pull_status", "take_pull"),
		renewPull:     newScript("pull_clock", "renew_pull"),
		restorePull:   newScript("pull_clock", "restore_pull"),
		returnPull:    newScript("pull_clock", "return_pull"),
		pullWorkers:   newScript("pull_clock", "pull_workers"),
	}
}

// First elements of the scripts' replies.
const (
	statusOK      = "ok"
	statusNone    = "none"    // no such record
	statusLost    = "lost"    // not, or no longer, the caller's
	statusTaken   = "taken"   // another owner has it
	statusAdopted = "adopted" // another owner has it in a later generation
	statusOver    = "over"    // the owner was taken over
	statusMissing = "missing" // the lease or pull did not exist

	statusFull     = "full"     // there are as many as there can be
	statusUnwanted = "unwanted" // the pull has no holder
	statusGone     = "gone"     // there is no such pull any more
	statusDead     = "dead"     // too many workers of the pull died
)

// batch is a set of commands and scripts that are sent together. In a Cluster their order is undefined.
type batch struct {
	client redis.UniversalClient
	pipe   redis.Pipeliner
	runs   []*run
}

// run is one script in a batch.
type run struct {
	script *redis.Script
	keys   []string
	args   []any
	cmd    *redis.Cmd
}

func (r *Redis) batch() *batch {
	return &batch{client: r.client, pipe: r.client.Pipeline()}
}

func (b *batch) run(ctx context.Context, s *redis.Script, keys []string, args ...any) *run {
	c := &run{script: s, keys: keys, args: args, cmd: s.EvalSha(ctx, b.pipe, keys, args...)}
	b.runs = append(b.runs, c)
	return c
}

// exec returns the first error, which can concern a part only; the replies contain the details.
func (b *batch) exec(ctx context.Context) error {
	cmds, err := b.pipe.Exec(ctx)
	if err != nil && !slices.ContainsFunc(cmds, failed) {
		// go-redis sets no error on the commands when the server answered but refused the connection, as for
		// a wrong password.
		for _, c := range cmds {
			c.SetErr(err)
		}
	}
	for _, c := range b.runs {
		if errors.Is(c.cmd.Err(), redis.ErrNoScript) { // a new or restarted server
			c.cmd = c.script.Eval(ctx, b.client, c.keys, c.args...)
		}
	}
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, redis.ErrNoScript) {
			return err
		}
	}
	for _, c := range b.runs {
		if err := c.cmd.Err(); err != nil {
			return err
		}
	}
	return nil
}

func failed(c redis.Cmder) bool { return c.Err() != nil }

// script runs one script.
func (r *Redis) script(ctx context.Context, s *redis.Script, keys []string, args ...any) (status string, rest []string, err error) {
	c := &run{cmd: s.Run(ctx, r.client, keys, args...)}
	return c.reply()
}

// reply returns the script's reply.
func (c *run) reply() (status string, rest []string, err error) {
	words, err := c.cmd.StringSlice()
	if err != nil {
		return "", nil, err
	}
	if len(words) == 0 {
		return "", nil, errors.New("empty reply of a script")
	}
	return words[0], words[1:], nil
}
