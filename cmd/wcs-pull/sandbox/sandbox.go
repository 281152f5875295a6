// Package sandbox starts programs that reach no network: in user, network and PID namespaces of their own,
// which need no privileges where the kernel allows user namespaces. A program that has to reach the worker
// gets a socket on the loopback of its namespace that the worker serves. Such a program is started by a
// launcher, which is this binary: it makes the socket, passes it to the worker, and executes the program.
// Only cmd/wcs-pull uses it.
package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Networks of the socket between a program and the worker.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Address is where a program in a sandbox finds the worker.
const Address = "127.0.0.1:1935"

const (
	launcher       = "wcs-pull-launcher" // the name under which this binary is the launcher
	self           = "/proc/self/exe"
	firstFile      = 3 // of the extra files of a child
	launchPatience = 20 * time.Second
)

// Door is the socket of a program that is started: the worker receives it from the launcher.
type Door struct {
	worker  *net.UnixConn
	program *os.File
}

// Apply makes a command run in a sandbox. With network "" the program reaches nothing; otherwise it reaches
// the socket that the worker gets from the Door, which is to be closed.
func Apply(cmd *exec.Cmd, network string) (*Door, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// No user is mapped: the program has the rights of the worker's user for files, and no others.
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWPID
	if network == "" {
		return nil, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	d := &Door{program: os.NewFile(uintptr(pair[1]), "launcher")}
	worker := os.NewFile(uintptr(pair[0]), "worker")
	conn, err := net.FileConn(worker)
	_ = worker.Close() // conn is a copy
	if err != nil {
		_ = d.program.Close()
		return nil, err
	}
	d.worker = conn.(*net.UnixConn)
	// The files of the program keep their numbers.
	cmd.Args = append([]string{launcher, strconv.Itoa(firstFile + len(cmd.ExtraFiles)), network, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = self
	cmd.ExtraFiles = append(cmd.ExtraFiles[:len(cmd.ExtraFiles):len(cmd.ExtraFiles)], d.program)
	cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, unix.CAP_NET_ADMIN) // in its namespace, until it executes the program
	return d, nil
}

// Socket returns the socket of a program after its start: TCP listens, UDP is bound. The launcher no longer
// runs then: limits of the process cannot harm its runtime, which may need more memory than the program is
// allowed. A program that could not be executed is an error. One that connects waits until the socket is
// served.
func (d *Door) Socket() (*os.File, error) {
	_ = d.program.Close() // the launcher has it
	if err := d.worker.SetReadDeadline(time.Now().Add(launchPatience)); err != nil {
		return nil, err
	}
	text, rights := make([]byte, 200), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := d.worker.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	if err != nil || len(messages) == 0 {
		return nil, fmt.Errorf("launcher: %s", text[:n])
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(files[0]) // SCM_RIGHTS of Go's net sets it; this does not depend on it
	socket := os.NewFile(uintptr(files[0]), "socket")
	// The launcher's end is closed when it executes the program.
	if n, err := d.worker.Read(text); !errors.Is(err, io.EOF) {
		_ = socket.Close()
		return nil, errors.Join(fmt.Errorf("launcher: %s", text[:n]), err)
	}
	return socket, nil
}

// Close ends the connection to the launcher.
func (d *Door) Close() { _, _ = d.program.Close(), d.worker.Close() }

// Listen returns a socket on loopback, in the namespace of the caller, and its address.
func Listen(network string, port int) (_ *os.File, address string, err error) {
	kind := unix.SOCK_STREAM
	if network == UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, "", os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, "", os.NewSyscallError("bind", err)
	}
	if network == TCP {
		if err := unix.Listen(fd, 16); err != nil {
			return nil, "", os.NewSyscallError("listen", err)
		}
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, "", os.NewSyscallError("getsockname", err)
	}
	return f, net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*unix.SockaddrInet4).Port)), nil
}

// Available returns why programs cannot be started in a sandbox here, or nil. It tries once in a process.
var Available = sync.OnceValue(func() error {
	cmd := exec.Command(self)
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // as its users have it
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	door, err := Apply(cmd, TCP)
	if err != nil {
		return err
	}
	defer door.Close()
	cmd.Args = cmd.Args[:firstFile] // no program: the launcher ends
	if err := cmd.Start(); err != nil {
		return err
	}
	socket, err := door.Socket()
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended
	} else {
		_ = socket.Close()
	}
	return errors.Join(err, cmd.Wait())
})
