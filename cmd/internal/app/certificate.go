package app

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

	"wcsgateway/cmd/internal/config"
)

// certificate is the certificate of a listener. It can be renewed while the listener runs; each handshake
// uses the current one.
type certificate struct {
	files   config.KeyPair
	current atomic.Pointer[tls.Certificate]
}

// loadCertificate loads the certificate of a setting; it returns nil if none is configured.
func (a *application) loadCertificate(setting string, files config.KeyPair) (*certificate, error) {
	if files == (config.KeyPair{}) {
		return nil, nil
	}
	c := &certificate{files: files}
	if _, err := c.reload(); err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	a.metrics.Certificate(setting, c.notAfter())
	return c, nil
}

// reload reads the files and reports whether the certificate changed. After an error the old one stays.
func (c *certificate) reload() (renewed bool, err error) {
	next, err := c.files.Load()
	if err != nil {
		return false, err
	}
	old := c.current.Swap(&next)
	return old == nil || !bytes.Equal(old.Certificate[0], next.Certificate[0]), nil
}

// notAfter returns the expiry time.
func (c *certificate) notAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// config returns the listener's configuration: TLS 1.2 or later with Go's choice of ciphers, and HTTP/1.1
// only, because an upgrade to WebSocket needs it.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
