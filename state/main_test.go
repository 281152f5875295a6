package state_test

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/state"
)

func TestMain(m *testing.M) {
	state.QuietClientLog(zerolog.Nop())
	// The goroutine of a closed client that could not connect ends within a second.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
