package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// buildProgram puts a program into bin/ of the module and returns its path; go build itself decides whether
// there is anything to do. Once per test process is enough, the module does not change under it.
func buildProgram(name string, args ...string) (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(bin, "."+name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	program := filepath.Join(bin, name)
	build := exec.Command("go", append([]string{"build", "-o", program}, args...)...)
	build.Dir, build.Env = root, os.Environ()
	if !slices.Contains(args, "-race") { // as make test compiles it
		build.Args = slices.Insert(build.Args, 2, "-trimpath")
		build.Env = append(build.Env, "CGO_ENABLED=0")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return program, nil
}

// BuildBench builds the load client and returns its path.
func BuildBench() (string, error) { return buildProgram("wcs-bench", "./cmd/wcs-bench") }

// BuildDoctor builds the program that examines transcripts and returns its path.
func BuildDoctor() (string, error) { return buildProgram("wcs-doctor", "./cmd/wcs-doctor") }

// lockFile waits for an exclusive lock, which ends with the process at the latest: test binaries of several
// packages run at the same time.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil // closing releases the lock
}
