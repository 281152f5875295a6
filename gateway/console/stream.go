package console

import (
	"cmp"
	"context"
	"slices"
	"time"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/ends"
)

// streamPage is one stream with its players.
type streamPage struct {
	streamRow
	recordRows
	List []playerRow `json:"playersList"` // the first maxRows
}

// recordRows is what the pod of a stream recorded about it.
type recordRows struct {
	Hooks   []hookRow   `json:"hooks"`   // the last call first
	Quality *qualityRow `json:"quality"` // null if nothing was measured
}

// hookRow is a hook of a stream.
type hookRow struct {
	Method string `json:"method"`
	Count  int    `json:"count"`
	At     int64  `json:"at"`     // Unix milliseconds, of the last call
	Took   int64  `json:"took"`   // ms, of the last call
	Failed bool   `json:"failed"` // the last call
}

// qualityRow is the quality of a stream over time, in the form of historyEvent.
type qualityRow struct {
	Step   int64 `json:"step"`
	End    int64 `json:"end"`
	Series struct {
		Kbps []*int32 `json:"kbps"`
		FPS  []*int32 `json:"fps"`
		Lost []*int32 `json:"lost"` // packets in a step
	} `json:"series"`
}

func rowsOfRecord(r *ends.Record) recordRows {
	rows := recordRows{Hooks: []hookRow{}}
	if r == nil {
		return rows
	}
	for _, h := range slices.Backward(r.Hooks) {
		rows.Hooks = append(rows.Hooks, hookRow{Method: h.Method, Count: h.Count, At: h.At.UnixMilli(), Took: h.Took.Milliseconds(), Failed: h.Failed})
	}
	rows.Quality = qualityOf(r.Quality)
	return rows
}

// qualityOf returns the samples with null for the steps in which nothing was measured. The plot has at least
// ten minutes, and at most an hour.
func qualityOf(samples []ends.Quality) *qualityRow {
	if len(samples) == 0 {
		return nil
	}
	const least = int32(10 * time.Minute / ends.QualityStep)
	step, end := ends.QualityStep.Milliseconds(), samples[len(samples)-1].At
	q := qualityRow{Step: step, End: int64(end) * step}
	at := max(min(samples[0].At, end-least+1), end-ends.MaxQuality+1)
	for ; at <= end; at++ {
		var s ends.Quality
		for len(samples) > 0 && samples[0].At <= at {
			s, samples = samples[0], samples[1:]
		}
		var kbps, fps, lost *int32
		if s.At == at {
			kbps, fps, lost = &s.Kbps, &s.FPS, &s.Lost
		}
		q.Series.Kbps, q.Series.FPS, q.Series.Lost = append(q.Series.Kbps, kbps), append(q.Series.FPS, fps), append(q.Series.Lost, lost)
	}
	return &q
}

// gone is the page of a session that does not exist any more.
var gone = map[string]bool{"gone": true}

// stream returns the page of one stream.
func (f *feed) stream(ctx context.Context) (any, error) {
	var p *streamPage
	published := func(page []admin.StreamEntry) error {
		for _, e := range page {
			if e.Published {
				p = &streamPage{streamRow: rowOf(e), List: []playerRow{}}
			}
		}
		return nil
	}
	if err := f.c.deps.EachStream(ctx, admin.StreamFilter{MediaIDs: []string{f.view.ID}}, published); err != nil {
		return nil, err
	}
	if p == nil {
		return f.endOfStream(ctx), nil
	}
	counts := make(audience)
	players := func(page []admin.StreamEntry) error {
		for _, e := range page {
			if e.Published {
				continue
			}
			counts.add(e)
			if len(p.List) < maxRows {
				p.List = append(p.List, playerRow{MediaID: e.MediaID, Session: e.Session, Pod: e.Pod, Status: string(e.Status), Since: e.CreatedAt.UnixMilli()})
			}
		}
		return nil
	}
	if err := f.c.deps.EachStream(ctx, admin.StreamFilter{Name: p.Name}, players); err != nil {
		return nil, err
	}
	rows := []streamRow{p.streamRow}
	f.measure(ctx, rows, counts)
	record, err := f.c.deps.StreamRecord(ctx, p.entry)
	if err != nil {
		f.c.log.Debug().Err(err).Msg("console: record of a stream missing")
	}
	p.streamRow, p.recordRows = rows[0], rowsOfRecord(record)
	f.was, f.ended = p, nil
	return p, nil
}

// endedPage is the page of a stream that has ended.
type endedPage struct {
	endedRow
	recordRows
	Gone bool `json:"gone"`
}

// endedRow is a published stream that has ended.
type endedRow struct {
	MediaID string      `json:"mediaSessionId"`
	Name    string      `json:"name"`
	App     string      `json:"app"`
	Session string      `json:"session"`
	Status  string      `json:"status"` // "" while the end is not known
	Info    string      `json:"info"`
	Reason  ends.Reason `json:"reason"`
	Class   ends.Class  `json:"class"`
	Failed  bool        `json:"failed"`
	At      int64       `json:"at"` // Unix milliseconds
}

func endedRowOf(r *ends.Record) endedRow {
	e := r.Ended
	return endedRow{
		MediaID: r.MediaID, Name: e.Name, App: e.App, Session: r.Session, Status: string(e.Status), Info: e.Info, Reason: e.Reason, Class: e.Class,
		Failed: e.Reason.Failed(), At: e.At.UnixMilli(),
	}
}

// changing is the time in which the record of a stream can change after its end.
const changing = time.Minute

// endOfStream returns the page of a stream that does not exist any more. Its pod records the end slightly
// later than the stream disappears, and the hook about it after that.
func (f *feed) endOfStream(ctx context.Context) any {
	if f.ended == nil || time.Since(f.ended.Ended.At) < changing {
		record, err := f.c.deps.EndedStream(ctx, f.view.ID)
		if err != nil {
			f.c.log.Debug().Err(err).Msg("console: end of a stream missing")
		}
		f.ended = cmp.Or(record, f.ended)
	}
	p := endedPage{Gone: true, recordRows: rowsOfRecord(f.ended)}
	switch {
	case f.ended != nil:
		p.endedRow = endedRowOf(f.ended)
	case f.was != nil:
		p.Name, p.recordRows = f.was.Name, f.was.recordRows
	}
	return p
}

// maxEnded is the number of ended streams that viewers are sent.
const maxEnded = 50

// endedEvent holds the published streams that ended last, the last one first.
type endedEvent struct {
	Rows []endedRow `json:"rows"`
}

// endedStreams requests the ended streams of all pods.
func (f *feed) endedStreams(ctx context.Context) (any, error) {
	parts, err := f.c.deps.EndedStreams(ctx)
	if err != nil {
		return nil, err
	}
	rows := []endedRow{}
	for _, part := range parts {
		if part == nil {
			continue // the overview names the pods that do not answer
		}
		for i := range *part {
			rows = append(rows, endedRowOf(&(*part)[i]))
		}
	}
	slices.SortFunc(rows, func(a, b endedRow) int { return cmp.Or(cmp.Compare(b.At, a.At), cmp.Compare(a.MediaID, b.MediaID)) })
	return endedEvent{rows[:min(len(rows), maxEnded)]}, nil
}
