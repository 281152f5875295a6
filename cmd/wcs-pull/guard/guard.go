// Package guard is the network of the sources that pulls read. It resolves each name itself, checks the
// addresses, and connects to an address that it has checked; nothing resolves the name again. A pull reaches
// public networks, and private ones only as far as the operator named them. Programs that have connections
// of their own get a proxy or a relay on loopback (proxy.go, relay.go). Only cmd/wcs-pull uses it.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrForbidden is wrapped by the error of a connection to an address that a pull must not reach.
var ErrForbidden = errors.New("address is not public, and not named in the worker's private networks")

// ErrTooMany is returned for a connection beyond the limit of a pull.
var ErrTooMany = errors.New("too many hosts or redirects of a source")

const (
	lookupTimeout = 5 * time.Second
	dialTimeout   = 5 * time.Second // per address
	maxAddresses  = 4               // of a name that are tried
	maxHosts      = 32              // with ports, of one source: those of its playlists and redirects
)

// Guard makes the connections of all pulls of a worker. It is safe for concurrent use.
type Guard struct {
	private []netip.Prefix
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a Guard. private are the networks that pulls may reach although they are not public.
func New(private []netip.Prefix) *Guard {
	return &Guard{
		private: slices.Clone(private),
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		dial: (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
	}
}

// Network is what one pull may reach. A source in a public network leads to no private one, whatever its
// redirects and playlists name. It is safe for concurrent use.
type Network struct {
	guard *Guard
	host  string // of the source

	mu      sync.Mutex
	private bool            // the source itself is in a network that the operator named
	hosts   map[string]bool // that were asked for
}

// Network returns the network of a source, whose host is a name or an address without brackets.
func (g *Guard) Network(host string) *Network {
	return &Network{guard: g, host: canonical(host), hosts: map[string]bool{}}
}

// DialContext connects to address (host:port) over TCP or UDP. Errors wrap ErrForbidden if no address of the
// host may be reached, and net's errors otherwise. They do not contain more of the source than host and port.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !n.enlist(address) {
		return nil, ErrTooMany
	}
	targets, err := n.resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, target := range targets {
		conn, err := n.guard.dial(ctx, network, target.String())
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// enlist reports whether a host is among the first maxHosts.
func (n *Network) enlist(address string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.hosts) < maxHosts {
		n.hosts[address] = true
	}
	return n.hosts[address]
}

// resolve returns the addresses of host:port that may be reached. There is at least one without an error.
func (n *Network) resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%w: port of %s", ErrForbidden, host)
	}
	addresses, err := n.guard.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	source := canonical(host) == n.host
	var targets []netip.AddrPort
	for _, a := range addresses {
		if len(targets) == maxAddresses {
			break
		}
		if n.allows(a, source) {
			targets = append(targets, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		}
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrForbidden, host)
	}
	return targets, nil
}

func (g *Guard) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return g.lookup(ctx, host)
}

// allows reports whether the pull may reach an address, and notes whether its source is private.
func (n *Network) allows(a netip.Addr, source bool) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if Public(a) {
		return true
	}
	if !slices.ContainsFunc(n.guard.private, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.private = n.private || source
	return n.private
}

// canonical is a host as it is compared.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
