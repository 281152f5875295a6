package console

import (
	"cmp"
	"context"
	"slices"

	"wcsgateway/gateway/ends"
)

// maxFailures is the number of rows that viewers are sent.
const maxFailures = 50

// failuresEvent holds the failures of the last hour in the deployment, the most frequent first.
type failuresEvent struct {
	Rows []failureRow `json:"rows"`
	More int          `json:"more"` // rows that are not sent
}

type failureRow struct {
	Kind    string      `json:"kind"`
	Reason  ends.Reason `json:"reason"`
	Class   ends.Class  `json:"class"`
	App     string      `json:"app"`
	Count   int         `json:"count"`
	Address string      `json:"address"` // of the last client
	At      int64       `json:"at"`      // Unix milliseconds of the last one
}

// failures requests the failures of all pods and sums them up.
func (f *feed) failures(ctx context.Context) (any, error) {
	parts, err := f.c.deps.Failures(ctx)
	if err != nil {
		return nil, err
	}
	sums := make(map[failureRow]ends.Failure) // by kind, reason and application
	for _, part := range parts {
		if part == nil {
			continue // the history names the pods that do not answer
		}
		for _, one := range *part {
			key := failureRow{Kind: one.Kind, Reason: one.Reason, App: one.App}
			sum := sums[key]
			one.Count += sum.Count
			if one.At.Before(sum.At) {
				one.At, one.Remote = sum.At, sum.Remote
			}
			sums[key] = one
		}
	}
	rows := make([]failureRow, 0, len(sums))
	for r, sum := range sums {
		r.Class, r.Count, r.Address, r.At = sum.Class, sum.Count, sum.Remote, sum.At.UnixMilli()
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b failureRow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(b.At, a.At), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.App, b.App))
	})
	shown := rows[:min(len(rows), maxFailures)]
	return failuresEvent{Rows: shown, More: len(rows) - len(shown)}, nil
}
