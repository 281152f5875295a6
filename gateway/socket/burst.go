package socket

import (
	"runtime"

	"golang.org/x/time/rate"
)

// Bursts above a client's sustained rate are read from one budget shared by all clients of the pod, so that a
// few flooding clients cannot occupy every CPU: a busy Go process polls the network only every 10 ms. A
// flooding client is slowed down from its first tenth of a second until its own burst is used up and it is
// closed.
const (
	burstMessages  = 1000    // per second and processor: a few hundredths of its time
	burstBytes     = 2 << 20 // per second and processor, for the same share
	burstReadSize  = 1 << 20 // bytes; a single read is never larger
	burstThreshold = 10      // traffic up to 1/burstThreshold of a second's limit is not throttled
)

// burstBudget is the pod's budget.
type burstBudget struct {
	messages, bytes *rate.Limiter
}

func newBurstBudget() *burstBudget {
	processors := runtime.GOMAXPROCS(0)
	return &burstBudget{
		messages: rate.NewLimiter(rate.Limit(processors*burstMessages), 1),
		bytes:    rate.NewLimiter(rate.Limit(processors*burstBytes), burstReadSize),
	}
}
