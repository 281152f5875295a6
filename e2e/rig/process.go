// Package rig starts what tests need around them: real servers as child processes on free loopback
// ports, which end with the test, and the means to stop, freeze and kill them. Only tests import it.
package rig

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	stopGrace   = 5 * time.Second       // from SIGTERM to SIGKILL
	pollEvery   = 10 * time.Millisecond // of Holds, at first
	dumpedBytes = 4 << 10               // of a process' output in the log of a failed test: the test's own messages must remain visible
)

// FreePort returns a TCP and UDP port of 127.0.0.1 without a listener. It lies outside the range from which
// Linux takes the ports of outgoing connections, so it stays free until the caller binds it, also after a
// server on it was stopped and is to come back. No other test gets it before this one has ended, in whatever
// process.
func FreePort(t testing.TB) int {
	t.Helper()
	const low, high = 10081, 32767 // 10080 is the highest port that browsers refuse to connect to
	for range 1000 {
		port := low + rand.IntN(high-low)
		release, ok := reservePort(port)
		if !ok {
			continue
		}
		free, err := portIsFree(port)
		if err != nil {
			t.Fatal(err)
		}
		if free {
			t.Cleanup(release)
			return port
		}
		release()
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}

// reservePort keeps other tests away from a port, those of other processes too. ok is false when another has
// it. The reservation is an abstract socket: it ends with the process at the latest, and leaves no file.
func reservePort(port int) (release func(), ok bool) {
	l, err := net.Listen("unix", fmt.Sprintf("@wcsgateway-test-port-%d", port))
	if err != nil {
		return nil, false
	}
	return func() { _ = l.Close() }, true // nothing was accepted
}

// portIsFree reports whether a port has no socket that keeps a server from it. It leaves none behind: a child
// that another goroutine starts has the sockets of its parent until its exec, also those that were closed. A
// socket with SO_REUSEADDR that does not listen keeps no server from its port.
func portIsFree(port int) (bool, error) {
	for _, table := range []string{"udp", "udp6"} {
		sockets, err := readSockets(table)
		if err != nil {
			return false, err
		}
		for _, s := range sockets {
			if strings.HasSuffix(s.local, fmt.Sprintf(":%04X", port)) {
				return false, nil
			}
		}
	}
	tcp, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = syscall.Close(tcp) }() // it was only bound
	if err := syscall.SetsockoptInt(tcp, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return false, err
	}
	err = syscall.Bind(tcp, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if errors.Is(err, syscall.EADDRINUSE) {
		return false, nil
	}
	return err == nil, err
}

// socket is a row of /proc/net/tcp and the like (proc_net_tcp in the kernel's documentation).
type socket struct {
	local string // address:port, in hexadecimal
	state string // 0A: listens, 01: connected
}

func readSockets(table string) (all []socket, err error) {
	text, err := os.ReadFile("/proc/net/" + table)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no IPv6
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 {
			all = append(all, socket{f[1], f[3]})
		}
	}
	return all, err
}

// bind calls a function that binds a port that was closed before, until it is free: see portIsFree.
func bind(t testing.TB, f func() error) {
	t.Helper()
	var err error
	Eventually(t, patience, "a port that was closed is free", func() bool {
		err = f()
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Process is a child process of the test. It ends with the test at the latest, and its output is in the log
// of a failed one.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed once the process has ended
	err  error         // of Wait, after done
}

// Start starts a program with arguments.
func Start(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return StartCmd(t, exec.Command(name, args...))
}

// StartCmd starts a command that has a directory or an environment of its own. Its output goes to the
// Process, unless the command sets others.
func StartCmd(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // a test that is killed leaves nothing behind
	cmd.WaitDelay = time.Second                 // a grandchild may hold the pipes open

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	t.Cleanup(p.cleanup)
	return p
}

// run keeps its thread to itself: Pdeathsig is sent when the thread that started the child ends, not the
// process.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

func (p *Process) cleanup() {
	p.Stop()
	if !p.t.Failed() {
		return
	}
	whole := filepath.Join(p.t.ArtifactDir(), fmt.Sprintf("%s-%d.log", filepath.Base(p.cmd.Path), p.PID()))
	if err := os.WriteFile(whole, []byte(p.Output()), 0o600); err != nil {
		p.t.Log(err)
	}
	p.t.Logf("end of the output of %s, which go test -artifacts keeps as %s:\n%s", p.cmd.Path, filepath.Base(whole), p.out.tail())
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the process has written so far.
func (p *Process) Output() string { return p.out.String() }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns the error of exec.Cmd.Wait.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop ends the process with SIGTERM and, when that has not helped in 5 s, with SIGKILL. It returns once
// the process is gone and may be repeated. A process that is paused is killed.
func (p *Process) Stop() {
	p.Signal(syscall.SIGTERM)
	p.Signal(syscall.SIGCONT)
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}

// Kill ends the process with SIGKILL and returns once it is gone. It may be repeated.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Pause freezes the process (SIGSTOP): its sockets stay open and nothing answers.
func (p *Process) Pause() { p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process continue.
func (p *Process) Resume() { p.Signal(syscall.SIGCONT) }

// Signal sends a signal; a process that has ended gets none.
func (p *Process) Signal(sig os.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%v to %s: %v", sig, p.cmd.Path, err)
	}
}

// Eventually waits until cond is true and fails the test when it is not within the timeout. What
// names the condition in the failure.
func Eventually(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	if !Holds(timeout, cond) {
		t.Fatalf("not within %v: %s", timeout, what)
	}
}

// Holds waits until cond is true, and reports whether it was within the timeout. Conditions that ask
// browsers, gateways or Redis keep these busy, so that what they wait for comes later. Therefore Holds pauses
// after each call for as long as the call took, or for a twentieth of the time waited if that is longer: it
// returns that much late.
func Holds(timeout time.Duration, cond func() bool) bool {
	since := time.Now()
	for {
		called := time.Now()
		if cond() {
			return true
		}
		now := time.Now()
		waited := now.Sub(since)
		if waited >= timeout {
			return false
		}
		pause := time.NewTimer(min(timeout-waited, max(pollEvery, now.Sub(called), waited/20)))
		<-pause.C
	}
}

// output collects what a process writes on its two streams.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// String is all of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) tail() string {
	s := o.String()
	return s[max(0, len(s)-dumpedBytes):]
}

// SkipShort skips a test that needs a real server or browser when the tests run with -short: `make check` is
// for an answer within two minutes, and runs the tests of our own logic only.
func SkipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real server or a browser: not run with -short")
	}
}
