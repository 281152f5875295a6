// Package faults makes things fail under real gateways, LiveKit and Redis, and checks what must hold
// (docs/architecture.md#failures): nothing is left over, and every client is notified once.
package faults

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// atATime is how many tests run together unless -parallel sets another number: they mostly wait.
const atATime = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	goleak.VerifyTestMain(m)
}
