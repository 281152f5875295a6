package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"time"
)

// gatewayPath is the path of the gateway in the server of the demo page. With one origin for both, a browser
// asks once whether to accept the certificate.
const gatewayPath = "/gateway"

// certificateLifetime is within the 825 days that iOS accepts.
const certificateLifetime = 30 * 24 * time.Hour

// newCertificate returns a self-signed certificate for an address and for localhost.
func newCertificate(host netip.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	now := time.Now()
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "wcs-dev"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLifetime),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{host.AsSlice(), loopback.AsSlice()},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// withGateway returns a handler that passes requests for gatewayPath to the gateway on a port of this
// machine.
func withGateway(page http.Handler, port int) http.Handler {
	gateway := &url.URL{Scheme: "http", Host: local(port)}
	mux := http.NewServeMux()
	mux.Handle(gatewayPath, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(gateway)
		r.Out.Host = r.In.Host // the gateway compares it with the origin
	}})
	mux.Handle("/", page)
	return mux
}
