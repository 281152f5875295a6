package state_test

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/state"
)

func TestMain(m *testing.M) {
	state.QuietClientLog(zerolog.Nop())
	goleak.VerifyTestMain(m)
}
