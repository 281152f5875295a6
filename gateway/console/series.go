package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// historyEvent holds the last hour of the deployment, the oldest sample first. null is a moment without
// samples.
type historyEvent struct {
	Step   int64    `json:"step"` // milliseconds
	End    int64    `json:"end"`  // Unix milliseconds of the last sample
	Pods   int      `json:"pods"` // pods that replied
	Silent []string `json:"silent"`
	Series series   `json:"series"`
}

type series struct {
	Sessions  []*int     `json:"sessions"`
	Published []*int     `json:"published"`
	Played    []*int     `json:"played"`
	Publishes []*int     `json:"publishes"` // per sampleStep
	Plays     []*int     `json:"plays"`
	Failed    []*int     `json:"failed"`
	NoMedia   []*int     `json:"noMedia"`
	SFUP50    []*float64 `json:"sfuP50"` // milliseconds
	SFUP95    []*float64 `json:"sfuP95"`
	RedisP50  []*float64 `json:"redisP50"`
	RedisP95  []*float64 `json:"redisP95"`
}

// history requests the last hour of all pods and sums it up.
func (f *feed) history(ctx context.Context) (any, error) {
	parts, err := f.c.deps.Histories(ctx)
	if err != nil {
		return nil, err
	}
	h := historyEvent{Step: sampleStep.Milliseconds(), Silent: []string{}}
	sums := make(map[int64]*Sample)
	var newest []int64 // of each pod that has samples
	for _, pod := range slices.Sorted(maps.Keys(parts)) {
		if parts[pod] == nil {
			h.Silent = append(h.Silent, pod)
			continue
		}
		var samples []Sample
		if err := json.Unmarshal(*parts[pod], &samples); err != nil {
			return nil, fmt.Errorf("pod %s, of another version: %w", pod, err)
		}
		h.Pods++
		if len(samples) > 0 {
			newest = append(newest, samples[len(samples)-1].At)
		}
		for _, s := range samples {
			if sums[s.At] == nil {
				sums[s.At] = &Sample{SFU: calls{}, Redis: calls{}}
			}
			sums[s.At].plus(s)
		}
	}
	if len(sums) == 0 {
		return h, nil
	}
	// Pods do not sample at the same instant: the newest moment waits until each pod has it, for one step.
	end := max(slices.Min(newest), slices.Max(newest)-1)
	h.End = end * h.Step
	for at := end - sampleSteps + 1; at <= end; at++ {
		h.put(sums[at])
	}
	return h, nil
}

func (s *Sample) plus(o Sample) {
	s.Sessions += o.Sessions
	s.Published += o.Published
	s.Played += o.Played
	s.Publishes += o.Publishes
	s.Plays += o.Plays
	s.Failed += o.Failed
	s.NoMedia += o.NoMedia
	for bound, n := range o.SFU {
		s.SFU[bound] += n
	}
	for bound, n := range o.Redis {
		s.Redis[bound] += n
	}
}

// put appends the figures of a moment; s is nil without samples.
func (h *historyEvent) put(s *Sample) {
	present := s != nil
	s = cmp.Or(s, &Sample{})
	count := func(to *[]*int, n int) {
		if present {
			*to = append(*to, &n)
		} else {
			*to = append(*to, nil)
		}
	}
	count(&h.Series.Sessions, s.Sessions)
	count(&h.Series.Published, s.Published)
	count(&h.Series.Played, s.Played)
	count(&h.Series.Publishes, s.Publishes)
	count(&h.Series.Plays, s.Plays)
	count(&h.Series.Failed, s.Failed)
	count(&h.Series.NoMedia, s.NoMedia)
	h.Series.SFUP50, h.Series.SFUP95 = append(h.Series.SFUP50, s.SFU.quantile(.5)), append(h.Series.SFUP95, s.SFU.quantile(.95))
	h.Series.RedisP50, h.Series.RedisP95 = append(h.Series.RedisP50, s.Redis.quantile(.5)), append(h.Series.RedisP95, s.Redis.quantile(.95))
}
