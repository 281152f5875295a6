package source

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"wcsgateway/cmd/wcs-pull/sandbox"
)

// Limits of one ffmpeg process.
const (
	copyMemory    = 256 << 20 // of its data, in bytes, if it encodes no video
	encodeMemory  = 1 << 30
	maxFiles      = 64
	niceness      = 5    // below that of the worker, which passes packets on
	maxSourceSide = 4096 // pixels of a picture that is decoded
)

// process is a child: ffmpeg or ffprobe. It ends with its context, and with the worker in whatever way that
// ends. It has no environment but the one it is given. What it logs can contain the URL of the source, and is
// dropped.
type process struct {
	cmd    *exec.Cmd
	door   *sandbox.Door // nil without
	served io.Closer     // the socket of its sandbox, nil without
	done   chan struct{} // closed when it has ended and was waited for
	err    error         // of its end, after done
}

// command describes a child.
type command struct {
	program string
	args    []string
	env     []string
	stdin   io.Reader
	stdout  io.Writer // *os.File for a pipe that the child gets itself
	files   []*os.File
	encodes bool // video
	// network and serve are for a child that reaches the worker at the address that loopback returned.
	network string
	serve   func(socket *os.File) (io.Closer, error)
}

// loopback returns the address at which a child finds the worker over a network. In a sandbox start makes the
// socket; otherwise it is this one, which is for serveHere.
func (r *Runner) loopback(network string) (address string, socket *os.File, err error) {
	if r.config.Sandbox {
		return sandbox.Address, nil, nil
	}
	socket, address, err = sandbox.Listen(network, 0)
	return address, socket, err
}

// serveHere serves the socket of loopback, if there is one, and closes this copy of it.
func serveHere(socket *os.File, serve func(*os.File) (io.Closer, error)) error {
	if socket == nil {
		return nil
	}
	_, err := serve(socket)
	return errors.Join(err, socket.Close())
}

// start starts a child.
func (r *Runner) start(ctx context.Context, c command) (*process, error) {
	cmd := exec.CommandContext(ctx, c.program, c.args...)
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = append([]string{}, c.env...), c.stdin, c.stdout, c.files
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if r.config.Sandbox {
		var err error
		if p.door, err = sandbox.Apply(cmd, c.network); err != nil {
			return nil, err
		}
	}
	started := make(chan error)
	go p.run(started, c)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run keeps its thread to itself: Pdeathsig is sent when the thread that started the child ends, not the
// process.
func (p *process) run(started chan<- error, c command) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if err == nil {
		if err = p.prepare(c); err != nil {
			_ = p.cmd.Process.Kill() // Wait below returns
			_ = p.cmd.Wait()
		}
	}
	if p.door != nil {
		p.door.Close()
	}
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		if p.served != nil {
			_ = p.served.Close() // the server may have closed it
		}
		close(p.done)
	}
}

// prepare bounds a child that has started, and then serves the socket of its sandbox.
func (p *process) prepare(c command) error {
	var socket *os.File
	if p.door != nil {
		var err error
		if socket, err = p.door.Socket(); err != nil {
			return err
		}
		defer func() { _ = socket.Close() }() // the server has a copy
	}
	memory := uint64(copyMemory)
	if c.encodes {
		memory = encodeMemory
	}
	if err := p.limit(memory); err != nil || socket == nil {
		return err
	}
	var err error
	p.served, err = c.serve(socket)
	return err
}

// limit bounds the child's resources. memory is of its data, in bytes. One that has ended needs no limits.
func (p *process) limit(memory uint64) error {
	pid := p.cmd.Process.Pid
	for resource, value := range map[int]uint64{
		unix.RLIMIT_DATA: memory, unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_CORE: 0,
	} {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return os.NewSyscallError("prlimit", err)
		}
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("setpriority", err)
	}
	// The kernel ends a child before the worker when memory is short. Where this is not possible, it is not
	// done.
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("900"), 0)
	return nil
}

// wait returns the error of the child's end.
func (p *process) wait() error {
	<-p.done
	return p.err
}

// Protect hides the memory, the environment and the open files of this process from its children, in case a
// source takes one over: they have the secrets of the deployment. It holds unless the process is root's.
func Protect() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
