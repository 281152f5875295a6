package upstream

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
)

// UsageStore keeps the counts and transcripts of all pods. It bounds the time of a call. The gateway's is
// state.Redis.
type UsageStore interface {
	CountUpstreamUse(ctx context.Context, counts map[state.UpstreamUse]int64) error
	AddTranscript(ctx context.Context, app string, keep int, text []byte) error
}

const (
	usageInterval = 10 * time.Second // between writes
	maxUses       = 1000             // different counts that wait for a write, and those of closed sets beyond
	maxVersion    = 32               // bytes of a client version
)

// usage counts the sessions and commands of upstreams until they are written. A failed write loses its
// counts.
type usage struct {
	store UsageStore // nil: nothing is written
	log   zerolog.Logger

	mu     sync.Mutex
	counts map[state.UpstreamUse]int64
}

// add counts one session or command. While too many different ones wait, further versions of clients are
// state.OtherVersion.
func (u *usage) add(use state.UpstreamUse) {
	if u.store == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.counts[use]; !known && len(u.counts) >= maxUses && use.Command == "" {
		use.ClientVersion = state.OtherVersion
	}
	u.counts[use]++
}

// write writes what was counted since the last write.
func (u *usage) write(ctx context.Context) {
	u.mu.Lock()
	counts := u.counts
	u.counts = make(map[state.UpstreamUse]int64)
	u.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	if err := u.store.CountUpstreamUse(ctx, counts); err != nil {
		u.log.Debug().Err(err).Msg("counts of upstreams not written")
	}
}

// Run writes the counts of sessions and commands until ctx is done, and a last time then.
func (ls *Links) Run(ctx context.Context) {
	defer ls.Recovered()
	tick := time.NewTicker(usageInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ls.usage.write(ctx)
		case <-ctx.Done():
			ls.usage.write(context.WithoutCancel(ctx))
			return
		}
	}
}

// Version returns the version of the client's SDK for reports: "" if the client sent none, state.OtherVersion
// for a text that is no version.
func (c Client) Version() string {
	version := text(c.Connection.Sent["clientVersion"])
	if len(version) > maxVersion || strings.ContainsFunc(version, isNotOfVersion) {
		return state.OtherVersion
	}
	return version
}

func isNotOfVersion(r rune) bool {
	switch {
	case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', strings.ContainsRune("._+-", r):
		return false
	}
	return true
}
