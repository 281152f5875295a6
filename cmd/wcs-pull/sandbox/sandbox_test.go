package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// probe makes this binary the program in the sandbox: it tries addresses of the variable.
const probe = "WCS_PULL_TEST_ADDRESSES"

func TestMain(m *testing.M) {
	if text := os.Getenv(probe); text != "" {
		report(strings.Fields(text))
		return
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // as the worker is
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// report writes what the program can do.
func report(addresses []string) {
	for _, a := range addresses {
		network, address, _ := strings.Cut(a, "/")
		conn, err := net.DialTimeout(network, address, 3*time.Second)
		if err == nil && network == "udp" {
			_, err = conn.Write([]byte("hello"))
		}
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			answer := make([]byte, 5)
			_, err = io.ReadFull(conn, answer)
		}
		fmt.Println(a, err == nil)
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Cap") && !strings.HasPrefix(line, "CapBnd") || strings.HasPrefix(line, "NoNewPrivs") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	// Ways out.
	fmt.Println("down", raiseLoopback() == nil)
	fmt.Println("join", joinHost() == nil)
	_, err := os.ReadFile(fmt.Sprintf("/proc/%s/environ", os.Getenv("HOST_PID")))
	fmt.Println("environ", err == nil)
	fmt.Println("pid", os.Getpid())
}

// joinHost tries to enter the network of the host.
func joinHost() error {
	f, err := os.Open(fmt.Sprintf("/proc/%s/ns/net", os.Getenv("HOST_PID")))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// required fails a test where the kernel allows no sandbox: it is to be known that nothing was tested.
func required(t *testing.T) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("no sandbox here: %v", err)
	}
}

// greet sends "hello" to each client of a TCP listener and to what comes by UDP.
func greet(t *testing.T, l net.Listener, pc net.PacketConn) {
	t.Helper()
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for l != nil {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 100)
		for pc != nil {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		if l != nil {
			_ = l.Close()
		}
		if pc != nil {
			_ = pc.Close()
		}
		<-done
		<-done
	})
}

func TestProgramReachesTheWorkerAlone(t *testing.T) {
	required(t)
	host, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	hostUDP, err := net.ListenPacket("udp", host.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	greet(t, host, hostUDP)
	_, port, err := net.SplitHostPort(host.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	outside := []string{"tcp/127.0.0.1:" + port, "udp/127.0.0.1:" + port}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP; ip.To4() != nil && !ip.IsLoopback() {
			outside = append(outside, fmt.Sprintf("tcp/%s:%s", ip, port))
		}
	}
	for _, network := range []string{"", TCP, UDP} {
		t.Run("network "+network, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			inside := TCP + "/" + Address
			if network != "" {
				inside = network + "/" + Address
			}
			cmd.Env = []string{probe + "=" + strings.Join(append(outside, inside), " "), fmt.Sprintf("HOST_PID=%d", os.Getpid())}
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			door, err := Apply(cmd, network)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if door != nil {
				defer door.Close()
				socket, err := door.Socket()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = socket.Close() }()
				if network == TCP {
					l, err := net.FileListener(socket)
					if err != nil {
						t.Fatal(err)
					}
					greet(t, l, nil)
				} else {
					pc, err := net.FilePacketConn(socket)
					if err != nil {
						t.Fatal(err)
					}
					greet(t, nil, pc)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, out.String())
			}
			want := map[string]bool{inside: network != ""}
			for _, a := range outside {
				want[a] = false
			}
			for a, reached := range want {
				if !strings.Contains(out.String(), fmt.Sprintf("%s %v\n", a, reached)) {
					t.Errorf("%s reached: want %v", a, reached)
				}
			}
			for _, line := range []string{"CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapAmb: 0000000000000000", "down false", "join false", "environ false", "pid 1"} {
				if !strings.Contains(out.String(), line+"\n") {
					t.Errorf("%q is missing", line)
				}
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
	// The addresses can be reached.
	t.Setenv("HOST_PID", "0")
	for _, a := range outside {
		network, address, _ := strings.Cut(a, "/")
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Errorf("%s: %v", a, err)
			continue
		}
		_ = conn.Close()
	}
}

// As on a host that lets users make namespaces, and leaves them no rights inside.
func TestLauncherReportsWhatItMayNotDo(t *testing.T) {
	required(t)
	cmd := exec.Command("/bin/true")
	door, err := Apply(cmd, TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	cmd.SysProcAttr.AmbientCaps = nil
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := door.Socket(); err == nil || !strings.Contains(err.Error(), "loopback: ioctl: operation not permitted") {
		t.Errorf("error %v", err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the launcher ended without an error")
	}
}

// Limits that are set after Socket are the program's: the launcher could not run with them, because its
// runtime needs more memory.
func TestLauncherNoLongerRunsAfterSocket(t *testing.T) {
	required(t)
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			cmd := exec.Command("/bin/cat")
			input, err := cmd.StdinPipe()
			if err != nil {
				t.Error(err)
				return
			}
			door, err := Apply(cmd, TCP)
			if err != nil {
				t.Error(err)
				return
			}
			defer door.Close()
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			socket, err := door.Socket()
			if err == nil {
				err = socket.Close()
			}
			name, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
			if err := errors.Join(err, readErr); err != nil || string(name) != "cat\n" {
				t.Errorf("the process is %q, error %v", name, err)
			}
			_ = input.Close() // cat ends
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
}

func TestProgramThatCannotBeExecutedIsAnError(t *testing.T) {
	required(t)
	cmd := exec.Command("/bin/true")
	cmd.Path = "/dev/null"
	door, err := Apply(cmd, TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := door.Socket(); err == nil || !strings.Contains(err.Error(), "execve: permission denied") {
		t.Errorf("error %v", err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the launcher ended without an error")
	}
}
