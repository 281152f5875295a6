package attacks

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// role selects another program in the test binary: an attacker, which must not share a process with the
// clients whose answer times are measured, or the control.
const (
	role         = "ATTACKS_ROLE"
	roleAttacker = "attacker"
	roleBurner   = "burner"
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case roleAttacker:
		os.Exit(runAttacker())
	case roleBurner:
		os.Exit(runBurner())
	}
	goleak.VerifyTestMain(m)
}
