package socket

import (
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
type burstBudget struct{ messages, bytes budget }

// budget is what a pod reads a second, of messages or of bytes.
type budget struct {
	bursts *turns // of clients above the threshold
	calm   *turns // of the others
}

func newBurstBudget() *burstBudget {
	processors := runtime.GOMAXPROCS(0)
	perSecond := func(each, burst int) *turns { return newTurns(rate.Limit(processors*each), burst) }
	return &burstBudget{
		messages: budget{perSecond(burstMessages, processors*burstMessages/100), perSecond(calmMessages, processors*calmMessages/100)},
		bytes:    budget{perSecond(burstBytes, burstReadSize), perSecond(calmBytes, burstReadSize)},
	}
}

// bucket is the rate limit of one client.
type bucket struct {
	*rate.Limiter         // nil: no limit
	gained        float64 // while the client waited; less than 1
}

// above reports whether the client is in a burst.
func (b *bucket) above() bool {
	return float64(b.Burst())-b.Tokens() > float64(b.Limit())/burstThreshold
}

// hold takes what the bucket gained since it had the given tokens: it must not refill while the client waits
// for its turn, or many clients would be read at the rates of all of them.
func (b *bucket) hold(tokens float64) {
	now := time.Now()
	b.gained += max(0, b.TokensAt(now)-tokens)
	n := int(b.gained)
	b.gained -= float64(n)
	b.ReserveN(now, n) // there are as many
}
