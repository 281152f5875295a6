package e2e

import (
	"flag"
	"os"
	"testing"
)

// atATime is how many tests run together unless -parallel sets another number: they mostly wait.
const atATime = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	os.Exit(m.Run())
}
