package bench

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wcsgateway/e2e/rig"
)

const startTimeout = 30 * time.Second

// server is a process with a WebSocket listener and a listener with /metrics: the gateway or the baseline.
type server struct {
	*rig.Process
	URL      string // ws://
	internal string // http://
}

// stage is the environment of a measure of streams.
type stage struct {
	redis   *rig.Redis
	livekit *rig.LiveKit
	gateway *server
}

// newStage starts everything.
func newStage(b *testing.B, p *programs) *stage {
	b.Helper()
	return newStageWith(b, p, nil)
}

// newStageWith starts everything, with settings of the gateway.
func newStageWith(b *testing.B, p *programs, env map[string]string) *stage {
	b.Helper()
	return newStageFor(b, p, rig.LiveKitOptions{}, env)
}

// newStageFor starts everything, with options of LiveKit and settings of the gateway.
func newStageFor(b *testing.B, p *programs, options rig.LiveKitOptions, env map[string]string) *stage {
	b.Helper()
	ports := rig.NewPorts(b)
	options.Webhook = ports.Webhook()
	s := &stage{redis: rig.StartRedis(b), livekit: rig.StartLiveKit(b, options)}
	all := map[string]string{"WCS_LIVEKIT_URL": s.livekit.URL, "WCS_LIVEKIT_APIKEY": s.livekit.Key, "WCS_LIVEKIT_APISECRET": s.livekit.Secret}
	maps.Copy(all, env)
	s.gateway = startGateway(b, p, ports, s.redis.Addr, all)
	return s
}

// startGateway starts the production binary with its defaults, except for addresses and env.
func startGateway(b *testing.B, p *programs, ports rig.Ports, redis string, env map[string]string) *server {
	b.Helper()
	all := map[string]string{
		"WCS_LISTEN_PUBLIC":   fmt.Sprintf("127.0.0.1:%d", ports.Public),
		"WCS_LISTEN_INTERNAL": fmt.Sprintf("127.0.0.1:%d", ports.Internal),
		"WCS_REDIS_ADDRS":     fmt.Sprintf("[%q]", redis),
		"WCS_LIVEKIT_URL":     "http://127.0.0.1:1", // for measures without streams
		// One client starts as many streams as it can.
		"WCS_LIMITS_STARTSPERSECOND": "0", "WCS_LIMITS_STARTSUNDERWAY": "0",
		"WCS_LIVEKIT_APIKEY":    "none",
		"WCS_LIVEKIT_APISECRET": "none",
	}
	maps.Copy(all, env)
	cmd := exec.Command(p.gateway)
	cmd.Env = os.Environ()
	for k, v := range all {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return startServer(b, cmd, ports)
}

// startBaseline starts the lean server, with further arguments.
func startBaseline(b *testing.B, p *programs, pingInterval time.Duration, more ...string) *server {
	b.Helper()
	ports := rig.NewPorts(b)
	args := append([]string{
		"-public", fmt.Sprintf("127.0.0.1:%d", ports.Public), "-internal", fmt.Sprintf("127.0.0.1:%d", ports.Internal), "-ping", pingInterval.String(),
	}, more...)
	return startServer(b, exec.Command(p.baseline, args...), ports)
}

func startServer(b *testing.B, cmd *exec.Cmd, ports rig.Ports) *server {
	b.Helper()
	s := &server{
		Process:  rig.StartCmd(b, cmd),
		URL:      fmt.Sprintf("ws://127.0.0.1:%d/", ports.Public),
		internal: fmt.Sprintf("http://127.0.0.1:%d", ports.Internal),
	}
	rig.Eventually(b, startTimeout, cmd.Path+" is ready", func() bool {
		select {
		case <-s.Done():
			b.Fatalf("%s ended immediately:\n%s", cmd.Path, s.Output())
		default:
		}
		res, err := http.Get(s.internal + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close() // only the status matters
		return res.StatusCode == http.StatusOK
	})
	return s
}

// metrics returns the values of a server's /metrics, by name and labels as printed there.
func (s *server) metrics(b *testing.B) map[string]float64 {
	b.Helper()
	res, err := http.Get(s.internal + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // already read
	values := make(map[string]float64)
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		series, text, ok := cutLast(lines.Text(), " ")
		if v, err := strconv.ParseFloat(text, 64); ok && err == nil && series[0] != '#' {
			values[series] = v
		}
	}
	if err := lines.Err(); err != nil {
		b.Fatalf("read /metrics: %v", err)
	}
	return values
}

// awaitConnections waits until the server has n sockets.
func (s *server) awaitConnections(b *testing.B, n int) {
	b.Helper()
	rig.Eventually(b, time.Minute, fmt.Sprintf("%d sockets at %s", n, s.URL), func() bool {
		return s.metrics(b)["wcs_connections"] == float64(n)
	})
}

// cpu returns the user and system time of a process.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	clock := ^int32(pid)<<3 | 2 // as clock_getcpuclockid(3) returns
	var used unix.Timespec
	if err := unix.ClockGettime(clock, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Nano())
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i > 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
