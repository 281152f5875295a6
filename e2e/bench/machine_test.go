package bench

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
)

// machine describes where and with what a run was measured.
func machine(b *testing.B) string {
	b.Helper()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		b.Fatal(err)
	}
	processors, err := fs.CPUInfo()
	if err != nil {
		b.Fatal(err)
	}
	memory, err := fs.Meminfo()
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("%d × %s, %d MiB, %s %s; %s; livekit-server %s; %s; commit %s",
		len(processors), processors[0].ModelName, *memory.MemTotalBytes>>20, output(b, "uname", "-sr"), runtime.GOARCH,
		runtime.Version(), output(b, "go", "list", "-m", "-f", "{{.Version}}", "github.com/livekit/livekit-server"), output(b, "redis-server", "--version"),
		output(b, "git", "describe", "--always", "--dirty"))
}

// load returns the load averages of 1 and 5 minutes.
func load(b *testing.B) string {
	b.Helper()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		b.Fatal(err)
	}
	l, err := fs.LoadAvg()
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("%.1f, %.1f", l.Load1, l.Load5)
}

// output is the first line that a command prints.
func output(b *testing.B, command ...string) string {
	b.Helper()
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		b.Fatalf("%s: %v", command, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
