package source

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of one ffmpeg process.
const (
	maxMemory     = 1 << 30 // of its data, in bytes: a transcoding 1080p decoder needs 200 MB
	maxFiles      = 64
	niceness      = 5    // below that of the worker, which passes packets on
	maxSourceSide = 4096 // pixels of a picture that is decoded
)

// process is a child: ffmpeg or ffprobe. It ends with its context, and with the worker in whatever way that
// ends. It has no environment but the one it is given. What it logs can contain the URL of the source, and is
// dropped.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
	err  error         // of its end, after done
}

// command describes a child.
type command struct {
	program string
	args    []string
	env     []string
	stdin   io.Reader
	stdout  io.Writer // *os.File for a pipe that the child gets itself
	files   []*os.File
}

// start starts a child.
func start(ctx context.Context, c command) (*process, error) {
	cmd := exec.CommandContext(ctx, c.program, c.args...)
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = c.env, c.stdin, c.stdout, c.files
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run keeps its thread to itself: Pdeathsig is sent when the thread that started the child ends, not the
// process.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if err == nil {
		err = p.limit()
		if err != nil {
			_ = p.cmd.Process.Kill() // Wait below returns
			_ = p.cmd.Wait()
		}
	}
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

// limit bounds the child's resources. A child that has ended already needs none.
func (p *process) limit() error {
	pid := p.cmd.Process.Pid
	for resource, value := range map[int]uint64{
		unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_CORE: 0,
	} {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return os.NewSyscallError("prlimit", err)
		}
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("setpriority", err)
	}
	return nil
}

// wait returns the error of the child's end.
func (p *process) wait() error {
	<-p.done
	return p.err
}
