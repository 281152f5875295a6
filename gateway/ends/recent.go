package ends

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// MaxFailures is the number of kinds of failures that a Recorder keeps, about 200 KB. The one that has not
	// occurred for the longest time is dropped first.
	MaxFailures = 200
	minutes     = 60
)

// Failure counts the failures of one kind, reason and application in the last hour.
type Failure struct {
	Kind   string    `json:"kind"`
	Reason Reason    `json:"reason"`
	Class  Class     `json:"class"`
	App    string    `json:"app"`
	Count  int       `json:"count"`
	Remote string    `json:"remote"` // address of the last client
	At     time.Time `json:"at"`     // of the last one
}

// recent keeps the failures of the last hour. A nil recent keeps nothing.
type recent struct {
	mu     sync.Mutex
	counts *simplelru.LRU[failureKey, *failureCount]
}

type failureKey struct {
	kind   string
	reason Reason
	app    string
}

type failureCount struct {
	last      Failure
	perMinute [minutes]struct {
		minute int64 // Unix time in minutes
		n      int
	}
}

func newRecent() *recent {
	counts, err := simplelru.NewLRU[failureKey, *failureCount](MaxFailures, nil)
	if err != nil {
		return nil // the size is positive
	}
	return &recent{counts: counts}
}

func (r *recent) add(e End, now time.Time) {
	if r == nil || !e.Reason.Failed() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := failureKey{e.Kind, e.Reason, e.App}
	c, known := r.counts.Get(key)
	if !known {
		c = new(failureCount)
		r.counts.Add(key, c)
	}
	c.last = Failure{Kind: e.Kind, Reason: e.Reason, Class: e.Reason.Class(), App: e.App, Remote: e.Remote, At: now}
	minute := now.Unix() / 60
	slot := &c.perMinute[minute%minutes]
	if slot.minute != minute {
		slot.minute, slot.n = minute, 0
	}
	slot.n++
}

func (r *recent) list(now time.Time) []Failure {
	all := []Failure{} // in JSON a list, not null
	if r == nil {
		return all
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.counts.Values() {
		f := c.last
		for _, slot := range c.perMinute {
			if slot.minute > now.Unix()/60-minutes {
				f.Count += slot.n
			}
		}
		if f.Count > 0 {
			all = append(all, f)
		}
	}
	return all
}
