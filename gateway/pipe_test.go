package gateway

import (
	"context"
	"net"
	"sync"
)

// pipeNet is a network in memory, for tests in a bubble of testing/synctest: real sockets would keep its
// clock from going on.
type pipeNet struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
	from      string // address and port of further clients; "": none
}

func newPipeNet() *pipeNet { return &pipeNet{listeners: make(map[string]*pipeListener)} }

func (n *pipeNet) listen(name string) *pipeListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &pipeListener{name: name, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[name+":80"] = l
	return l
}

func (n *pipeNet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l, from := n.listeners[addr], n.from
	n.mu.Unlock()
	if l == nil {
		return nil, net.UnknownNetworkError(addr)
	}
	client, server := net.Pipe()
	if from != "" {
		server = pipeFrom{server, from}
	}
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// setClient sets the address and port of further clients.
func (n *pipeNet) setClient(from string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.from = from
}

// pipeFrom is a pipe of a client with an address.
type pipeFrom struct {
	net.Conn
	from string
}

func (c pipeFrom) RemoteAddr() net.Addr { return pipeAddr(c.from) }

type pipeListener struct {
	name   string
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.name) }

type pipeAddr string

func (pipeAddr) Network() string { return "pipe" }

func (a pipeAddr) String() string { return string(a) }
