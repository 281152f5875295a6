package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Relay connects one client on loopback, a program that reads a source of rtmp or srt, to the source. What
// came first from another address of loopback is the client; nothing else gets through.
type Relay struct {
	address string
	cancel  func()
	close   func()
	work    sync.WaitGroup

	mu    sync.Mutex
	fault error
}

// Address is host and port for the program.
func (r *Relay) Address() string { return r.address }

// Fault returns why the source was not reached, or nil.
func (r *Relay) Fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault
}

// Close ends the relay and its connections.
func (r *Relay) Close() {
	r.cancel()
	r.close()
	r.work.Wait()
}

func (r *Relay) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil {
		r.fault = err
	}
}

// RelayTCP starts a relay to address (host:port) over TCP, with TLS towards the source if there is a
// configuration for it.
func (n *Network) RelayTCP(address string, secure *tls.Config) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{address: l.Addr().String(), cancel: cancel, close: func() { _ = l.Close() }}
	r.work.Go(func() {
		client, err := l.Accept()
		_ = l.Close() // one client
		if err != nil {
			return
		}
		r.connect(ctx, client, func() (net.Conn, error) {
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
		})
	})
	return r, nil
}

// connect copies both ways until one side or ctx ends.
func (r *Relay) connect(ctx context.Context, client net.Conn, dial func() (net.Conn, error)) {
	defer func() { _ = client.Close() }()
	server, err := dial()
	if err != nil {
		r.note(err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
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

// RelayUDP starts a relay to address (host:port) over UDP.
func (n *Network) RelayUDP(ctx context.Context, address string) (*Relay, error) {
	server, err := n.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	local, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		_ = server.Close()
		return nil, err
	}
	known := make(chan netip.AddrPort, 1)
	over := make(chan struct{})
	r := &Relay{address: local.LocalAddr().String(), cancel: sync.OnceFunc(func() { close(over) }), close: func() { _, _ = local.Close(), server.Close() }}
	r.work.Go(func() {
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
	})
	r.work.Go(func() {
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
				case <-over:
					return
				}
			}
			_, _ = local.WriteToUDPAddrPort(buf[:size], client)
		}
	})
	return r, nil
}
