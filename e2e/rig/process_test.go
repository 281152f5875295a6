package rig

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFreePortCanBeBoundTwice(t *testing.T) {
	addr := "127.0.0.1:" + strconv.Itoa(FreePort(t))
	for range 2 {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A child has the sockets of its parent until its exec.
func TestFreePortIsFreeWhileProcessesStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var starts sync.WaitGroup
	defer starts.Wait()
	defer cancel()
	for range 4 {
		starts.Go(func() {
			for ctx.Err() == nil {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(FreePort(t)))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // nothing was accepted
	}
}

func TestFreePortIsReservedUntilTestEnds(t *testing.T) {
	port := 0
	t.Run("holder", func(t *testing.T) {
		port = FreePort(t)
		if release, ok := reservePort(port); ok {
			release()
			t.Errorf("port %d can be reserved twice", port)
		}
	})
	release, ok := reservePort(port)
	if !ok {
		t.Fatalf("port %d is reserved although its test has ended", port)
	}
	release()
}

func TestProcessReportsOutputAndEnd(t *testing.T) {
	p := Start(t, "sh", "-c", "echo one; echo two >&2; exit 3")
	err := p.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("Wait gives %v, want exit status 3", err)
	}
	if out := p.Output(); !strings.Contains(out, "one\n") || !strings.Contains(out, "two\n") {
		t.Errorf("output is %q", out)
	}
	p.Stop() // of one that has ended
	p.Kill()
}

func TestProcessStopKillsOneThatIgnoresSIGTERM(t *testing.T) {
	p := Start(t, "sh", "-c", "trap '' TERM; echo ready; exec sleep 60")
	Eventually(t, 10*time.Second, "the trap is set", func() bool { return strings.Contains(p.Output(), "ready") })
	p.Stop()
	select {
	case <-p.Done():
	default:
		t.Error("the process is still there after Stop")
	}
}

func TestProcessPauseAndResume(t *testing.T) {
	p := Start(t, "sh", "-c", "exec sleep 60")
	p.Pause()
	Eventually(t, 10*time.Second, "stopped", func() bool { return processState(t, p) == "T" })
	p.Resume()
	Eventually(t, 10*time.Second, "running", func() bool { return processState(t, p) != "T" })
	p.Pause()
	p.Stop()
}

// processState is the letter that the kernel shows for the process.
func processState(t *testing.T, p *Process) string {
	t.Helper()
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(p.PID())).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
