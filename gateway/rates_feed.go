package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"wcsgateway/state"
	"wcsgateway/translate"
)

// rates keeps the beat in which clients are told their video rates, and runs the probes.
type rates struct {
	g    *Gateway
	beat beat[seconder]

	mu      sync.Mutex
	feeds   map[translate.Identity]*feed // by publisher
	probes  int                          // running, or still leaving their room
	refused time.Time                    // when a probe was last refused for want of room
}

// seconder is a stream or a feed.
type seconder interface{ second() }

// feed is what a probe says of one publisher, here or on the publisher's pod. Nobody orders or cancels it: it lives
// while somebody wants it, and each wish holds for a while only, so that none outlives whoever had it.
type feed struct {
	// set once
	rates     *rates
	publisher translate.Identity
	room      translate.RoomName
	leave     func() // its place in the beat

	// rates.mu
	pod     string               // that has the publisher, and so the probe; "" is this one, also for native publishers
	wanted  time.Time            // until when streams of this pod want it
	pods    map[string]time.Time // until when other pods want it
	figures translate.VideoFigures
	came    time.Time            // the figures; zero before the first
	again   time.Time            // not before then is the pod asked, or a probe started
	cancel  context.CancelFunc   // of the probe; nil without one
	waiting bool                 // there are too many probes
	hearers map[*stream]struct{} // of this pod, that data in the room is for
	chatter *rate.Limiter        // of the data; set with the first hearer
}

const (
	wantHere   = 3 * time.Second // a stream says each second that it wants figures
	wantEvery  = 3 * time.Second // between saying so to another pod
	wantThere  = 10 * time.Second
	figuresAge = 2500 * time.Millisecond // figures come each second; one may be late, or lost on the way to another pod
	probeRetry = 5 * time.Second         // the publisher was not there, which its pod finds out by itself
	limitPause = time.Minute             // refusals that are no further apart are reported once
)

func newRates(g *Gateway) *rates {
	return &rates{g: g, beat: beat[seconder]{interval: rateInterval, do: seconder.second}, feeds: make(map[translate.Identity]*feed)}
}

// figures gives the latest figures of a publisher and when they came, which may be long ago, or never. It sees to it that
// there will be some for the next seconds.
func (r *rates) figures(publisher translate.Identity, pod string, room translate.RoomName) (v translate.VideoFigures, came time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pod == r.g.cfg.Pod {
		pod = ""
	}
	f := r.feed(publisher, pod, room)
	f.wanted = time.Now().Add(wantHere)
	return f.figures, f.came
}

// wantedBy notes that another pod wants the figures of a publisher of this one.
func (r *rates) wantedBy(pod string, publisher translate.Identity, room translate.RoomName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.feed(publisher, "", room)
	if f.pods == nil {
		f.pods = make(map[string]time.Time)
	}
	f.pods[pod] = time.Now().Add(wantThere)
}

// feed gives the feed of a publisher that a pod has; "" is this one. It needs mu. A new one does something at its first beat.
func (r *rates) feed(publisher translate.Identity, pod string, room translate.RoomName) *feed {
	f := r.feeds[publisher]
	if f == nil {
		f = &feed{rates: r, publisher: publisher, room: room}
		r.feeds[publisher] = f
		f.leave = r.beat.add(f)
	}
	if pod != f.pod && f.cancel != nil { // the publisher's session was resumed elsewhere
		f.cancel()
	}
	f.pod = pod
	return f
}

// publisherGone ends the probe of a publisher of this pod.
func (r *rates) publisherGone(publisher translate.Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.feeds[publisher]; f != nil {
		f.drop()
	}
}

// told takes figures from the pod that has the probe.
func (r *rates) told(e state.Event) {
	var v translate.VideoFigures
	if err := json.Unmarshal(e.Body, &v); err != nil {
		r.g.log.Error().Err(err).Msg("a pod of another version sent figures that cannot be read")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.feeds[translate.Identity(e.Identity)]; f != nil && f.pod == e.From {
		f.figures, f.came = v, time.Now()
	}
}

// second runs on the beat.
func (f *feed) second() {
	r, now := f.rates, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(f.pods, func(_ string, until time.Time) bool { return now.After(until) })
	switch {
	case r.feeds[f.publisher] != f: // dropped in this moment
	case !f.measured(now) && len(f.hearers) == 0:
		f.drop()
	case now.Before(f.again):
	case f.pod != "":
		f.again = now.Add(wantEvery)
		f.tell([]string{f.pod}, state.Event{Kind: state.EventWantRates, Room: string(f.room), Identity: string(f.publisher)})
	case f.cancel == nil:
		f.start()
	}
}

// measured tells whether anybody wants figures. It needs mu.
func (f *feed) measured(now time.Time) bool { return !now.After(f.wanted) || len(f.pods) > 0 }

// idle tells that nobody wants figures.
func (f *feed) idle() bool {
	f.rates.mu.Lock()
	defer f.rates.mu.Unlock()
	return !f.measured(time.Now())
}

// tell does not wait for Redis.
func (f *feed) tell(pods []string, e state.Event) {
	g := f.rates.g
	go func() {
		defer g.recovered()
		ctx, cancel := g.withTimeout(g.cfg.Media.StoreTimeout)
		defer cancel()
		g.tell(ctx, pods, e)
	}()
}

// start needs mu and runs on the beat only, which ends before the gateway waits for its probes.
func (f *feed) start() {
	r := f.rates
	if r.probes >= r.g.cfg.Rates.MaxProbes {
		f.refuse()
		return
	}
	f.setWaiting(false)
	r.count(+1)
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(r.g.ctx)
	r.g.work.Go(func() { f.probe(ctx) })
}

// refuse leaves the feed without a probe until there is room for one. It needs mu.
func (f *feed) refuse() {
	f.setWaiting(true)
	r := f.rates
	if time.Since(r.refused) > limitPause {
		r.g.log.Warn().Int("probes", r.probes).Msg("no more probes than rates.maxProbes: some streams are told no video rates, or nothing of native participants' data")
	}
	r.refused = time.Now()
}

func (f *feed) setWaiting(waiting bool) {
	if f.waiting == waiting {
		return
	}
	f.waiting = waiting
	gauge := f.rates.g.metrics.probes.WithLabelValues("waiting")
	if waiting {
		gauge.Inc()
	} else {
		gauge.Dec()
	}
}

// drop needs mu.
func (f *feed) drop() {
	delete(f.rates.feeds, f.publisher)
	f.leave()
	f.setWaiting(false)
	if f.cancel != nil {
		f.cancel()
	}
}

// probe is a goroutine that lives as long as the probe does.
func (f *feed) probe(ctx context.Context) {
	g := f.rates.g
	defer f.probed()
	defer g.recovered()
	target := translate.ProbeTarget{
		Room: f.room, Identity: g.newIdentity(translate.RoleProbe), Publisher: f.publisher, Hear: f.hear, Idle: f.idle,
	}
	err := g.deps.Prober.Probe(ctx, target, f.report)
	if ctx.Err() == nil {
		g.log.Info().Err(err).Str("room", string(f.room)).Str("identity", string(f.publisher)).Msg("probe ended")
	}
}

func (f *feed) probed() {
	r := f.rates
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(-1)
	f.cancel()
	f.cancel = nil
	f.again = time.Now().Add(probeRetry)
}

func (r *rates) count(by int) {
	r.probes += by
	r.g.metrics.probes.WithLabelValues("running").Set(float64(r.probes))
}

// report takes what the probe has measured in the last second.
func (f *feed) report(v translate.VideoFigures) {
	r := f.rates
	r.mu.Lock()
	f.figures, f.came = v, time.Now()
	pods := slices.Collect(maps.Keys(f.pods))
	r.mu.Unlock()

	if len(pods) == 0 {
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		r.g.log.Error().Err(err).Msg("figures for other pods cannot be written")
		return
	}
	f.tell(pods, state.Event{Kind: state.EventRates, Identity: string(f.publisher), Body: body})
}

// ratesWanted hears that another pod wants the figures of a stream that is published here.
func (g *Gateway) ratesWanted(e state.Event) {
	st := g.streams.find(translate.Identity(e.Identity))
	if st == nil || !st.published {
		return // has ended; the players are told so
	}
	st.sess.loop.post(func() {
		if st.ending == nil && st.phase == phaseUp {
			g.rates.wantedBy(e.From, st.identity, st.room)
		}
	})
}
