package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
)

// certificate makes a certificate for 127.0.0.1 that signs itself, as PEM files.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, content := range map[string][]byte{
		certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, roots
}

func TestClientConnectsOverTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	ports, redis, port := rig.NewPorts(t), rig.StartRedis(t), rig.FreePort(t)
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports.Webhook()})
	g := rig.StartGateway(t, rig.GatewayOptions{Ports: ports, LiveKit: lk, Redis: redis.Addr, Env: map[string]string{
		"WCS_LISTEN_TLS_CERT": cert, "WCS_LISTEN_TLS_KEY": key, "WCS_LISTEN_SECURE": fmt.Sprintf("127.0.0.1:%d", port),
	}})
	g.AwaitReady(t)
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots}}
	c := rig.DialWith(t, &dialer, fmt.Sprintf("wss://127.0.0.1:%d/", port))
	c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}})
	c.Await("getUserData")
	c.Publish("secure", "secure", rig.NewPublisher(t, rig.PeerOptions{}))
	rig.Connect(t, g.URL, "defaultApp") // without TLS it works as well
}
