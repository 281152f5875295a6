package state_test

import (
	"flag"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/state"
)

// atATime is how many tests run together unless -parallel sets another number: most wait for leases to end.
const atATime = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	state.QuietClientLog(zerolog.Nop())
	// The goroutine of a closed client that could not connect ends within a second.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
