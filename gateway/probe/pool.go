// Package probe measures published streams with probes: hidden participants that receive a stream's media and
// report its figures once a second. It owns the probes of this pod and the figures that arrive from probes of
// other pods. Streams ask the Pool for figures, and subscribe to the data messages that probes receive.
package probe

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Prober measures the media that LiveKit sends to the players of a stream.
type Prober interface {
	// Probe joins the target's room as a hidden participant and reports once a second what it received in that
	// second. It does not report while nothing can be measured. It returns nil when ctx is done, and an error
	// when the publisher left or the connection failed.
	Probe(ctx context.Context, target translate.ProbeTarget, report func(translate.VideoFigures)) error
}

// Ticker is called back once a second (Deps.Schedule).
type Ticker interface{ Tick() }

// Metrics are the figures of a Pool.
type Metrics struct {
	Probes *prometheus.GaugeVec   // state: running, waiting
	Data   *prometheus.CounterVec // result: one of the Data constants
}

// Deps are the dependencies of a Pool.
type Deps struct {
	Prober Prober
	// Send sends an event to other pods. It may block until Redis answers.
	Send func(pods []string, e state.Event)
	// Schedule has a Ticker called once a second, until leave is called. Tick must not block.
	Schedule func(Ticker) (leave func())
	// CheckPayload reports an error for a data message that is larger than allowed.
	CheckPayload func(json.RawMessage) error
	// NewIdentity returns the identity of a new probe.
	NewIdentity func() translate.Identity
	// Go runs f in a goroutine that the gateway waits for when it shuts down.
	Go func(f func())
	// Recovered is deferred by each goroutine of the Pool: it handles a panic.
	Recovered func()
	Pod       string // the id of this pod
	MaxProbes int
	Context   context.Context // ends all probes
	Metrics   *Metrics
	Log       zerolog.Logger
}

// Pool runs the probes of this pod, and keeps the figures of all publishers that a stream of this pod needs.
// It is safe for concurrent use.
type Pool struct {
	d Deps

	mu       sync.Mutex
	feeds    map[translate.Identity]*feed // by publisher
	probes   int                          // running, or still leaving their room
	rejected time.Time                    // when a probe was last rejected because of MaxProbes
}

// feed holds the figures of one publisher, measured on this pod or on the publisher's pod. Feeds are not
// cancelled explicitly: a feed ends when no request for it has been made for a while, so that none outlives
// its requester.
type feed struct {
	// set once
	pool      *Pool
	publisher translate.Identity
	room      translate.RoomName
	leave     func() // ends Tick

	// guarded by Pool.mu
	pod         string               // with the publisher, and so with the probe; "" is this one, also for native publishers
	wanted      time.Time            // until then, streams of this pod want figures
	pods        map[string]time.Time // until then, other pods want figures
	figures     translate.VideoFigures
	came        time.Time             // when figures arrived; zero before the first
	retryAt     time.Time             // no request to the pod, and no new probe, before then
	cancel      context.CancelFunc    // of the probe; nil without one
	waiting     bool                  // MaxProbes are running
	subscribers map[Listener]struct{} // to data messages in the room
	dataLimit   *rate.Limiter         // of data messages; set with the first subscriber
}

// MaxAge is the age up to which figures are current: they arrive each second, and one message may be late, or
// lost on the way from another pod.
const MaxAge = 2500 * time.Millisecond

// Times for which a request for figures holds. Streams of this pod repeat it each second.
const (
	LocalRequest  = 3 * time.Second
	RemoteRequest = 10 * time.Second
)

const (
	requestInterval = 3 * time.Second // between requests to another pod
	retryInterval   = 5 * time.Second // before the next probe: if the publisher left, its pod finds that out itself
	limitPause      = time.Minute     // rejections that are no further apart are logged once
)

// New returns a Pool without probes.
func New(d Deps) *Pool { return &Pool{d: d, feeds: make(map[translate.Identity]*feed)} }

// Figures returns the latest figures of a publisher on the given pod, and when they arrived: that may be long
// ago, or zero. The call also requests figures for the next LocalRequest.
func (p *Pool) Figures(publisher translate.Identity, pod string, room translate.RoomName) (v translate.VideoFigures, came time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pod == p.d.Pod {
		pod = ""
	}
	f := p.feed(publisher, pod, room)
	f.wanted = time.Now().Add(LocalRequest)
	return f.figures, f.came
}

// RequestedBy records that another pod wants the figures of a publisher of this pod.
func (p *Pool) RequestedBy(pod string, publisher translate.Identity, room translate.RoomName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.feed(publisher, "", room)
	if f.pods == nil {
		f.pods = make(map[string]time.Time)
	}
	f.pods[pod] = time.Now().Add(RemoteRequest)
}

// PublisherGone ends the probe of a publisher of this pod.
func (p *Pool) PublisherGone(publisher translate.Identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.feeds[publisher]; f != nil {
		f.drop()
	}
}

// OnFigures takes figures from the pod that runs the probe.
func (p *Pool) OnFigures(e state.Event) {
	var v translate.VideoFigures
	if err := json.Unmarshal(e.Body, &v); err != nil {
		p.d.Log.Error().Err(err).Str("pod", e.From).Str("hint", "pods of different versions").Msg("unreadable figures from another pod")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.feeds[translate.Identity(e.Identity)]; f != nil && f.pod == e.From {
		f.figures, f.came = v, time.Now()
	}
}

// feed returns the feed of a publisher; pod "" is this one. It needs mu. A new feed starts its probe at its
// first Tick.
func (p *Pool) feed(publisher translate.Identity, pod string, room translate.RoomName) *feed {
	f := p.feeds[publisher]
	if f == nil {
		f = &feed{pool: p, publisher: publisher, room: room}
		p.feeds[publisher] = f
		f.leave = p.d.Schedule(f)
	}
	if pod != f.pod && f.cancel != nil { // the publisher's session was resumed elsewhere
		f.cancel()
	}
	f.pod = pod
	return f
}

// Tick implements Ticker.
func (f *feed) Tick() {
	p, now := f.pool, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(f.pods, func(_ string, until time.Time) bool { return now.After(until) })
	switch {
	case p.feeds[f.publisher] != f: // dropped concurrently
	case !f.measured(now) && len(f.subscribers) == 0:
		f.drop()
	case now.Before(f.retryAt):
	case f.pod != "":
		f.retryAt = now.Add(requestInterval)
		p.send([]string{f.pod}, state.Event{Kind: state.EventWantRates, Room: string(f.room), Identity: string(f.publisher)})
	case f.cancel == nil:
		f.start()
	}
}

// measured reports whether figures are requested. It needs mu.
func (f *feed) measured(now time.Time) bool { return !now.After(f.wanted) || len(f.pods) > 0 }

// idle reports whether the probe's figures are not needed.
func (f *feed) idle() bool {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	return !f.measured(time.Now())
}

// send does not wait for Redis.
func (p *Pool) send(pods []string, e state.Event) {
	go func() {
		defer p.d.Recovered()
		p.d.Send(pods, e)
	}()
}

// start needs mu. It is called from Tick only: no Tick runs when the gateway begins to wait for its probes.
func (f *feed) start() {
	p := f.pool
	if p.probes >= p.d.MaxProbes {
		f.reject()
		return
	}
	f.setWaiting(false)
	p.count(+1)
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(p.d.Context)
	p.d.Go(func() { f.run(ctx) })
}

// reject leaves the feed without a probe until another one ends. It needs mu.
func (f *feed) reject() {
	f.setWaiting(true)
	p := f.pool
	if time.Since(p.rejected) > limitPause {
		p.d.Log.Warn().Int("probes", p.probes).Str("hint", "rates.maxProbes: some clients get no video rates or no data of native participants").
			Msg("probe limit reached")
	}
	p.rejected = time.Now()
}

func (f *feed) setWaiting(waiting bool) {
	if f.waiting == waiting {
		return
	}
	f.waiting = waiting
	gauge := f.pool.d.Metrics.Probes.WithLabelValues("waiting")
	if waiting {
		gauge.Inc()
	} else {
		gauge.Dec()
	}
}

// drop needs mu.
func (f *feed) drop() {
	delete(f.pool.feeds, f.publisher)
	f.leave()
	f.setWaiting(false)
	if f.cancel != nil {
		f.cancel()
	}
}

// run runs one probe until it ends.
func (f *feed) run(ctx context.Context) {
	d := &f.pool.d
	defer f.ended()
	defer d.Recovered()
	target := translate.ProbeTarget{
		Room: f.room, Identity: d.NewIdentity(), Publisher: f.publisher, OnData: f.onData, Idle: f.idle,
	}
	err := d.Prober.Probe(ctx, target, f.report)
	if ctx.Err() == nil {
		d.Log.Info().Err(err).Str("room", string(f.room)).Str("identity", string(f.publisher)).Msg("probe ended")
	}
}

func (f *feed) ended() {
	p := f.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(-1)
	f.cancel()
	f.cancel = nil
	f.retryAt = time.Now().Add(retryInterval)
}

func (p *Pool) count(by int) {
	p.probes += by
	p.d.Metrics.Probes.WithLabelValues("running").Set(float64(p.probes))
}

// report takes the figures of the last second from the probe.
func (f *feed) report(v translate.VideoFigures) {
	p := f.pool
	p.mu.Lock()
	f.figures, f.came = v, time.Now()
	pods := slices.Collect(maps.Keys(f.pods))
	p.mu.Unlock()

	if len(pods) == 0 {
		return
	}
	body, err := wcs.Encode(v)
	if err != nil {
		p.d.Log.Error().Err(err).Msg("figures not encoded")
		return
	}
	p.send(pods, state.Event{Kind: state.EventRates, Identity: string(f.publisher), Body: body})
}
