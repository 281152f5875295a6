package state

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/enlist.lua
var enlistSource string

//go:embed scripts/claim_stream.lua
var claimStreamSource string

//go:embed scripts/claim_media.lua
var claimMediaSource string

//go:embed scripts/put_stream.lua
var putStreamSource string

//go:embed scripts/release_stream.lua
var releaseStreamSource string

//go:embed scripts/add_player.lua
var addPlayerSource string

//go:embed scripts/remove_player.lua
var removePlayerSource string

//go:embed scripts/delete_owned.lua
var deleteOwnedSource string

//go:embed scripts/put_session.lua
var putSessionSource string

//go:embed scripts/end_session.lua
var endSessionSource string

//go:embed scripts/swap.lua
var swapSource string

//go:embed scripts/adopt_stream.lua
var adoptStreamSource string

//go:embed scripts/adopt_player.lua
var adoptPlayerSource string

//go:embed scripts/renew_lease.lua
var renewLeaseSource string

//go:embed scripts/take_over.lua
var takeOverSource string

//go:embed scripts/departures.lua
var departuresSource string

//go:embed scripts/sync_room.lua
var syncRoomSource string

//go:embed scripts/release_room.lua
var releaseRoomSource string

//go:embed scripts/leave.lua
var leaveSource string

//go:embed scripts/count_use.lua
var countUseSource string

// scripts are the Lua scripts. Each touches keys of one slot only and, except countUse, can be repeated.
type scripts struct {
	enlist, claimStream, claimMedia, putStream, releaseStream, addPlayer, removePlayer *redis.Script
	deleteOwned, putSession, endSession, swap, adoptStream, adoptPlayer                *redis.Script
	syncRoom, releaseRoom                                                              *redis.Script
	renewLease, takeOver, leave, countUse                                              *redis.Script
}

func newScripts() scripts {
	return scripts{
		enlist:        redis.NewScript(enlistSource),
		claimStream:   redis.NewScript(claimStreamSource),
		claimMedia:    redis.NewScript(claimMediaSource),
		putStream:     redis.NewScript(putStreamSource),
		releaseStream: redis.NewScript(releaseStreamSource),
		addPlayer:     redis.NewScript(addPlayerSource),
		removePlayer:  redis.NewScript(removePlayerSource),
		deleteOwned:   redis.NewScript(deleteOwnedSource),
		putSession:    redis.NewScript(putSessionSource),
		endSession:    redis.NewScript(endSessionSource),
		swap:          redis.NewScript(swapSource),
		adoptStream:   redis.NewScript(adoptStreamSource),
		adoptPlayer:   redis.NewScript(adoptPlayerSource),
		syncRoom:      redis.NewScript(departuresSource + syncRoomSource),
		releaseRoom:   redis.NewScript(departuresSource + releaseRoomSource),
		renewLease:    redis.NewScript(renewLeaseSource),
		takeOver:      redis.NewScript(takeOverSource),
		leave:         redis.NewScript(leaveSource),
		countUse:      redis.NewScript(countUseSource),
	}
}

// First elements of the scripts' replies.
const (
	statusOK      = "ok"
	statusNone    = "none"    // no such record
	statusLost    = "lost"    // not, or no longer, the caller's
	statusTaken   = "taken"   // another owner has it
	statusAdopted = "adopted" // another owner has it in a later generation
	statusMissing = "missing" // the lease did not exist
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
