package sandbox

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A process that Apply started is the launcher, in whatever binary this package is, and never comes to main.
func init() { //nolint:gochecknoinits // a test or a command that forgot a call would start itself again and again
	if len(os.Args) == 0 || os.Args[0] != launcher {
		return
	}
	control, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	unix.CloseOnExec(control)
	if err := launch(control, os.Args[2], os.Args[3:]); err != nil {
		_ = unix.Sendmsg(control, []byte(err.Error()), nil, nil, 0) // the worker may have ended
		os.Exit(1)
	}
	os.Exit(0)
}

// launch passes the socket to the worker and executes the program, if there is one.
func launch(control int, network string, program []string) error {
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	_, port, err := net.SplitHostPort(Address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	socket, _, err := Listen(network, number)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(control, []byte("socket"), unix.UnixRights(int(socket.Fd())), nil, 0); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if len(program) == 0 {
		return nil
	}
	return os.NewSyscallError("execve", unix.Exec(program[0], program, os.Environ()))
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}

// dropCapabilities leaves none to the program, and none to what it executes. init runs on the thread that
// executes the program.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return os.NewSyscallError("capset", unix.Capset(&header, &none[0]))
}
