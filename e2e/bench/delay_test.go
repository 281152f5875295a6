package bench

import (
	"net"
	"net/url"
	"testing"
	"time"
)

// startDelayed returns the address of a proxy to a server, on which a round trip takes roundTrip longer.
// The opening of a connection takes a round trip, too. The proxy ends with the measure.
func startDelayed(b *testing.B, address string, roundTrip time.Duration) string {
	b.Helper()
	server, err := url.Parse(address)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	upstreamHost := server.Host
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			upstream, err := net.Dial("tcp", upstreamHost)
			if err != nil {
				_ = client.Close() // the page fails the measure
				continue
			}
			go forward(upstream, client, roundTrip/2, time.Now().Add(roundTrip))
			go forward(client, upstream, roundTrip/2, time.Time{})
		}
	}()
	server.Host = l.Addr().String()
	return server.String()
}

// forward copies what it reads after the delay, and not before a time. It ends with either connection.
func forward(to, from net.Conn, delay time.Duration, earliest time.Time) {
	type chunk struct {
		due  time.Time
		data []byte
	}
	queue := make(chan chunk, 1024)
	go func() {
		defer close(queue)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				due := time.Now()
				if due.Before(earliest) {
					due = earliest
				}
				queue <- chunk{due.Add(delay), data[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range queue {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.data); err != nil {
			_ = from.Close() // ends the reader, and so the queue
		}
	}
	_ = to.Close()
}
