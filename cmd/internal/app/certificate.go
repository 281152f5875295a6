package app

import (
	"bytes"
	"crypto/tls"
	"sync/atomic"
	"time"

	"wcsgateway/cmd/internal/config"
)

// certificate is that of the listener for wss:// clients. It can be renewed while the listener runs: handshakes take the
// one that is there.
type certificate struct {
	files   config.KeyPair
	current atomic.Pointer[tls.Certificate]
}

// newCertificate loads it; without one configured it is nil.
func newCertificate(files config.KeyPair) (*certificate, error) {
	if files == (config.KeyPair{}) {
		return nil, nil
	}
	c := &certificate{files: files}
	_, err := c.reload()
	return c, err
}

// reload takes what is in the files now, and tells whether that is another certificate. With an error the old one stays.
func (c *certificate) reload() (renewed bool, err error) {
	next, err := c.files.Load()
	if err != nil {
		return false, err
	}
	old := c.current.Swap(&next)
	return old == nil || !bytes.Equal(old.Certificate[0], next.Certificate[0]), nil
}

// notAfter is when it expires.
func (c *certificate) notAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// config is the listener's: TLS 1.2 or later with Go's choice of ciphers, and HTTP/1.1 only, because an upgrade to WebSocket needs it.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
