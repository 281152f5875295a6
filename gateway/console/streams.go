package console

import (
	"cmp"
	"context"
	"strings"

	"wcsgateway/gateway/admin"
)

var streamColumns = []string{"name", "app", "pod", "since", "players", "status"}

// media is a track as the console shows it.
type media struct {
	Codec  string `json:"codec"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
	Muted  bool   `json:"muted"`
}

// streamRow is a published stream.
type streamRow struct {
	MediaID string         `json:"mediaSessionId"`
	Name    string         `json:"name"`
	App     string         `json:"app"`
	Session string         `json:"session"`
	Pod     string         `json:"pod"`
	Status  string         `json:"status"`
	Since   int64          `json:"since"` // Unix milliseconds
	Players int            `json:"players"`
	ByPod   map[string]int `json:"playersByPod"`
	Audio   *media         `json:"audio"`
	Video   *media         `json:"video"`
	Kbps    *int64         `json:"kbps"`   // of video; null if not measured
	Series  []int64        `json:"series"` // of Kbps, since the viewer opened the view
	// Figures are all measured figures, by the names of /rest-api/stream/metrics.
	Figures admin.Figures `json:"figures"`

	entry admin.StreamEntry
}

func rowOf(e admin.StreamEntry) streamRow {
	r := streamRow{
		MediaID: e.MediaID, Name: e.Name, App: e.App, Session: e.Session, Pod: e.Pod, Status: string(e.Status), Since: e.CreatedAt.UnixMilli(), entry: e,
	}
	for _, t := range e.Tracks {
		_, codec, _ := strings.Cut(t.Mime, "/")
		m := &media{Codec: codec, Width: t.Width, Height: t.Height}
		if t.Kind == "audio" {
			m.Muted, r.Audio = e.AudioMuted, m
		} else {
			m.Muted, r.Video = e.VideoMuted, m
		}
	}
	return r
}

// audience counts players by stream and pod.
type audience map[string]map[string]int

func (a audience) add(e admin.StreamEntry) {
	if a[e.Name] == nil {
		a[e.Name] = make(map[string]int)
	}
	a[e.Name][e.Pod]++
}

func (a audience) of(name string) (n int) {
	for _, some := range a[name] {
		n += some
	}
	return n
}

// streams returns a page of the table of published streams.
func (f *feed) streams(ctx context.Context) (any, error) {
	counts := make(audience)
	t := table[streamRow]{view: f.view, order: streamOrder(f.view.Sort, counts, f.hosts)}
	count := func(page []admin.StreamEntry) error {
		for _, e := range page {
			if !e.Published {
				counts.add(e)
			}
		}
		return nil
	}
	collect := func(page []admin.StreamEntry) error {
		for _, e := range page {
			if !e.Published {
				continue
			}
			t.total++
			if f.view.matches(e.Name, e.MediaID, e.App, e.Session, e.Pod, f.hosts.of(e.Pod)) {
				t.add(rowOf(e))
			}
		}
		return nil
	}
	passes := []func([]admin.StreamEntry) error{func(page []admin.StreamEntry) error { return cmp.Or(count(page), collect(page)) }}
	if f.view.Sort == "players" { // the players must be counted before rows are selected
		passes = []func([]admin.StreamEntry) error{count, collect}
	}
	for _, pass := range passes {
		if err := f.c.deps.EachStream(ctx, admin.StreamFilter{}, pass); err != nil {
			return nil, err
		}
	}
	rows := t.page()
	f.measure(ctx, rows, counts)
	return t.event(rows), nil
}

func streamOrder(column string, counts audience, hosts hosts) func(a, b streamRow) int {
	return func(a, b streamRow) int {
		first := 0
		switch column {
		case "app":
			first = cmp.Compare(a.App, b.App)
		case "pod":
			first = cmp.Or(cmp.Compare(hosts.of(a.Pod), hosts.of(b.Pod)), cmp.Compare(a.Pod, b.Pod))
		case "since":
			first = cmp.Compare(a.Since, b.Since)
		case "players":
			first = cmp.Compare(counts.of(a.Name), counts.of(b.Name))
		case "status":
			first = cmp.Compare(a.Status, b.Status)
		}
		return cmp.Or(first, cmp.Compare(a.Name, b.Name), cmp.Compare(a.MediaID, b.MediaID))
	}
}

// measure sets the players and figures of rows. Figures of a pod that does not answer are missing.
func (f *feed) measure(ctx context.Context, rows []streamRow, counts audience) {
	entries := make([]admin.StreamEntry, len(rows))
	for i, r := range rows {
		entries[i] = r.entry
	}
	figures, err := f.c.deps.Figures(ctx, entries)
	if err != nil {
		f.c.log.Debug().Err(err).Msg("console: figures missing")
	}
	shown := make(trends, len(rows))
	for i := range rows {
		r := &rows[i]
		r.ByPod, r.Players = counts[r.Name], counts.of(r.Name)
		if r.ByPod == nil {
			r.ByPod = map[string]int{}
		}
		r.Figures = figures[r.MediaID]
		if rate, measured := r.Figures["VIDEO_RATE"]; measured {
			kbps := rate / 1000
			r.Kbps = &kbps
			shown[r.MediaID] = append(f.trend[r.MediaID], kbps)
			shown[r.MediaID] = shown[r.MediaID][max(0, len(shown[r.MediaID])-trendLength):]
			r.Series = shown[r.MediaID]
		}
	}
	f.trend = shown
}

// trends holds the last rates, by media id, of the streams in a viewer's view.
type trends map[string][]int64

const trendLength = 60

// playerRow is a player of a stream.
type playerRow struct {
	MediaID string `json:"mediaSessionId"`
	Session string `json:"session"`
	Pod     string `json:"pod"`
	Status  string `json:"status"`
	Since   int64  `json:"since"`
}
