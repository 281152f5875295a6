package rig

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// arrival is a datagram that a link has sent on.
type arrival struct {
	text  string
	after time.Duration
}

// carry passes the texts of enter through a link of its own and waits until all have arrived or are lost.
func carry(t *testing.T, d Direction, enter func(enter func(text string))) (got []arrival, count Traffic) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		begin, done, l := time.Now(), make(chan struct{}), newLink(1)
		l.impair(d)
		go l.run(done)
		enter(func(text string) {
			l.enter([]byte(text), func(b []byte) (int, error) {
				got = append(got, arrival{string(b), time.Since(begin)})
				return len(b), nil
			})
		})
		<-time.After(time.Minute)
		close(done)
		synctest.Wait()
		count = l.traffic()
	})
	return got, count
}

func TestLinkWithoutImpairmentKeepsEverything(t *testing.T) {
	got, count := carry(t, Direction{}, func(enter func(string)) {
		for i := range 1000 {
			enter(strconv.Itoa(i))
		}
	})
	if len(got) != 1000 || count != (Traffic{Passed: 1000}) {
		t.Fatalf("%d have arrived, %+v", len(got), count)
	}
	for i, a := range got {
		if a != (arrival{text: strconv.Itoa(i)}) {
			t.Fatalf("arrival %d is %+v", i, a)
		}
	}
}

func TestLinkLosesConfiguredShare(t *testing.T) {
	const n = 2000
	send := func(enter func(string)) {
		for i := range n {
			enter(strconv.Itoa(i))
		}
	}
	half, _ := carry(t, Direction{Loss: 0.5}, send)
	third, count := carry(t, Direction{Loss: 0.3}, send)
	if count.Lost < 540 || count.Lost > 660 || count != (Traffic{Passed: len(third), Lost: n - len(third)}) {
		t.Errorf("%+v, want 30 %% lost", count)
	}
	if again, _ := carry(t, Direction{Loss: 0.3}, send); !slices.Equal(again, third) {
		t.Error("others are lost the second time")
	}
	for _, a := range half {
		if !slices.Contains(third, a) {
			t.Fatalf("%s is lost with less loss, and not with more", a.text)
		}
	}
	if none, count := carry(t, Direction{Loss: 1}, send); len(none) > 0 || count.Lost != n {
		t.Errorf("%d have arrived though all are lost", len(none))
	}
}

func TestLinkLimitsTheRate(t *testing.T) {
	kilobyte := fmt.Sprintf("%01000d", 0)
	// A kilobyte takes 100 ms: two of them fit into the queue of 250 ms.
	got, count := carry(t, Direction{Rate: 80_000}, func(enter func(string)) {
		for range 5 {
			enter(kilobyte)
		}
		<-time.After(150 * time.Millisecond) // the first has gone, the second half
		enter(kilobyte)
		enter(kilobyte)
		<-time.After(time.Second)
		enter("short")
	})
	want := []arrival{{kilobyte, 100 * time.Millisecond}, {kilobyte, 200 * time.Millisecond}, {kilobyte, 300 * time.Millisecond}, {kilobyte, 400 * time.Millisecond},
		{"short", 1150*time.Millisecond + 500*time.Microsecond}}
	if !slices.Equal(got, want) || count != (Traffic{Passed: 5, Overflow: 3}) {
		for _, a := range got {
			t.Logf("%d bytes after %v", len(a.text), a.after)
		}
		t.Errorf("%+v", count)
	}
}

// What is lost takes no room from the rest.
func TestLinkLosesConfiguredShareUnderLimit(t *testing.T) {
	const seconds, size = 60, 100
	got, count := carry(t, Direction{Loss: 0.5, Rate: 80_000}, func(enter func(string)) {
		for range seconds * 400 { // 200 a second are not lost, 100 fit
			enter(fmt.Sprintf("%0*d", size, 0))
			<-time.After(time.Second / 400)
		}
	})
	if n := seconds * 100; len(got) < n || len(got) > n+25 || count.Passed != len(got) || count.Overflow < n*9/10 {
		t.Errorf("%d have arrived, want %d; %+v", len(got), n, count)
	}
}

func TestLinkStaysInOrderWhenTheLimitGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		done, l := make(chan struct{}), newLink(1)
		go l.run(done)
		enter := func(text string) {
			l.enter([]byte(text), func(b []byte) (int, error) {
				got = append(got, string(b))
				return len(b), nil
			})
		}
		l.impair(Direction{Rate: 100})
		enter("1")
		enter("2")
		l.impair(Direction{})
		enter("3")
		<-time.After(relayDelay)
		close(done)
		synctest.Wait()
		if !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("arrived %v", got)
		}
	})
}

// udpServer answers each datagram with where it came from and what it was.
func udpServer(t *testing.T, port int) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(fmt.Appendf(nil, "%d %s", from.Port(), b[:n]), from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

// udpClient talks to a relay.
type udpClient struct {
	t *testing.T
	*net.UDPConn
}

func newUDPClient(t *testing.T, r *Relay) *udpClient {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: r.Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &udpClient{t, conn}
}

func (c *udpClient) send(text string) {
	c.t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next answer: the port that the server saw, and the text.
func (c *udpClient) next() (port int, text string) {
	c.t.Helper()
	b := make([]byte, 1500)
	_ = c.SetReadDeadline(time.Now().Add(patience)) // fails only when closed
	n, err := c.Read(b)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(b[:n]), "%d %s", &port, &text); err != nil {
		c.t.Fatalf("answer %q: %v", b[:n], err)
	}
	return port, text
}

func TestRelayKeepsClientsApart(t *testing.T) {
	port := FreePort(t)
	udpServer(t, port)
	r := StartRelay(t, port)
	one, two := newUDPClient(t, r), newUDPClient(t, r)
	var ports [2]int
	for round := range 3 {
		one.send("one")
		two.send("two")
		for i, c := range []*udpClient{one, two} {
			port, text := c.next()
			if text != []string{"one", "two"}[i] {
				t.Errorf("client %d gets %q", i, text)
			}
			if round > 0 && port != ports[i] {
				t.Errorf("client %d was port %d for the server, and now is %d", i, ports[i], port)
			}
			ports[i] = port
		}
	}
	if ports[0] == ports[1] {
		t.Error("the server takes two clients for one")
	}
	if up, down := r.Traffic(); up != (Traffic{Passed: 6}) || down != (Traffic{Passed: 6}) {
		t.Errorf("up %+v, down %+v", up, down)
	}
}

func TestRelayImpairsEachDirection(t *testing.T) {
	port := FreePort(t)
	udpServer(t, port)
	r := StartRelay(t, port)
	c := newUDPClient(t, r)
	const n = 100 // fit into the buffers of the sockets
	for _, i := range []Impairment{{Up: Direction{Loss: 0.4}}, {Down: Direction{Loss: 0.4}}, {}} {
		r.Impair(i)
		upBefore, downBefore := r.Traffic()
		for k := range n {
			c.send(strconv.Itoa(k))
		}
		var up, down Traffic
		Eventually(t, patience, "all have been dealt with", func() bool {
			u, d := r.Traffic()
			up = Traffic{Passed: u.Passed - upBefore.Passed, Lost: u.Lost - upBefore.Lost}
			down = Traffic{Passed: d.Passed - downBefore.Passed, Lost: d.Lost - downBefore.Lost}
			return up.Passed+up.Lost == n && down.Passed+down.Lost == up.Passed
		})
		if up.Lost > 0 != (i.Up.Loss > 0) || down.Lost > 0 != (i.Down.Loss > 0) {
			t.Errorf("%+v: up %+v, down %+v", i, up, down)
		}
		last := -1
		for range down.Passed {
			_, text := c.next()
			k, err := strconv.Atoi(text)
			if err != nil || k <= last {
				t.Fatalf("%q came after %d", text, last)
			}
			last = k
		}
	}
}

func TestRelayOutlivesItsServer(t *testing.T) {
	port := FreePort(t)
	r := StartRelay(t, port)
	c := newUDPClient(t, r)
	c.send("early")
	Eventually(t, patience, "the relay has taken it", func() bool { up, _ := r.Traffic(); return up.Passed == 1 })
	udpServer(t, port)
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for range 3 { // the first can still find no server
		c.send("late")
		<-again.C
	}
	if _, text := c.next(); text != "late" {
		t.Errorf("%q has come", text)
	}
}
