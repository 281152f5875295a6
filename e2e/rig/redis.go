package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const redisStart = 30 * time.Second // on a machine that is busy with other tests

// Redis is a redis-server of the test's own: no persistence, so that it is empty after Restart.
type Redis struct {
	Addr string // host:port
	Port int

	t    testing.TB
	args []string
	proc *Process
}

// PID returns the process id of the server.
func (r *Redis) PID() int { return r.proc.PID() }

// StartRedis starts a redis-server on a free port and waits until it accepts connections. Further arguments
// are those of redis-server, as "--requirepass", "secret".
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := newRedis(t, args...)
	r.awaitReady()
	return r
}

func newRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	SkipShort(t)
	port := FreePort(t)
	r := &Redis{Addr: "127.0.0.1:" + strconv.Itoa(port), Port: port, t: t}
	r.args = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--protected-mode", "no", "--daemonize", "no",
		"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--dir", t.TempDir(),
	}, args...)
	r.start()
	return r
}

func (r *Redis) start() {
	r.t.Helper()
	r.proc = Start(r.t, "redis-server", r.args...)
}

func (r *Redis) awaitReady() {
	r.t.Helper()
	Eventually(r.t, redisStart, "redis-server accepts connections on "+r.Addr, func() bool {
		select {
		case <-r.proc.Done():
			r.t.Fatalf("redis-server on %s ended at its start", r.Addr)
		default:
		}
		return strings.Contains(r.proc.Output(), "Ready to accept connections")
	})
}

// Stop ends the server with SIGTERM.
func (r *Redis) Stop() { r.proc.Stop() }

// Kill ends the server with SIGKILL.
func (r *Redis) Kill() { r.proc.Kill() }

// Pause freezes the server: connections stay open and nothing is answered.
func (r *Redis) Pause() { r.proc.Pause() }

// Resume lets a paused server continue, with what arrived meanwhile.
func (r *Redis) Resume() { r.proc.Resume() }

// Restart ends the server, if it runs, and starts it on the same port: empty, unless it was configured to
// keep its data.
func (r *Redis) Restart() {
	r.t.Helper()
	r.proc.Kill()
	r.start()
	r.awaitReady()
}

// CLI runs redis-cli against the server and returns its output. A failure ends the test.
func (r *Redis) CLI(args ...string) string {
	r.t.Helper()
	out, err := r.tryCLI(args...)
	if err != nil {
		r.t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *Redis) tryCLI(args ...string) (string, error) {
	cmd := exec.Command("redis-cli", append([]string{"-p", strconv.Itoa(r.Port)}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// answers reports whether the output of a command contains all of the words.
func (r *Redis) answers(words []string, command ...string) bool {
	out, err := r.tryCLI(command...)
	if err != nil {
		return false
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			return false
		}
	}
	return true
}

// RedisCluster is a Redis Cluster of three masters with a replica each.
type RedisCluster struct {
	Nodes []*Redis
}

// StartRedisCluster starts a cluster and waits until all its slots are served and its replicas are in step.
// Failover takes about 3 s. Further arguments are those of every redis-server.
func StartRedisCluster(t testing.TB, args ...string) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	for range 6 {
		node := []string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1500",
			"--cluster-announce-ip", "127.0.0.1", "--cluster-replica-validity-factor", "0", "--cluster-port", strconv.Itoa(FreePort(t)),
		}
		c.Nodes = append(c.Nodes, newRedis(t, append(node, args...)...))
	}
	for _, n := range c.Nodes {
		n.awaitReady()
	}
	create := append([]string{"--cluster", "create"}, c.Addrs()...)
	c.Nodes[0].CLI(append(create, "--cluster-replicas", "1", "--cluster-yes")...)
	for _, n := range c.Nodes {
		Eventually(t, redisStart, "cluster state is ok on "+n.Addr, func() bool {
			return n.answers([]string{"cluster_state:ok", "cluster_known_nodes:6"}, "cluster", "info")
		})
		Eventually(t, redisStart, "replication is up on "+n.Addr, func() bool {
			return n.answers([]string{"role:master", "connected_slaves:1", "state=online"}, "info", "replication") ||
				n.answers([]string{"role:slave", "master_link_status:up"}, "info", "replication")
		})
	}
	return c
}

// Addrs are the addresses of all nodes.
func (c *RedisCluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr
	}
	return addrs
}

// MasterOf is the node that serves a key, or channel of sharded Pub/Sub, according to some node that answers.
// It is nil while none knows of one that is not marked as failed.
func (c *RedisCluster) MasterOf(key string) *Redis {
	for _, n := range c.Nodes {
		if m := c.masterAccordingTo(n, key); m != nil {
			return m
		}
	}
	return nil
}

func (c *RedisCluster) masterAccordingTo(n *Redis, key string) *Redis {
	out, err := n.tryCLI("cluster", "keyslot", key)
	if err != nil {
		return nil
	}
	slot, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return nil
	}
	nodes, err := n.tryCLI("cluster", "nodes")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(nodes) { // id addr@port flags master ping pong epoch link slots…
		f := strings.Fields(line)
		if len(f) < 9 || !strings.Contains(f[2], "master") || strings.Contains(f[2], "fail") {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		for _, slots := range f[8:] {
			if hasSlot(slots, slot) {
				return c.node(addr)
			}
		}
	}
	return nil
}

// hasSlot reports whether a word of CLUSTER NODES, as 0-5460 or 7, holds the slot.
func hasSlot(word string, slot int) bool {
	low, high, isRange := strings.Cut(word, "-")
	if !isRange {
		high = low
	}
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	return err1 == nil && err2 == nil && from <= slot && slot <= to
}

func (c *RedisCluster) node(addr string) *Redis {
	for _, n := range c.Nodes {
		if n.Addr == addr {
			return n
		}
	}
	return nil
}

// SentinelMasterName is the name under which the Sentinels of StartSentinel know the master.
const SentinelMasterName = "mymaster"

// RedisSentinel is a master with two replicas and three Sentinels that watch them.
type RedisSentinel struct {
	Addrs []string // of the Sentinels

	sentinels []*Process
	servers   []*Redis
}

// StartSentinel starts the servers and Sentinels and waits until all know each other. Failover takes about 2
// s.
func StartSentinel(t testing.TB) *RedisSentinel {
	t.Helper()
	master := StartRedis(t)
	s := &RedisSentinel{servers: []*Redis{master}}
	for range 2 {
		s.servers = append(s.servers, StartRedis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port)))
	}
	for range 3 {
		s.addSentinel(t, master.Port)
	}
	for _, addr := range s.Addrs {
		Eventually(t, redisStart, "sentinel "+addr+" knows all servers", func() bool {
			out, err := sentinelCLI(addr, "sentinel", "master", SentinelMasterName)
			fields := strings.Join(strings.Fields(out), " ")
			return err == nil && strings.Contains(fields, "num-slaves 2") && strings.Contains(fields, "num-other-sentinels 2")
		})
	}
	return s
}

func (s *RedisSentinel) addSentinel(t testing.TB, master int) {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf(`port %d
bind 127.0.0.1
protected-mode no
dir %s
sentinel monitor %s 127.0.0.1 %d 2
sentinel down-after-milliseconds %[3]s 1000
sentinel failover-timeout %[3]s 3000
sentinel parallel-syncs %[3]s 2
`, port, dir, SentinelMasterName, master)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.sentinels = append(s.sentinels, Start(t, "redis-server", conf, "--sentinel"))
	s.Addrs = append(s.Addrs, "127.0.0.1:"+strconv.Itoa(port))
}

func sentinelCLI(addr string, args ...string) (string, error) {
	_, port, _ := strings.Cut(addr, ":")
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	return string(out), err
}

// Master is the server that the Sentinels hold for the master now.
func (s *RedisSentinel) Master(t testing.TB) *Redis {
	t.Helper()
	out, err := sentinelCLI(s.Addrs[0], "sentinel", "get-master-addr-by-name", SentinelMasterName)
	if err != nil {
		t.Fatalf("sentinel: %v\n%s", err, out)
	}
	addr := strings.Join(strings.Fields(out), ":")
	for _, r := range s.servers {
		if r.Addr == addr {
			return r
		}
	}
	t.Fatalf("sentinel names a master at %q that is none of ours", addr)
	return nil
}
