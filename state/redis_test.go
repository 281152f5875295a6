package state

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
)

func itoa(i int) string { return strconv.Itoa(i) }

func contains(s, word string) bool { return strings.Contains(s, word) }

func TestIndexEntryIsParsedAsWritten(t *testing.T) {
	for _, e := range []entry{
		{streamEntry, "m", "i", "s"},
		{playerEntry, "m 1%", "wcs:d:play:ü ", " a b "},
		{streamEntry, "", "", ""},
	} {
		if got, err := parseEntry(e.String()); err != nil || got != e {
			t.Errorf("%+v is parsed as %+v, %v", e, got, err)
		}
	}
	for _, bad := range []string{"", "s m i", "x m i s", "s % i s", "s m % s"} {
		if e, err := parseEntry(bad); err == nil {
			t.Errorf("%q is parsed as %+v", bad, e)
		}
	}
}

func TestWrongPasswordIsLogged(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t, "--requirepass", "right")
	for name, password := range map[string]string{"wrong": "not-right", "none": ""} {
		t.Run(name, func(t *testing.T) {
			cfg := quickConfig(server.Addr)
			cfg.Password = password
			var log logBuffer
			p := newPod(t, cfg, podA)
			p.log = zerolog.New(&log)
			p.run(t, func(ctx context.Context) { _ = p.Run(ctx, Handlers{}) }) // always nil
			t.Cleanup(func() { t.Log(log.String()) })
			rig.Eventually(t, eventually, "the cause is logged", func() bool {
				return contains(log.String(), `"level":"error"`) && contains(log.String(), "rejects user or password")
			})
			if contains(log.String(), "right") {
				t.Errorf("log contains the password: %s", log.String())
			}
			if p.Ready() {
				t.Error("ready without access")
			}
		})
	}
}

// The user has access to the gateway's keys and channels only, over TLS.
func TestUserNeedsOnlyKeysOfGateway(t *testing.T) {
	t.Parallel()
	certFile, keyFile, roots := selfSigned(t)
	port := rig.FreePort(t)
	rig.StartRedis(t, "--tls-port", itoa(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no",
		"--user", "default", "off", "--user", "wcs", "on", ">secret", "~wcs:test:*", "&wcs:test:*", "+@all", "-@admin", "-@dangerous")
	cfg := quickConfig("127.0.0.1:" + itoa(port))
	cfg.Username, cfg.Password, cfg.TLS = "wcs", "secret", &tls.Config{RootCAs: roots}
	a := startPod(t, cfg, podA)
	s := testStream("cam", "m1")
	claimAll(t, a, s)
	must(t, a.Publish(t.Context(), podA, Event{Kind: EventChanged}))
	<-a.events
	_, err := a.ReleaseStream(t.Context(), s)
	must(t, err)
}

// selfSigned creates a certificate for 127.0.0.1.
func selfSigned(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	keyBytes, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, certPEM, 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyBytes}), 0o600))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, roots
}

func TestEveryKeyHasTTLAndIsRefreshed(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	cfg.RecordTTL = time.Hour
	a := startPod(t, cfg, podA)
	claimAll(t, a, testStream("cam", "m1"))
	playAll(t, a, testPlayer("cam", "m2"))
	putSessions(a, "s", 600) // more than a batch
	awaitSessions(t, a, "s", 600, a.life())
	_, err := a.ReleaseStream(t.Context(), testStream("none", "m3")) // leaves its mark
	must(t, err)

	see := client(t, cfg)
	keys := allKeys(t, see)
	if want := 600 + 10; len(keys) != want {
		t.Errorf("%d keys, want %d: %v", len(keys), want, keysWithout(keys, "session:"))
	}
	for _, k := range keys {
		if ttl := see.PTTL(t.Context(), "wcs:test:"+k).Val(); ttl <= 0 {
			t.Errorf("TTL of %s is %v", k, ttl)
		}
		if !contains(k, ":lease") {
			must(t, see.Expire(t.Context(), "wcs:test:"+k, 10*time.Minute).Err()) // as time passes
		}
	}
	must(t, a.refresh(t.Context()))
	for _, k := range keysWithout(keys, ":lease", ":void:", "pods") { // a lease and the list of pods are renewed separately
		if ttl := see.PTTL(t.Context(), "wcs:test:"+k).Val(); ttl < 50*time.Minute {
			t.Errorf("TTL of %s is %v after a refresh", k, ttl)
		}
	}
	rig.Eventually(t, eventually, "the list of pods is kept alive", func() bool {
		return see.PTTL(t.Context(), a.keys.pods()).Val() > 50*time.Minute
	})
}

func TestManySessionsLeaveNoKeys(t *testing.T) {
	t.Parallel()
	const sessions = 10000
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := startPod(t, cfg, podA)
	see := client(t, cfg)
	registered := func() int64 { return see.HLen(t.Context(), a.keys.sessions(a.life())).Val() }
	putSessions(a, "gone", 100)
	for i := range 100 {
		a.DropSession("gone" + itoa(i)) // before or after it is written
	}
	start := time.Now()
	putSessions(a, "s", sessions)
	rig.Eventually(t, eventually, "all sessions are registered", func() bool { return registered() == sessions && !a.sessions.pending() })
	t.Logf("%d sessions registered in %v", sessions, time.Since(start))
	for i := range sessions {
		a.DropSession("s" + itoa(i))
	}
	rig.Eventually(t, eventually, "all sessions are gone", func() bool { return !a.sessions.pending() && registered() == 0 })
	if left := keysWithout(allKeys(t, see), "{pod:", "pods"); len(left) != 0 {
		t.Errorf("%d keys left: %v", len(left), left[:min(10, len(left))])
	}
}

// commandCounter is a go-redis hook.
type commandCounter struct {
	mu       sync.Mutex
	commands []string
	trips    int
}

func (c *commandCounter) count(cmds ...redis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trips++
	for _, cmd := range cmds {
		c.commands = append(c.commands, cmd.Name())
	}
}

func (c *commandCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commandCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *commandCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds...)
		return next(ctx, cmds)
	}
}

func (c *commandCounter) reset() (commands []string, trips int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	commands, trips = c.commands, c.trips
	c.commands, c.trips = nil, 0
	return commands, trips
}

// The cost of a stream and of a player is part of the store's contract.
func TestStreamCostsFewCommands(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := startPod(t, cfg, podA)
	b := newPod(t, cfg, podB) // does no background work, so that only its calls are counted
	b.lease.renewed(time.Now().Add(time.Hour))
	t.Cleanup(func() { must(t, b.client.Close()) })
	claimAll(t, a, testStream("x", "x1"))
	playAll(t, a, testPlayer("x", "x2"))
	must(t, a.RemovePlayer(t.Context(), testPlayer("x", "x2")))
	_, err := a.PutStream(t.Context(), testStream("x", "x1"))
	must(t, err)
	_, err = a.ReleaseStream(t.Context(), testStream("x", "x1")) // loads all scripts
	must(t, err)
	var counter commandCounter
	must(t, b.client.Ping(t.Context()).Err()) // connects
	must(t, b.scripts.enlist.Load(t.Context(), b.client).Err())
	must(t, b.scripts.unlist.Load(t.Context(), b.client).Err())
	b.client.AddHook(&counter)

	s, pl := testStream("cam", "m1"), testPlayer("cam", "m2")
	for _, c := range []struct {
		op       string
		run      func() error
		commands []string
		trips    int
		apart    int // commands and round trips more in a Cluster
	}{
		{"claim", func() error { return b.ClaimStream(t.Context(), s) }, []string{"evalsha", "evalsha"}, 1, 1},
		{"put", func() error { _, err := b.PutStream(t.Context(), s); return err }, []string{"evalsha"}, 1, 0},
		{"play", func() error { _, err := b.AddPlayer(t.Context(), pl); return err }, []string{"evalsha", "evalsha"}, 1, 1},
		{"stop", func() error { return b.RemovePlayer(t.Context(), pl) }, []string{"evalsha", "evalsha", "evalsha"}, 2, 0},
		{"release", func() error { _, err := b.ReleaseStream(t.Context(), s); return err }, []string{"evalsha", "evalsha", "evalsha"}, 2, 0},
	} {
		for more, apart := range []bool{false, true} {
			b.apart.Store(apart)
			counter.reset()
			must(t, c.run()) // can be repeated
			more *= c.apart
			want := append(slices.Repeat([]string{"evalsha"}, more), c.commands...)
			if commands, trips := counter.reset(); !slices.Equal(commands, want) || trips != c.trips+more {
				t.Errorf("%s takes %v in %d round trips, want %v in %d", c.op, commands, trips, want, c.trips+more)
			}
		}
	}
}

// A Cluster, or a proxy of one, is configured as one server.
func TestClaimsSucceedWithScriptsOfOneSlotOnly(t *testing.T) {
	t.Parallel()
	p := newPod(t, quickConfig(rig.StartRedis(t).Addr), podA)
	p.lease.renewed(time.Now().Add(time.Hour))
	t.Cleanup(func() { must(t, p.client.Close()) })
	p.client.AddHook(oneSlot{})
	for _, name := range []string{"one", "two"} {
		claimAll(t, p, testStream(name, "m"+name))
		playAll(t, p, testPlayer(name, "p"+name))
	}
	owner, _ := p.lease.current()
	if n := p.client.HLen(t.Context(), p.keys.index(owner)).Val(); n != 4 {
		t.Errorf("%d entries in the index", n)
	}
}

// oneSlot rejects scripts that have the keys of a pod and others.
type oneSlot struct{}

type crossSlot struct{}

func (crossSlot) Error() string { return "CROSSSLOT Keys in request don't hash to the same slot" }
func (crossSlot) RedisError()   {}

func (oneSlot) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (oneSlot) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (oneSlot) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, c := range cmds {
			if strings.Contains(c.String(), "}:taken") {
				c.SetErr(crossSlot{})
				return crossSlot{}
			}
		}
		return next(ctx, cmds)
	}
}

// A client that invents tokens has no record read, however large it is.
func TestWrongTokenReadsNoRecord(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a := startPod(t, cfg, podA)
	s := largestSession("/x")
	s.TokenHash = TokenHash{1}
	a.PutSession(s)
	b := newPod(t, cfg, podB) // does no background work, so that only its calls are counted
	t.Cleanup(func() { must(t, b.client.Close()) })
	rig.Eventually(t, eventually, "the session is registered", func() bool {
		got, err := b.FindSessionOf(t.Context(), s.ID, s.TokenHash)
		return err == nil && len(got.Rooms) == len(s.Rooms)
	})
	var counter commandCounter
	b.client.AddHook(&counter)
	_, err := b.FindSessionOf(t.Context(), s.ID, TokenHash{2})
	wantErr(t, err, ErrNotFound)
	if commands, _ := counter.reset(); !slices.Equal(commands, []string{"getrange"}) {
		t.Errorf("a wrong token takes %v", commands)
	}
}

// The cost of an idle pod does not depend on the number of pods.
func TestIdlePodSendsSameCommandsWhateverNumberOfPods(t *testing.T) {
	t.Parallel()
	testIdleCommands(t, Config{Addrs: []string{rig.StartRedis(t).Addr}})
}

func TestIdlePodSendsSameCommandsWhateverNumberOfPodsInCluster(t *testing.T) {
	if !*more {
		t.Skip("-more is not set")
	}
	t.Parallel()
	testIdleCommands(t, Config{Addrs: rig.StartRedisCluster(t).Addrs()})
}

// testIdleCommands counts the commands for each sweep, of which there is one a second, so a slow machine does
// not matter.
func testIdleCommands(t *testing.T, cfg Config) {
	first := newPod(t, cfg, "pod100")
	var counter commandCounter
	first.client.AddHook(&counter)
	first.start(t)
	perSweep := func() float64 {
		counter.reset()
		var commands []string
		sweeps := func() (n int) {
			got, _ := counter.reset()
			commands = append(commands, got...)
			for _, c := range commands {
				if c == "hgetall" {
					n++
				}
			}
			return n
		}
		rig.Eventually(t, time.Minute, "the pod has swept 16 times", func() bool { return sweeps() >= 16 })
		n := float64(len(commands)) / float64(sweeps())
		t.Logf("%.2f commands for each sweep", n)
		return n
	}
	alone := perSweep()
	running := 1
	for _, pods := range []int{10, 60} {
		for ; running < pods; running++ {
			startPod(t, cfg, "pod"+itoa(100+running))
		}
		if n := perSweep(); n > 1.2*alone || n < alone/1.2 {
			t.Errorf("a pod of %d sends %.2f commands for each sweep, a single one %.2f", pods, n, alone)
		}
	}
}
