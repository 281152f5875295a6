package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Config returns the TLS configuration of a Redis client, nil without TLS.
func (t RedisTLS) Config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // the operator's choice, with a warning at start
	}
	var err error
	if cfg.RootCAs, err = authorities(t.CA); err != nil {
		return nil, err
	}
	if t.Cert != "" || t.Key != "" {
		cert, err := KeyPair{Cert: t.Cert, Key: t.Key}.Load()
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// authorities reads a PEM file of authorities; without a file it returns nil, the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authorities: no certificate in %s", file)
	}
	return pool, nil
}

var errHalfPair = errors.New("a certificate and its key are needed together")

// Load reads the pair and checks that the key belongs to the certificate.
func (p KeyPair) Load() (tls.Certificate, error) {
	if p.Cert == "" || p.Key == "" {
		return tls.Certificate{}, errHalfPair
	}
	cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate and key: %w", err)
	}
	return cert, nil
}
