package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/state"
)

func (p program) upstreamCommand(file func() string) *cobra.Command {
	c := &cobra.Command{
		Use: "upstream", Short: "Report what other WCS servers are used for, and how",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var days int
	var asJSON bool
	report := &cobra.Command{
		Use: "report", Short: "Print the sessions and commands of the last days that went to upstreams", Args: cobra.NoArgs,
		Long: "report reads the counts of all pods from Redis: by application and upstream, the sessions of each client\n" +
			"version and each command, with the last day on which there were any. Days are those of UTC.",
		RunE: func(c *cobra.Command, _ []string) error {
			if days < 1 || days > state.UseDays {
				return fmt.Errorf("--days must be between 1 and %d", state.UseDays)
			}
			state.QuietClientLog(zerolog.Nop())
			cfg, err := p.load(file())
			if err != nil {
				return p.fail(err)
			}
			r, err := readUses(c.Context(), cfg, days)
			if err != nil {
				return p.fail(err)
			}
			if err := r.write(p.stdout, asJSON); err != nil {
				return p.fail(err)
			}
			return nil
		},
	}
	report.Flags().IntVar(&days, "days", 7, fmt.Sprintf("`number` of days, today included, at most %d", state.UseDays))
	report.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.AddCommand(report, p.transcriptsCommand(file))
	return c
}

func (p program) transcriptsCommand(file func() string) *cobra.Command {
	var only string
	c := &cobra.Command{
		Use: "transcripts", Short: "Print the transcripts of spliced sessions, for wcs-doctor", Args: cobra.NoArgs,
		Long: "transcripts reads the transcripts of all pods from Redis and prints each as JSON on one line. An application has\n" +
			"transcripts if its route.transcripts is set.",
		RunE: func(c *cobra.Command, _ []string) error {
			state.QuietClientLog(zerolog.Nop())
			cfg, err := p.load(file())
			if err != nil {
				return p.fail(err)
			}
			keys := []string{only}
			if only == "" {
				keys = slices.Sorted(maps.Keys(cfg.Applications))
			}
			if err := p.printTranscripts(c.Context(), cfg, keys); err != nil {
				return p.fail(err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&only, "app", "", "`key` of the only application (default: all that are configured)")
	return c
}

func (p program) printTranscripts(ctx context.Context, cfg config.Config, keys []string) error {
	store, err := app.Store(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing is pending
	for _, key := range keys {
		err := store.Transcripts(ctx, key, func(text string) error {
			_, err := fmt.Fprintln(p.stdout, text)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// usesReport holds what went to upstreams in some days, the most frequent first.
type usesReport struct {
	From     string         `json:"from"` // days, as 2006-01-02
	To       string         `json:"to"`
	Sessions []sessionsUsed `json:"sessions"`
	Commands []commandsUsed `json:"commands"`
}

type sessionsUsed struct {
	App           string `json:"app"` // "" if the client sent none
	Upstream      string `json:"upstream"`
	ClientVersion string `json:"clientVersion"` // "" if the client sent none
	used
}

type commandsUsed struct {
	App      string `json:"app"` // "" if the client sent none
	Upstream string `json:"upstream"`
	Command  string `json:"command"`
	used
}

type used struct {
	Count   int64  `json:"count"`
	LastDay string `json:"lastDay"`
}

// readUses reads the counts of the last days.
func readUses(ctx context.Context, cfg config.Config, days int) (usesReport, error) {
	store, err := app.Store(cfg)
	if err != nil {
		return usesReport{}, err
	}
	defer func() { _ = store.Close() }() // nothing is pending
	today := time.Now().UTC()
	var all []map[state.UpstreamUse]int64
	for ago := range days {
		counts, err := store.UpstreamUses(ctx, today.AddDate(0, 0, -ago))
		if err != nil {
			return usesReport{}, err
		}
		all = append(all, counts)
	}
	return newUsesReport(today, all), nil
}

// newUsesReport adds up the counts of days, today's first.
func newUsesReport(today time.Time, days []map[state.UpstreamUse]int64) usesReport {
	day := func(ago int) string { return today.AddDate(0, 0, -ago).Format(time.DateOnly) }
	sums := make(map[state.UpstreamUse]used)
	for ago, counts := range days {
		for use, n := range counts {
			sum := sums[use]
			sums[use] = used{sum.Count + n, cmp.Or(sum.LastDay, day(ago))}
		}
	}
	r := usesReport{From: day(len(days) - 1), To: day(0), Sessions: []sessionsUsed{}, Commands: []commandsUsed{}}
	for use, sum := range sums {
		if use.Command == "" {
			r.Sessions = append(r.Sessions, sessionsUsed{use.App, use.Upstream, use.ClientVersion, sum})
		} else {
			r.Commands = append(r.Commands, commandsUsed{use.App, use.Upstream, use.Command, sum})
		}
	}
	slices.SortFunc(r.Sessions, func(a, b sessionsUsed) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.App, b.App), cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.ClientVersion, b.ClientVersion))
	})
	slices.SortFunc(r.Commands, func(a, b commandsUsed) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.App, b.App), cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Command, b.Command))
	})
	return r
}

func (r usesReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Sessions and commands that went to upstreams from %s to %s (UTC)\n", r.From, r.To)
	if len(r.Sessions)+len(r.Commands) == 0 {
		text.WriteString("none\n")
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(app, upstream, what string, u used) {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", cmp.Or(app, "-"), upstream, cmp.Or(what, "-"), u.Count, u.LastDay)
	}
	if len(r.Sessions) > 0 {
		fmt.Fprint(table, "\nAPPLICATION\tUPSTREAM\tCLIENT VERSION\tSESSIONS\tLAST DAY\n")
		for _, s := range r.Sessions {
			row(s.App, s.Upstream, s.ClientVersion, s.used)
		}
		_ = table.Flush() // to memory
	}
	if len(r.Commands) > 0 {
		fmt.Fprint(table, "\nAPPLICATION\tUPSTREAM\tCOMMAND\tCOUNT\tLAST DAY\n")
		for _, c := range r.Commands {
			row(c.App, c.Upstream, c.Command, c.used)
		}
		_ = table.Flush() // to memory
	}
	_, err := io.WriteString(w, text.String())
	return err
}
