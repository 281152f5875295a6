package attacks

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// role makes the test binary something else: an attacker, who must not share a process with those whose
// answer times are measured, or the server that attackers are compared with.
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
