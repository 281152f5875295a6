package state

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// silentPort is the address of a server that takes connections and answers nothing.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends accepting
		accepting.Wait()
	})
	return l.Addr().String()
}

// A claim that could not even be sent is told from one that may have been done.
func TestClaimThatWasNotSent(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     Config
		notSent bool
	}{
		"nobody listens":               {Config{Addrs: []string{closedPort(t)}}, true},
		"no node of a cluster listens": {Config{Addrs: []string{closedPort(t), closedPort(t)}, Cluster: true}, true},
		"no answer":                    {Config{Addrs: []string{silentPort(t)}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Open(c.cfg, Pod{Deployment: "d", ID: podA}, Deps{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.client.Close(); err != nil {
					t.Error(err)
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			for range 2 * poolSize { // go-redis stops to connect after some failures, and then gives the last one
				r.lease.renewed(time.Now()) // as if Redis had just been there
				err := r.ClaimStream(ctx, Stream{Name: "s", MediaID: "m", Identity: "i"})
				if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotSent) != c.notSent {
					t.Fatalf("publish: %v", err)
				}
				_, err = r.AddPlayer(ctx, Player{Stream: "s", MediaID: "m", Identity: "i"})
				if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotSent) != c.notSent {
					t.Fatalf("play: %v", err)
				}
				if !c.notSent {
					break // each takes its time
				}
			}
		})
	}
}
