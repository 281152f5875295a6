package ends

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"wcsgateway/translate/wcs"
)

const (
	// MaxStreams is the number of published streams that a Recorder keeps, about 1 KB each, and 6 KB with an hour
	// of quality. The one without news for the longest time is dropped first.
	MaxStreams = 2000
	// QualityStep is the time between two samples of a stream's quality.
	QualityStep = 10 * time.Second
	// MaxQuality is the number of samples of a stream: an hour. The oldest is dropped first.
	MaxQuality = 360
	maxHooks   = 20 // of a stream
)

// Stream names a stream. Clients choose media ids, which are unique in their session.
type Stream struct {
	Session string `json:"session"`
	MediaID string `json:"mediaId"`
}

// Record is what operators are shown of a published stream, also after its end.
type Record struct {
	Stream
	Quality []Quality `json:"quality"` // the oldest first
	Hooks   []Hook    `json:"hooks"`   // called for the stream, the last call last
	Ended   *Ended    `json:"ended"`   // nil while it runs
}

// Ended is how a stream ended.
type Ended struct {
	Name   string     `json:"name"`
	App    string     `json:"app"`
	Status wcs.Status `json:"status"` // the last one that the client was sent
	Info   string     `json:"info"`
	Reason Reason     `json:"reason"`
	Class  Class      `json:"class"` // of Reason
	At     time.Time  `json:"at"`
}

// Hook describes the calls of one hook.
type Hook struct {
	Method string        `json:"method"`
	Count  int           `json:"count"`
	At     time.Time     `json:"at"`     // the end of the last call
	Took   time.Duration `json:"took"`   // the last call
	Failed bool          `json:"failed"` // the last call
}

// Quality is the quality of a stream's video in one QualityStep.
type Quality struct {
	At   int32 `json:"at"`   // Unix time in QualityStep
	Kbps int32 `json:"kbps"` // the mean
	FPS  int32 `json:"fps"`  // the last
	Lost int32 `json:"lost"` // packets
}

// streams keeps records. A nil streams keeps nothing.
type streams struct {
	mu      sync.Mutex
	records *simplelru.LRU[Stream, *record]
}

type record struct {
	Record
	kbps, samples int64 // in the last step
	lost          int   // since the start of the stream
}

func newStreams() *streams {
	records, err := simplelru.NewLRU[Stream, *record](MaxStreams, nil)
	if err != nil {
		return nil // the size is positive
	}
	return &streams{records: records}
}

// change passes the record of a stream to f. create makes it if it does not exist.
func (s *streams) change(of Stream, create bool, f func(*record)) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.records.Get(of)
	if !known {
		if !create {
			return
		}
		r = &record{Record: Record{Stream: of, Quality: []Quality{}, Hooks: []Hook{}}}
		s.records.Add(of, r)
	}
	f(r)
}

// Called records the end of a hook's call, which began at since. body is what was sent. Only hooks of
// published streams are kept.
func (r *Recorder) Called(session, method string, body map[string]json.RawMessage, since time.Time, err error) {
	if r.streams == nil {
		return
	}
	of, published := Stream{Session: session}, false
	_ = json.Unmarshal(body["published"], &published) // hooks that are not about a stream have none
	if json.Unmarshal(body["mediaSessionId"], &of.MediaID) != nil || of.MediaID == "" {
		return
	}
	r.streams.change(of, published, func(r *record) {
		h := Hook{Method: method, Count: 1, At: time.Now(), Took: time.Since(since), Failed: err != nil}
		if i := slices.IndexFunc(r.Hooks, func(old Hook) bool { return old.Method == method }); i >= 0 {
			h.Count += r.Hooks[i].Count
			r.Hooks = slices.Delete(r.Hooks, i, i+1)
		}
		r.Hooks = append(r.Hooks[max(0, len(r.Hooks)+1-maxHooks):], h)
	})
}

// Measured records the figures of a stream of the last second.
func (r *Recorder) Measured(of Stream, kind string, f wcs.VideoFigures) {
	if kind == Publish {
		r.streams.change(of, true, func(r *record) { r.measured(f, time.Now()) })
	}
}

func (r *record) measured(f wcs.VideoFigures, now time.Time) {
	at := int32(now.UnixMilli() / QualityStep.Milliseconds())
	if n := len(r.Quality); n == 0 || r.Quality[n-1].At != at {
		r.kbps, r.samples = 0, 0
		r.Quality = append(r.Quality[max(0, n+1-MaxQuality):], Quality{At: at})
	}
	r.kbps, r.samples = r.kbps+f.Rate/1000, r.samples+1
	last := &r.Quality[len(r.Quality)-1]
	last.Kbps, last.FPS = int32(r.kbps/r.samples), int32(f.FPS)
	last.Lost += int32(max(0, f.Lost-r.lost)) // a new source begins at 0
	r.lost = f.Lost
}

// Keep records the end of a stream, unless another pod has taken the stream. e needs no class and no time.
func (r *Recorder) Keep(of Stream, kind string, e Ended) {
	if kind == Publish && e.Reason != HandedOver {
		e.Class, e.At = e.Reason.Class(), time.Now()
		r.streams.change(of, true, func(r *record) { r.Ended = &e })
	}
}

// Stream returns the record of a published stream of this pod, or nil without one. Without a session it is
// the last one with the media id.
func (r *Recorder) Stream(of Stream) (found *Record) {
	s := r.streams
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.records.Values() { // the latest news last
		if one.MediaID == of.MediaID && (of.Session == "" || of.Session == one.Session) {
			found = one.copy()
		}
	}
	return found
}

// LastEnded returns the published streams that ended last, the last one first, without quality and hooks.
func (r *Recorder) LastEnded(limit int) []Record {
	list := []Record{} // in JSON a list, not null
	s := r.streams
	if s == nil {
		return list
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.records.Values() {
		if one.Ended != nil {
			list = append(list, Record{Stream: one.Stream, Ended: one.Ended})
		}
	}
	slices.SortFunc(list, func(a, b Record) int { return cmp.Compare(b.Ended.At.UnixNano(), a.Ended.At.UnixNano()) })
	return list[:min(limit, len(list))]
}

func (r *record) copy() *Record {
	c := r.Record
	c.Quality, c.Hooks = slices.Clone(c.Quality), slices.Clone(c.Hooks)
	return &c
}
