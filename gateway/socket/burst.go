package socket

import (
	"math"
	"runtime"
	"time"

	"golang.org/x/time/rate"
)

// Bursts above a client's sustained rate are read from one budget shared by all clients of the pod, so that a
// few flooding clients cannot occupy every CPU: a busy Go process polls the network only every 10 ms. A
// flooding client is slowed down from its first tenth of a second until its own burst is used up and it is
// closed. What clients send below their sustained rate has a budget too, which only many clients reach.
// While a budget is used up, the clients' addresses are served in turn (turns).
const (
	burstMessages  = 1000    // per second and processor: a few hundredths of its time
	burstBytes     = 2 << 20 // per second and processor, for the same share
	calmMessages   = 10_000  // per second and processor, of the clients that are not in a burst
	calmBytes      = 16 << 20
	mostOwed       = 10      // messages that one counts as in addition: a budget has so many at once
	burstReadSize  = 1 << 20 // bytes; a single read is never larger
	burstThreshold = 10      // traffic up to 1/burstThreshold of a second's limit is no burst
)

// A client is closed when it waits, while others wait too, for excessTime of twice that time: its burst is
// none, and it would be read in turn for as long as it likes.
const excessTime = 5 * time.Second

// newExcess returns a bucket of microseconds. It is empty after excessTime without a pause.
func newExcess() *rate.Limiter {
	return rate.NewLimiter(rate.Every(2*time.Microsecond), int((excessTime / 2).Microseconds()))
}

// burstBudget is the pod's budget.
type burstBudget struct {
	since           time.Time // of the times in buckets
	messages, bytes budget
}

func (b *burstBudget) now() time.Duration { return time.Since(b.since) }

// budget is what a pod reads a second, of messages or of bytes.
type budget struct {
	bursts *turns // of clients above the threshold
	calm   *turns // of the others
}

func newBurstBudget() *burstBudget {
	processors := runtime.GOMAXPROCS(0)
	since := time.Now()
	perSecond := func(each, burst int) *turns {
		return newTurns(since, tokenRate{float64(processors * each), float64(burst)})
	}
	return &burstBudget{
		since:    since,
		messages: budget{perSecond(burstMessages, processors*burstMessages/100), perSecond(calmMessages, processors*calmMessages/100)},
		bytes:    budget{perSecond(burstBytes, burstReadSize), perSecond(calmBytes, burstReadSize)},
	}
}

// tokenRate is the rate at which a bucket gains tokens, and how many it holds.
type tokenRate struct{ perSecond, burst float64 }

// bucket is a token bucket, as the time at which it will be full. Unlike a rate.Limiter it takes 8 bytes and
// has no lock: each of ten thousand idle clients has two, and asks both for each pong.
type bucket time.Duration

// take takes n tokens, or returns the time until there are so many.
func (b *bucket) take(now time.Duration, n int, r tokenRate) (wait time.Duration) {
	full := max(time.Duration(*b), now) + r.timeOf(float64(n))
	if wait = full - now - r.timeOf(r.burst); wait > 0 {
		return wait
	}
	*b = bucket(full)
	return 0
}

// timeOf returns the time in which a bucket gains n tokens.
func (r tokenRate) timeOf(n float64) time.Duration {
	return time.Duration(min(n/r.perSecond*float64(time.Second), math.MaxInt64/4))
}

// above reports whether the client is in a burst.
func (b *bucket) above(now time.Duration) bool {
	return time.Duration(*b)-now > time.Second/burstThreshold
}

// hold takes what the bucket gained since a time: it must not refill while the client waits for its turn, or
// many clients would be read at the rates of all of them.
func (b *bucket) hold(since, now time.Duration) {
	if time.Duration(*b) > since {
		*b += bucket(now - since)
	}
}
