package rig

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	relayDatagram = 64 << 10               // the largest there is
	relayQueue    = 4096                   // datagrams on their way in one direction
	relayDelay    = 250 * time.Millisecond // a datagram that would have to wait longer for its turn is dropped
)

// Impairment is what a relay does to the datagrams that pass it. The zero value lets all of them pass at
// once.
type Impairment struct {
	Up   Direction // from the clients to the server
	Down Direction
}

// Direction is the impairment of one direction. It is that of one link, which all clients share.
type Direction struct {
	Loss float64 // probability that a datagram is lost
	Rate int     // bit/s of UDP payload, 0 = no limit; it has a queue of 250 ms, and what does not fit into it is dropped
}

// Traffic is what has become of the datagrams of one direction.
type Traffic struct {
	Passed   int
	Lost     int // by chance
	Overflow int // the queue was full
}

// Relay stands between clients and the UDP port of a server on 127.0.0.1, and impairs what they send each
// other. Each client, that is its address and port, has a socket of its own towards the server, which
// therefore takes the relay's ports for theirs. Datagrams of one direction stay in order. Which of them are
// lost is the same in each run.
type Relay struct {
	Port int // for clients, on 127.0.0.1

	t        testing.TB
	server   *net.UDPAddr
	front    *net.UDPConn
	up, down *link
	work     sync.WaitGroup
	done     chan struct{} // closed when the relay ends
}

// StartRelay starts a relay to a port, which impairs nothing yet. It ends with the test.
func StartRelay(t testing.TB, port int) *Relay {
	t.Helper()
	loopback := net.IPv4(127, 0, 0, 1)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback})
	if err != nil {
		t.Fatalf("relay: %v", err)
	}
	r := &Relay{
		Port: front.LocalAddr().(*net.UDPAddr).Port, t: t, server: &net.UDPAddr{IP: loopback, Port: port}, front: front,
		up: newLink(1), down: newLink(2), done: make(chan struct{}),
	}
	r.work.Go(func() { r.up.run(r.done) })
	r.work.Go(func() { r.down.run(r.done) })
	r.work.Go(r.listen)
	t.Cleanup(func() {
		close(r.done)
		_ = front.Close() // ends listen
		r.work.Wait()
	})
	return r
}

// Impair replaces the impairment. It holds for datagrams that the relay reads from now on.
func (r *Relay) Impair(i Impairment) {
	r.up.impair(i.Up)
	r.down.impair(i.Down)
}

// Traffic returns the counts of the datagrams so far.
func (r *Relay) Traffic() (up, down Traffic) { return r.up.traffic(), r.down.traffic() }

// listen takes in what clients send, and makes the sockets that they have towards the server.
func (r *Relay) listen() {
	clients := make(map[netip.AddrPort]*net.UDPConn)
	defer func() {
		for _, server := range clients {
			_ = server.Close() // ends its answers
		}
	}()
	payload := make([]byte, relayDatagram)
	for {
		n, client, err := r.front.ReadFromUDPAddrPort(payload)
		if err != nil {
			return // closed
		}
		server := clients[client]
		if server == nil {
			if server, err = net.DialUDP("udp4", nil, r.server); err != nil {
				r.t.Errorf("relay: %v", err)
				return
			}
			clients[client] = server
			r.work.Go(func() { r.answer(server, client) })
		}
		r.up.enter(payload[:n], server.Write)
	}
}

// answer takes in what the server sends to one client.
func (r *Relay) answer(server *net.UDPConn, client netip.AddrPort) {
	send := func(b []byte) (int, error) { return r.front.WriteToUDPAddrPort(b, client) }
	payload := make([]byte, relayDatagram)
	for {
		n, err := server.Read(payload)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED): // the server is away, and what it was sent is lost
		case err != nil:
			return // closed
		default:
			r.down.enter(payload[:n], send)
		}
	}
}

// link carries the datagrams of one direction.
type link struct {
	queue chan datagram

	mu       sync.Mutex
	dice     *rand.Rand
	impaired Direction
	free     time.Time // when all that is in the queue has been sent
	count    Traffic
}

type datagram struct {
	due     time.Time
	payload []byte
	send    func([]byte) (int, error)
}

func newLink(seed uint64) *link {
	return &link{queue: make(chan datagram, relayQueue), dice: rand.New(rand.NewPCG(seed, seed))}
}

func (l *link) impair(d Direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.impaired, l.free = d, time.Time{}
}

func (l *link) traffic() Traffic {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// enter puts a datagram into the queue, if it is to pass.
func (l *link) enter(payload []byte, send func([]byte) (int, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dice.Float64() < l.impaired.Loss { // thrown for each datagram, so that which are lost depends on nothing else
		l.count.Lost++
		return
	}
	due, fits := l.turn(len(payload))
	if !fits {
		l.count.Overflow++
		return
	}
	select {
	case l.queue <- datagram{due, bytes.Clone(payload), send}:
		l.count.Passed++
	default: // the process stood still
		l.count.Overflow++
	}
}

// turn returns the time at which a datagram of so many bytes has been sent, and whether the queue takes it.
// It needs mu.
func (l *link) turn(size int) (due time.Time, fits bool) {
	now := time.Now()
	if l.impaired.Rate == 0 {
		return now, true
	}
	due = now
	if l.free.After(now) {
		due = l.free
	}
	due = due.Add(time.Duration(size) * 8 * time.Second / time.Duration(l.impaired.Rate))
	if due.Sub(now) > relayDelay {
		return due, false
	}
	l.free = due
	return due, true
}

// run sends on what has entered.
func (l *link) run(done <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case d := <-l.queue:
			timer.Reset(time.Until(d.due))
			select {
			case <-done:
				return
			case <-timer.C:
			}
			_, _ = d.send(d.payload) // UDP: losses are not reported
		}
	}
}
