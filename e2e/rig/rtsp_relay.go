package rig

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"sync"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/conn"
)

// RTSPRelay stands between players and an RTSP server on 127.0.0.1, and impairs what they send each other
// over UDP. Player and server take the relay's ports for those of the other.
type RTSPRelay struct {
	Port int // for players

	t        testing.TB
	server   int
	listener net.Listener
	up, down *link
	work     sync.WaitGroup

	mu     sync.Mutex
	open   []io.Closer
	closed bool
}

// StartRTSPRelay starts a relay to the port of a server, which impairs nothing yet. It ends with the test.
func StartRTSPRelay(t testing.TB, port int) *RTSPRelay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("relay: %v", err)
	}
	r := &RTSPRelay{
		Port: l.Addr().(*net.TCPAddr).Port, t: t, server: port, listener: l, up: newLink(1), down: newLink(2),
	}
	done := make(chan struct{})
	r.work.Go(func() { r.up.run(done) })
	r.work.Go(func() { r.down.run(done) })
	r.work.Go(r.accept)
	t.Cleanup(func() {
		close(done)
		_ = l.Close()
		r.mu.Lock()
		r.closed = true
		for _, c := range r.open {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.work.Wait()
	})
	return r
}

// Impair replaces the impairment of the datagrams.
func (r *RTSPRelay) Impair(i Impairment) {
	r.up.impair(i.Up)
	r.down.impair(i.Down)
}

// Traffic returns the counts of the datagrams so far.
func (r *RTSPRelay) Traffic() (up, down Traffic) { return r.up.traffic(), r.down.traffic() }

// keep closes a socket at the end of the relay.
func (r *RTSPRelay) keep(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open = append(r.open, c); r.closed {
		_ = c.Close()
	}
}

func (r *RTSPRelay) accept() {
	for {
		player, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.keep(player)
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.server))
		if err != nil {
			_ = player.Close()
			continue
		}
		r.keep(server)
		c := &relayedRTSP{relay: r, player: player, server: server, setups: make(chan *relayedTrack, 10)}
		r.work.Go(c.requests)
		r.work.Go(c.responses)
	}
}

// relayedRTSP is one connection through an RTSPRelay.
type relayedRTSP struct {
	relay          *RTSPRelay
	player, server net.Conn
	setups         chan *relayedTrack // that have no answer yet
}

// relayedTrack has a socket towards the player and one towards the server for RTP, and two for RTCP.
type relayedTrack struct {
	near, far [2]*net.UDPConn
	player    [2]int // its ports
}

var clientPorts, serverPorts = regexp.MustCompile(`client_port=(\d+)-(\d+)`), regexp.MustCompile(`server_port=(\d+)-(\d+)`)

func (c *relayedRTSP) requests() {
	defer func() { _ = c.server.Close() }()
	messages, to := conn.NewConn(c.player), conn.NewConn(c.server)
	for {
		request, err := messages.ReadRequest()
		if err != nil {
			return
		}
		if request.Method == base.Setup {
			track := &relayedTrack{}
			c.setups <- track
			if header := request.Header["Transport"]; clientPorts.MatchString(header[0]) {
				track.player = ports(clientPorts, header[0])
				track.near, track.far = c.relay.sockets(), c.relay.sockets()
				header[0] = clientPorts.ReplaceAllString(header[0], fmt.Sprintf("client_port=%d-%d", portOf(track.far[0]), portOf(track.far[1])))
			}
		}
		if to.WriteRequest(request) != nil {
			return
		}
	}
}

func (c *relayedRTSP) responses() {
	defer func() { _ = c.player.Close() }()
	messages, to := conn.NewConn(c.server), conn.NewConn(c.player)
	for {
		message, err := messages.Read()
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *base.InterleavedFrame:
			err = to.WriteInterleavedFrame(message, make([]byte, message.MarshalSize()))
		case *base.Response:
			if header := message.Header["Transport"]; len(header) == 1 && serverPorts.MatchString(header[0]) {
				track := <-c.setups
				server := ports(serverPorts, header[0])
				for i := range 2 {
					c.relay.pass(c.relay.up, track.near[i], track.far[i], server[i])
					c.relay.pass(c.relay.down, track.far[i], track.near[i], track.player[i])
				}
				header[0] = serverPorts.ReplaceAllString(header[0], fmt.Sprintf("server_port=%d-%d", portOf(track.near[0]), portOf(track.near[1])))
			}
			err = to.WriteResponse(message)
		}
		if err != nil {
			return
		}
	}
}

func (r *RTSPRelay) sockets() (pair [2]*net.UDPConn) {
	for i := range pair {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			r.t.Errorf("relay: %v", err)
			continue
		}
		r.keep(c)
		pair[i] = c
	}
	return pair
}

// pass sends on what arrives at one socket, from another one to a port.
func (r *RTSPRelay) pass(l *link, from, via *net.UDPConn, port int) {
	target := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	send := func(b []byte) (int, error) { return via.WriteTo(b, target) }
	r.work.Go(func() {
		payload := make([]byte, relayDatagram)
		for {
			n, err := from.Read(payload)
			if err != nil {
				return
			}
			l.enter(payload[:n], send)
		}
	})
}

func ports(pattern *regexp.Regexp, header string) (pair [2]int) {
	_, _ = fmt.Sscanf(pattern.FindString(header)[len("client_port="):], "%d-%d", &pair[0], &pair[1]) // the pattern has matched
	return pair
}

func portOf(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }
