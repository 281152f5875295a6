package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/conn"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"wcsgateway/translate/pull"
)

const (
	// udpSilence is how long a server may send no packet over UDP before TCP is tried.
	udpSilence  = 3 * time.Second
	udpReports  = 5 * time.Second // between receiver reports
	udpBuffer   = 512 << 10       // of the kernel: a key frame arrives at once
	maxDatagram = 9000            // of jumbo frames
	minPort     = 1024            // of a server's media: what listens below is another service
	pairTries   = 64
)

// errNoUDP is why a source is opened again over TCP.
var errNoUDP = &pull.Error{Fault: pull.Unreachable, Detail: "no media over UDP"}

// datagrams carries the media of an RTSP connection over UDP. The library is told that the media is
// interleaved in the connection: its own way over UDP keeps 64 packets back for each one that is lost, which
// is more than a second of sound, and takes packets from whatever address the server names. The requests
// that the server gets ask for UDP instead. Packets that come from the address that was dialled, and from the
// ports of the answer to SETUP, enter the connection in their order. It belongs to one client of the library,
// and to the client's goroutine where nothing else is said.
type datagrams struct {
	clock   uint32 // of the track that is set up next
	conn    *mixedConn
	asked   *flow // SETUP has no answer yet
	refused bool  // by the server
	heard   atomic.Bool
}

// dial returns a function that makes the library's connections with another one. They carry the media, too.
func (d *datagrams) dial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		in, out := io.Pipe()
		d.conn, d.asked = &mixedConn{Conn: c, in: in, out: out}, nil
		d.conn.work.Go(d.conn.readServer)
		return d.conn, nil
	}
}

// request changes a request before it is sent.
func (d *datagrams) request(r *base.Request) {
	switch r.Method {
	case base.Setup: // again if the server asks for a password
		if d.asked == nil {
			var err error
			if d.asked, err = newFlow(d.conn, d.clock); err != nil {
				d.refused = true
				return
			}
		}
		port := localPort(d.asked.rtp)
		r.Header["Transport"] = base.HeaderValue{fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", port, port+1)}
	case base.Play:
		d.conn.start(func() { d.heard.Store(true) })
	}
}

// response changes a response before the library reads it.
func (d *datagrams) response(r *base.Response) {
	f := d.asked
	if f == nil || r.StatusCode != base.StatusOK {
		return
	}
	d.asked = nil
	if !f.answered(r.Header["Transport"]) {
		d.refused = true
		delete(r.Header, "Transport") // SETUP fails
		return
	}
	r.Header["Transport"] = base.HeaderValue{fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", f.channel, f.channel+1)}
}

// withoutNames removes the addresses from the answer to SETUP: the library resolves names in it.
func withoutNames(r *base.Response) {
	for i, header := range r.Header["Transport"] {
		var kept []string
		for part := range strings.SplitSeq(header, ";") {
			key, _, _ := strings.Cut(strings.TrimSpace(part), "=")
			if key != "source" && key != "destination" {
				kept = append(kept, part)
			}
		}
		r.Header["Transport"][i] = strings.Join(kept, ";")
	}
}

// mixedConn is the connection to the server, with the packets that came over UDP interleaved.
type mixedConn struct {
	net.Conn
	in    *io.PipeReader
	out   *io.PipeWriter
	flows []*flow
	work  sync.WaitGroup
}

func (m *mixedConn) Read(b []byte) (int, error) { return m.in.Read(b) }

// Close ends the sockets of the media, too.
func (m *mixedConn) Close() error {
	err := m.Conn.Close()
	_ = m.in.Close() // ends all writes
	for _, f := range m.flows {
		f.close()
	}
	m.work.Wait()
	return err
}

// readServer passes on what the server sends in the connection itself. Media is not expected there.
func (m *mixedConn) readServer() {
	messages := conn.NewConn(m.Conn)
	for {
		message, err := messages.Read()
		var raw []byte
		if err == nil {
			switch message := message.(type) {
			case *base.Response:
				raw, err = message.Marshal()
			case *base.Request:
				raw, err = message.Marshal()
			}
		}
		if err == nil {
			_, err = m.out.Write(raw)
		}
		if err != nil {
			_ = m.out.CloseWithError(err) // it cannot fail
			return
		}
	}
}

// start reads the media. Only now the library expects it.
func (m *mixedConn) start(heard func()) {
	for _, f := range m.flows {
		if f.started {
			return // the request of PLAY was repeated
		}
		f.started = true
		f.open()
		m.work.Go(func() { f.readRTP(m.out, heard) })
		m.work.Go(func() { f.readRTCP(m.out) })
	}
}

// flow is the media of one track: a pair of sockets.
type flow struct {
	rtp, rtcp *net.UDPConn
	channel   int
	clock     uint32
	reports   interceptor.Interceptor // makes receiver reports
	started   bool

	// of the server
	host            netip.Addr // that was dialled
	media, controls netip.AddrPort
}

// newFlow opens sockets on the local address of a connection, and appends the flow to its flows.
func newFlow(m *mixedConn, clock uint32) (*flow, error) {
	local, ok := m.LocalAddr().(*net.TCPAddr)
	remote, okRemote := m.RemoteAddr().(*net.TCPAddr)
	if !ok || !okRemote {
		return nil, errNoUDP
	}
	factory, err := report.NewReceiverInterceptor(report.ReceiverInterval(udpReports))
	if err != nil {
		return nil, err
	}
	reports, err := factory.NewInterceptor("")
	if err != nil {
		return nil, err
	}
	f := &flow{channel: 2 * len(m.flows), clock: clock, reports: reports, host: remote.AddrPort().Addr().Unmap()}
	if f.rtp, f.rtcp, err = socketPair(local.IP); err != nil {
		return nil, err
	}
	_ = f.rtp.SetReadBuffer(udpBuffer) // the kernel's own otherwise
	m.flows = append(m.flows, f)
	return f, nil
}

// socketPair opens sockets on an even port that the kernel chooses, and on the next one: servers expect that.
func socketPair(ip net.IP) (rtp, rtcp *net.UDPConn, err error) {
	for range pairTries {
		rtp, err = net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			return nil, nil, err
		}
		if port := localPort(rtp); port%2 == 0 {
			if rtcp, err = net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port + 1}); err == nil {
				return rtp, rtcp, nil
			}
		}
		_ = rtp.Close()
	}
	return nil, nil, errors.New("no pair of free UDP ports")
}

func localPort(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

func (f *flow) close() {
	for _, c := range []io.Closer{f.rtp, f.rtcp, f.reports} {
		_ = c.Close() // nothing is left to be written
	}
}

// answered takes the ports from the answer to SETUP, and reports whether there is media over UDP. Addresses
// in it are not followed: the media comes from the one that was dialled, or is not taken.
func (f *flow) answered(header base.HeaderValue) bool {
	if len(header) != 1 {
		return false
	}
	for i, part := range strings.Split(header[0], ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case i == 0 && key != "RTP/AVP" && key != "RTP/AVP/UDP", key == "multicast":
			return false
		case key == "server_port":
			first, second, pair := strings.Cut(value, "-")
			port, err := strconv.ParseUint(first, 10, 16)
			next := port + 1
			if pair && err == nil {
				next, err = strconv.ParseUint(second, 10, 16)
			}
			if err != nil || port < minPort || next < minPort || next > 1<<16-1 {
				return false
			}
			f.media, f.controls = netip.AddrPortFrom(f.host, uint16(port)), netip.AddrPortFrom(f.host, uint16(next))
		}
	}
	return f.media.IsValid()
}

// open lets packets through firewalls and address translation on the way, which know the worker's ports only
// from what it sends, and starts the receiver reports.
func (f *flow) open() {
	empty, _ := (&rtp.Packet{Header: rtp.Header{Version: 2}}).Marshal() // of its header only
	_, _ = f.rtp.WriteToUDPAddrPort(empty, f.media)                     // without it a server nearby is heard, too
	write := func(packets []rtcp.Packet, _ interceptor.Attributes) (int, error) {
		raw, err := rtcp.Marshal(packets)
		if err == nil {
			_, _ = f.rtcp.WriteToUDPAddrPort(raw, f.controls) // the next one follows
		}
		return len(raw), err
	}
	_, _ = write([]rtcp.Packet{&rtcp.ReceiverReport{}}, nil)
	f.reports.BindRTCPWriter(interceptor.RTCPWriterFunc(write))
}

// readRTP passes on the packets of the media in their order.
func (f *flow) readRTP(to io.Writer, heard func()) {
	var order inOrder
	var count interceptor.RTPReader // for reports
	buffer := make([]byte, maxDatagram+1)
	for {
		if err := f.rtp.SetReadDeadline(order.due()); err != nil {
			return
		}
		n, from, err := f.rtp.ReadFromUDPAddrPort(buffer)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return // closed
		}
		now := time.Now()
		var header rtp.Header
		if err == nil && n <= maxDatagram && unmapped(from) == f.media {
			if _, err := header.Unmarshal(buffer[:n]); err == nil {
				if count == nil {
					heard()
					count = f.reports.BindRemoteStream(&interceptor.StreamInfo{SSRC: header.SSRC, ClockRate: f.clock}, readNothing)
				}
				_, _, _ = count.Read(buffer[:n], nil) // only counted
				order.put(header.SequenceNumber, interleaved(f.channel, buffer[:n]), now)
			}
		}
		for packet := range order.ready(now) {
			if _, err := to.Write(packet); err != nil {
				return
			}
		}
	}
}

// readNothing leaves what is in the buffer.
var readNothing = interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
	return len(b), a, nil
})

// readRTCP passes on the server's reports.
func (f *flow) readRTCP(to io.Writer) {
	count := f.reports.BindRTCPReader(interceptor.RTCPReaderFunc(readNothing))
	buffer := make([]byte, maxDatagram+1)
	for {
		n, from, err := f.rtcp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return // closed
		}
		if n > maxDatagram || unmapped(from) != f.controls {
			continue
		}
		_, _, _ = count.Read(buffer[:n], nil) // only counted
		if _, err := to.Write(interleaved(f.channel+1, buffer[:n])); err != nil {
			return
		}
	}
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// interleaved returns a packet as RTSP carries it in a connection.
func interleaved(channel int, packet []byte) []byte {
	return append([]byte{base.InterleavedFrameMagicByte, byte(channel), byte(len(packet) >> 8), byte(len(packet))}, packet...)
}
