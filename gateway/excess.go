package gateway

import (
	"runtime"

	"golang.org/x/time/rate"
)

// Excess is what clients send faster than they may in the long run, as their bursts allow. All of them together share what the pod
// reads of it: a client that floods is held back, from its first tenth of a second on until its burst is used up and it is closed, and so
// leaves processors free. Without that a few would keep all of them busy, and a busy Go process looks only every 10 ms for what others
// have sent.
const (
	excessMessages = 1000    // a second and processor: some hundredths of its time
	excessBytes    = 2 << 20 // a second and processor, likewise
	excessBurst    = 1 << 20 // bytes; more is never read at a time
	allowance      = 10      // that part of a second's messages or bytes is no excess
)

// excess bounds it for the pod.
type excess struct {
	messages, bytes *rate.Limiter
}

func newExcess() *excess {
	processors := runtime.GOMAXPROCS(0)
	return &excess{
		messages: rate.NewLimiter(rate.Limit(processors*excessMessages), 1),
		bytes:    rate.NewLimiter(rate.Limit(processors*excessBytes), excessBurst),
	}
}
