package check

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"wcsgateway/cmd/internal/config"
)

// dyingRedis forwards connections to a Redis until a client sends a word, in any case: a command or a key.
// From then on it closes connections, as a server that died does.
type dyingRedis struct {
	addr  string
	word  []byte
	front net.Listener
	work  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

// startDyingRedis starts one in front of the Redis at addr. It ends with the test.
func startDyingRedis(t *testing.T, addr, word string) *dyingRedis {
	t.Helper()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dyingRedis{addr: addr, word: []byte("\r\n" + word + "\r\n"), front: front}
	d.work.Go(d.accept)
	t.Cleanup(func() {
		d.die()
		d.work.Wait()
	})
	return d
}

func (d *dyingRedis) accept() {
	for {
		client, err := d.front.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", d.addr)
		if err != nil {
			client.Close()
			return
		}
		if !d.keep(client, server) {
			return
		}
		d.work.Go(func() { _, _ = io.Copy(client, server) }) // ends when either is closed
		d.work.Go(func() { d.forward(client, server) })
	}
}

// forward copies what the client sends, up to the word. The client of Redis writes a command at once.
func (d *dyingRedis) forward(client, server net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if bytes.Contains(bytes.ToUpper(buffer[:n]), d.word) {
			d.die()
			return
		}
		if err != nil {
			server.Close()
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			client.Close()
			return
		}
	}
}

// keep remembers connections for die. It closes them and reports false if the server is dead.
func (d *dyingRedis) keep(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, conns...)
	if d.dead {
		for _, c := range conns {
			c.Close()
		}
	}
	return !d.dead
}

func (d *dyingRedis) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	d.front.Close()
	for _, c := range d.conns {
		c.Close()
	}
}

func TestConnectReportsRedisThatDiesBetweenSteps(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	for _, tt := range []struct {
		word   string // Redis dies when it is sent
		works  []string
		faulty string
	}{
		{"EXISTS", nil, "redis"},
		{"SUBSCRIBE", []string{"redis.username"}, "redis events"},
		{"PUBLISH", []string{"redis.username"}, "redis events"},
		{"WCS:DEFAULT:PODS", []string{"redis.username", "redis events"}, "gateways"},
	} {
		t.Run(tt.word, func(t *testing.T) {
			front := startDyingRedis(t, s.redis.Addr, tt.word)
			addr := front.front.Addr().String()
			results := Connect(t.Context(), s.config(func(c *config.Config) { c.Redis.Addrs = []string{addr} }), "")
			wantResult(t, results, "redis "+addr, OK)
			for _, check := range tt.works {
				wantResult(t, results, check, OK)
			}
			wantResult(t, results, tt.faulty, Fault, "redis.addrs")
			wantResult(t, results, "livekit.url", OK)
		})
	}
}
