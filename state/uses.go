package state

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// UpstreamUse is what is counted of the sessions that another WCS server serves
// (docs/migrate-from-wcs.md#what-still-needs-the-old-server): sessions by client version, or commands.
type UpstreamUse struct {
	App      string // "" if the client sent none
	Upstream string
	Command  string // "": sessions
	// ClientVersion is set for sessions. "" if the client sent none.
	ClientVersion string
}

// OtherVersion stands for the client versions of an application beyond the limit of a day.
const OtherVersion = "other"

// UseDays is the number of days whose counts are kept, today included.
const UseDays = 31

// maxVersions is the number of client versions of an application that are told apart in a day.
const maxVersions = 64

// Kinds of fields in the hash of a day.
const (
	sessionsField = "s" // app, upstream, version
	commandsField = "c" // app, upstream, command
	versionsField = "n" // app: its number of versions
)

func (u UpstreamUse) field() string {
	words := []string{commandsField, u.App, u.Upstream, u.Command}
	if u.Command == "" {
		words[0], words[3] = sessionsField, u.ClientVersion
	}
	for i, word := range words {
		words[i] = url.QueryEscape(word)
	}
	return strings.Join(words, " ")
}

// parseUse parses a field. ok is false for one of another kind.
func parseUse(field string) (u UpstreamUse, ok bool) {
	words := strings.Split(field, " ")
	if len(words) != 4 {
		return u, false
	}
	for i, word := range words {
		var err error
		if words[i], err = url.QueryUnescape(word); err != nil {
			return u, false
		}
	}
	u.App, u.Upstream = words[1], words[2]
	switch words[0] {
	case sessionsField:
		u.ClientVersion = words[3]
	case commandsField:
		u.Command = words[3]
	default:
		return u, false
	}
	return u, true
}

// CountUpstreamUse adds to the counts of this day (UTC), which all pods share. Of too many client versions
// the further ones are counted as OtherVersion. After an error the counts may have been added or not.
func (r *Redis) CountUpstreamUse(ctx context.Context, counts map[UpstreamUse]int64) error {
	args := []any{ms(UseDays * 24 * time.Hour), maxVersions}
	for use, n := range counts {
		size, other := "", ""
		if use.Command == "" {
			size = versionsField + " " + url.QueryEscape(use.App)
			other = UpstreamUse{App: use.App, Upstream: use.Upstream, ClientVersion: OtherVersion}.field()
		}
		args = append(args, use.field(), n, size, other)
	}
	return r.read(ctx, "count_upstream", func(ctx context.Context) error {
		_, _, err := r.script(ctx, r.scripts.countUse, []string{r.keys.uses(r.now())}, args...)
		return err
	})
}

// UpstreamUses returns the counts of a day (UTC), none for a day without counts.
func (r *Redis) UpstreamUses(ctx context.Context, day time.Time) (map[UpstreamUse]int64, error) {
	counts := make(map[UpstreamUse]int64)
	err := r.read(ctx, "list_upstream", func(ctx context.Context) error {
		fields, err := r.client.HGetAll(ctx, r.keys.uses(day)).Result()
		for field, value := range fields {
			n, err := strconv.ParseInt(value, 10, 64)
			if use, ok := parseUse(field); ok && err == nil {
				counts[use] = n
			}
		}
		return err
	})
	return counts, err
}
