package attacks

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// role selects another program in the test binary: an attacker, which must not share a process with the
// clients whose answer times are measured, or the minimal server for comparison.
const (
	role         = "ATTACKS_ROLE"
	roleAttacker = "attacker"
	roleLean     = "lean server"
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case roleAttacker:
		os.Exit(runAttacker())
	case roleLean:
		os.Exit(runLean())
	}
	goleak.VerifyTestMain(m)
}
