package source

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/pull"
)

// serveTLS decrypts connections for the server on a port of loopback, until the test ends. It returns its own
// port, and the authority of its certificate.
func serveTLS(t *testing.T, port int) (secure int, roots *x509.CertPool) {
	t.Helper()
	issuer := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(issuer.Close)
	roots = x509.NewCertPool()
	roots.AddCert(issuer.Certificate())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: issuer.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			if near.(*tls.Conn).Handshake() != nil { // the client does not trust the certificate: ffmpeg serves one connection only
				_ = near.Close()
				continue
			}
			far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				_ = near.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				work.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // ends with either
					_, _ = near.Close(), far.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port, roots
}

// Sources over TLS play if the server's certificate is valid, and are not read otherwise.
func TestSourcesOverTLSPlay(t *testing.T) {
	rig.SkipShort(t)
	for scheme, start := range map[string]func(t *testing.T) (port int, path string){
		pull.RTSPS: func(t *testing.T) (int, string) {
			server := rig.StartRTSP(t, "", "")
			server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
			return server.Port, "/cam"
		},
		pull.RTMPS: func(t *testing.T) (int, string) {
			port := rig.FreePort(t)
			args := append(append([]string{}, rig.CameraH264...), rig.CameraAAC...)
			server := rig.StartFeed(t, "tcp", port, append(args, "-f", "flv", "-listen", "1", fmt.Sprintf("rtmp://127.0.0.1:%d/live/cam", port))...)
			t.Cleanup(server.Kill)
			return port, "/live/cam"
		},
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			port, path := start(t)
			secure, roots := serveTLS(t, port)
			address := fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, secure, path)
			start1(t, address, nil).wantFault(pull.Unreachable)
			room := &fakeRoom{lost: make(chan struct{})}
			r := testRunner(t, room)
			r.config.RootCAs = roots
			s := begin(t, r, room, address, nil)
			s.await(pull.Running)
			s.frames(20, 20)
			s.stop()
		})
	}
}
