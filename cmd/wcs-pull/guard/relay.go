package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
)

// Relay connects one client, a program that reads a source of rtmp or srt, to the source. What came first to
// the socket that is served is the client; nothing else gets through.
type Relay struct {
	serve  func(socket *os.File) (io.Closer, error)
	ctx    context.Context // ends with Close
	cancel func()
	work   sync.WaitGroup

	mu    sync.Mutex
	fault error
}

func newRelay() *Relay {
	r := &Relay{}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Serve serves the program at a socket: of TCP one that listens, of UDP one that is bound. It is called once.
func (r *Relay) Serve(socket *os.File) (io.Closer, error) { return r.serve(socket) }

// Fault returns why the source was not reached, or nil.
func (r *Relay) Fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault
}

// Close ends the relay and its connections.
func (r *Relay) Close() {
	r.cancel()
	r.work.Wait()
}

func (r *Relay) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil {
		r.fault = err
	}
}

// RelayTCP returns a relay to address (host:port) over TCP, with TLS towards the source if there is a
// configuration for it.
func (n *Network) RelayTCP(address string, secure *tls.Config) *Relay {
	r := newRelay()
	r.serve = func(socket *os.File) (io.Closer, error) {
		l, err := net.FileListener(socket)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(r.ctx, func() { _ = l.Close() })
		r.work.Go(func() {
			defer stop()
			client, err := l.Accept()
			_ = l.Close() // one client
			if err == nil {
				r.connect(client, func() (net.Conn, error) { return n.dialSecure(r.ctx, address, secure) })
			}
		})
		return l, nil
	}
	return r
}

// dialSecure connects, with TLS if there is a configuration for it.
func (n *Network) dialSecure(ctx context.Context, address string, secure *tls.Config) (net.Conn, error) {
	conn, err := n.DialContext(ctx, "tcp", address)
	if err != nil || secure == nil {
		return conn, err
	}
	host, _, _ := net.SplitHostPort(address)
	config := secure.Clone()
	config.ServerName = host
	t := tls.Client(conn, config)
	shake, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := t.HandshakeContext(shake); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
}

// connect copies both ways until one side or the relay ends.
func (r *Relay) connect(client net.Conn, dial func() (net.Conn, error)) {
	defer func() { _ = client.Close() }()
	server, err := dial()
	if err != nil {
		r.note(err)
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			defer cancel()
			_, _ = io.Copy(pair[0], pair[1]) // the program notices the end
		})
	}
	both.Wait()
	_ = server.Close()
}

// RelayUDP returns a relay to address (host:port) over UDP.
func (n *Network) RelayUDP(ctx context.Context, address string) (*Relay, error) {
	server, err := n.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	r := newRelay()
	context.AfterFunc(r.ctx, func() { _ = server.Close() })
	r.serve = func(socket *os.File) (io.Closer, error) {
		conn, err := net.FilePacketConn(socket)
		if err != nil {
			return nil, err
		}
		local, ok := conn.(*net.UDPConn)
		if !ok {
			_ = conn.Close()
			return nil, errors.New("not a socket of UDP")
		}
		context.AfterFunc(r.ctx, func() { _ = local.Close() })
		known := make(chan netip.AddrPort, 1)
		r.work.Go(func() { toServer(local, server, known) })
		r.work.Go(func() { r.toClient(local, server, known) })
		return local, nil
	}
	return r, nil
}

// toServer passes on what the client sends, and says who it is.
func toServer(local *net.UDPConn, server net.Conn, known chan<- netip.AddrPort) {
	var client netip.AddrPort
	buf := make([]byte, 64<<10)
	for {
		size, from, err := local.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if !client.IsValid() {
			client = from
			known <- from
		}
		if from == client {
			_, _ = server.Write(buf[:size]) // srt repeats what is lost
		}
	}
}

// toClient passes on what the source sends.
func (r *Relay) toClient(local *net.UDPConn, server net.Conn, known <-chan netip.AddrPort) {
	var client netip.AddrPort
	buf := make([]byte, 64<<10)
	for {
		size, err := server.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no program listens there
			r.note(err)
			continue
		}
		if !client.IsValid() {
			select {
			case client = <-known:
			case <-r.ctx.Done():
				return
			}
		}
		_, _ = local.WriteToUDPAddrPort(buf[:size], client)
	}
}
