package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// loopback is the address of all listeners that only this process uses.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ports are the ports of all listeners. 0 stands for any free port until claim chooses one.
type ports struct {
	page, ws, internal int
	rest               int // REST API and console
	redis              int
	liveKit            int // HTTP and native clients
	liveKitUDP         int // media
	liveKitTCP         int // media over ICE-TCP
	rtsp               int // sample cameras
	worker             int // metrics and health of the worker
}

// port is one listener: its flag and its address. LiveKit's media ports, and the listeners for browsers on
// other machines, listen on every interface: they have no host.
type port struct {
	flag, usage   string
	network, host string
	number        *int
}

// all returns the listeners; public is the host that public ones bind to.
func (p *ports) all(public string) []port {
	local := loopback.String()
	return []port{
		{"page-port", "demo page (HTTP)", "tcp", public, &p.page},
		{"ws-port", "WebSockets of SDKs", "tcp", public, &p.ws},
		{"internal-port", "gateway's webhooks, metrics and health, on 127.0.0.1 only", "tcp", local, &p.internal},
		{"rest-port", "gateway's REST API and console, without a password, on 127.0.0.1 only", "tcp", local, &p.rest},
		{"livekit-port", "LiveKit's HTTP and native clients", "tcp", public, &p.liveKit},
		{"livekit-udp", "media over UDP", "udp", "", &p.liveKitUDP},
		{"livekit-tcp", "media over TCP", "tcp", "", &p.liveKitTCP},
		{"rtsp-port", "sample cameras, with --pull, on 127.0.0.1 only", "tcp", local, &p.rtsp},
		{"worker-port", "metrics and health of the worker, with --pull, on 127.0.0.1 only", "tcp", local, &p.worker},
		{"redis-port", "embedded Redis, on 127.0.0.1 only", "tcp", local, &p.redis},
	}
}

// register adds a flag for each port, with the values in p as defaults.
func (p *ports) register(flags *flag.FlagSet) {
	for _, one := range p.all("") {
		flags.IntVar(one.number, one.flag, *one.number, "port: "+one.usage+"; 0 for a free one")
	}
}

// claim checks that all ports are free, and replaces each 0 by a free one. It releases them immediately for
// the servers. If another program takes one in between, that server reports the error.
func (p *ports) claim(public string) error {
	var held []io.Closer
	defer func() {
		for _, c := range held {
			_ = c.Close() // nothing was written
		}
	}()
	for _, one := range p.all(public) {
		c, number, err := listen(one.network, net.JoinHostPort(one.host, strconv.Itoa(*one.number)))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("--%s: port %d is taken by another program or another flag; choose another port, or 0 for a free one", one.flag, *one.number)
		case err != nil:
			return fmt.Errorf("--%s: %w", one.flag, err)
		}
		held = append(held, c)
		*one.number = number
	}
	return nil
}

func listen(network, address string) (io.Closer, int, error) {
	if network == "udp" {
		c, err := net.ListenPacket(network, address)
		if err != nil {
			return nil, 0, err
		}
		return c, c.LocalAddr().(*net.UDPAddr).Port, nil
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, 0, err
	}
	return l, l.Addr().(*net.TCPAddr).Port, nil
}
