package guard

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"testing"

	"wcsgateway/cmd/wcs-pull/sandbox"
)

// echo answers what it gets, over TCP and UDP on one address.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				done <- struct{}{}
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				done <- struct{}{}
				return
			}
			_, _ = udp.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		_, _ = l.Close(), udp.Close()
		<-done
		<-done
	})
	return l.Addr().String()
}

func TestRelaysConnectOneClientToTheSource(t *testing.T) {
	address := echo(t)
	n := New(prefixes("127.0.0.0/8")).Network("127.0.0.1")
	tcp := n.RelayTCP(address, nil)
	defer tcp.Close()
	udp, err := n.RelayUDP(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for network, r := range map[string]*Relay{"tcp": tcp, "udp": udp} {
		at := serve(t, network, r)
		conn, err := net.Dial(network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for range 2 {
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 5)
			if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
				t.Errorf("%s: got %q, error %v", network, buf, err)
			}
		}
		if _, err := net.Dial(network, at); err == nil && network == "tcp" {
			t.Error("a second client is accepted")
		}
	}
}

// serve lets a relay serve a socket, and returns its address.
func serve(t *testing.T, network string, r *Relay) (address string) {
	t.Helper()
	socket, address, err := sandbox.Listen(network, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if _, err := r.Serve(socket); err != nil {
		t.Fatal(err)
	}
	return address
}

func TestRelaysReachNothingForbidden(t *testing.T) {
	address := echo(t)
	n := New(nil).Network("127.0.0.1")
	if _, err := n.RelayUDP(t.Context(), address); !errors.Is(err, ErrForbidden) {
		t.Errorf("udp: error %v, want ErrForbidden", err)
	}
	r := n.RelayTCP(address, nil)
	defer r.Close()
	conn, err := net.Dial("tcp", serve(t, "tcp", r))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && err == nil {
		t.Errorf("read %v", err)
	}
	if !errors.Is(r.Fault(), ErrForbidden) {
		t.Errorf("fault %v, want ErrForbidden", r.Fault())
	}
}

func TestRelayVerifiesTLS(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	r := New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}).Network("127.0.0.1").RelayTCP(s.Listener.Addr().String(), &tls.Config{})
	defer r.Close()
	conn, err := net.Dial("tcp", serve(t, "tcp", r))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("something was read")
	}
	var certificate *tls.CertificateVerificationError
	if !errors.As(r.Fault(), &certificate) {
		t.Errorf("fault %v, want one of the certificate", r.Fault())
	}
}
