package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// installedSDK is defaultSDK relative to this package.
const installedSDK = "node_modules/@flashphoner/websdk"

// waitTimeout exceeds all expected waits, even on a busy machine.
const waitTimeout = 60 * time.Second

func requireSDK(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the SDK of npm: not run with -short")
	}
	if !isFile(filepath.Join(installedSDK, sdkFile)) {
		t.Fatalf("the WebSDK is missing in %s: run npm ci --prefix cmd/wcs-dev, as make dev and make test do", installedSDK)
	}
}

// make dev says what it does before it compiles, and installs nothing but the npm packages of the page.
func TestMakeDevNeedsNoApt(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "make", "--dry-run", "dev")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	steps := string(out)
	for _, word := range []string{"apt", "setup", "sudo"} {
		if strings.Contains(steps, word) {
			t.Errorf("%s is a part of make dev:\n%s", word, steps)
		}
	}
	says, builds := strings.Index(steps, "echo 'Compiling"), strings.Index(steps, "go build -v ")
	if says < 0 || builds < says {
		t.Errorf("make dev does not say that it compiles before it does:\n%s", steps)
	}
}

func TestTakenPortIsReportedWithItsFlag(t *testing.T) {
	for _, one := range new(ports).all(loopback.String()) {
		t.Run(one.flag, func(t *testing.T) {
			taken, number, err := listen(one.network, net.JoinHostPort(one.host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = taken.Close() }() // nothing was written
			o, err := parseOptions([]string{
				"--rtsp-port=0", "--worker-port=0", "--page-port=0", "--ws-port=0", "--internal-port=0", "--livekit-port=0", "--livekit-udp=0", "--livekit-tcp=0",
				fmt.Sprintf("--%s=%d", one.flag, number),
			}, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			err = run(t.Context(), o, console{out: io.Discard}, zerolog.Nop())
			if want := fmt.Sprintf("--%s: port %d is taken", one.flag, number); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want one that begins %q", err, want)
			}
		})
	}
}

func TestPortForTwoPurposesIsRejected(t *testing.T) {
	p := freePorts(t)
	p.ws = p.page
	err := p.claim(loopback.String())
	if err == nil || !strings.HasPrefix(err.Error(), "--ws-port: ") {
		t.Errorf("error %v, want one for --ws-port", err)
	}
}

func TestInvalidOptionsAreReported(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string // part of the text for the user
	}{
		"host name":       {[]string{"--host", "example"}, `"example" for flag -host`},
		"any address":     {[]string{"--host", "0.0.0.0"}, "must be an IPv4 address that a browser can connect to"},
		"IPv6":            {[]string{"--host", "::1"}, "must be an IPv4 address"},
		"port is a text":  {[]string{"--ws-port", "many"}, `"many" for flag -ws-port`},
		"unexpected word": {[]string{"start"}, `unexpected argument "start"`},
		"help":            {[]string{"--help"}, "-livekit-udp"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if _, err := parseOptions(tt.args, &stderr); err == nil || errors.Is(err, flag.ErrHelp) != (name == "help") {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr %q does not contain %q", stderr.String(), tt.want)
			}
		})
	}
}

func TestSampleCamerasNeedFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := run(t.Context(), options{host: loopback, pull: true}, console{out: io.Discard}, zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "--pull needs ffmpeg (Debian package ffmpeg)") {
		t.Errorf("error %v", err)
	}
}

func TestConfigIsValid(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "192.0.2.1"} {
		o := options{host: netip.MustParseAddr(host), ports: freePorts(t), pull: host == loopback.String()}
		if _, err := o.config(); err != nil {
			t.Errorf("--host %s: %v", host, err)
		}
	}
}

func TestMediaUseAddressOfNetworkWithoutHost(t *testing.T) {
	lan := netip.MustParseAddr("192.0.2.7")
	for _, tt := range []struct {
		name              string
		o                 options
		found             bool
		host, media       string
		page, gateway, of string // of: a part of the box
	}{
		{"network", options{}, true, "127.0.0.1", "192.0.2.7", "http://127.0.0.1:8888/", "ws://127.0.0.1:8080", "192.0.2.7, UDP port 7882"},
		{"no network", options{}, false, "127.0.0.1", "127.0.0.1", "http://127.0.0.1:8888/", "ws://127.0.0.1:8080", "gets no media"},
		{"https", options{https: true}, true, "192.0.2.7", "192.0.2.7", "https://192.0.2.7:8888/", "wss://192.0.2.7:8888/gateway", "accept its certificate"},
	} {
		tt.o.host, tt.o.ports = loopback, ports{page: 8888, ws: 8080, liveKitUDP: 7882, liveKitTCP: 7881}
		tt.o.choose(lan, tt.found)
		if tt.o.host.String() != tt.host || tt.o.mediaHost().String() != tt.media || tt.o.pageURL() != tt.page || tt.o.gatewayURL() != tt.gateway {
			t.Errorf("%s: host %s, media %s, page %s, gateway %s", tt.name, tt.o.host, tt.o.mediaHost(), tt.o.pageURL(), tt.o.gatewayURL())
		}
		if printed := box(tt.o.lines()); !strings.Contains(printed, tt.of) {
			t.Errorf("%s: the box lacks %q:\n%s", tt.name, tt.of, printed)
		}
	}
}

func TestFirstUsableAddressIsNotLoopback(t *testing.T) {
	var all []net.Addr
	for _, cidr := range []string{"127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.3.4/16", "172.17.0.1/16", "192.0.2.7/24"} {
		ip, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
	}
	if got, ok := firstUsable(all); !ok || got.String() != "172.17.0.1" {
		t.Errorf("address %v %v", got, ok)
	}
	if got, ok := firstUsable(all[:4]); ok {
		t.Errorf("address %v of a machine without a network", got)
	}
}

func TestBoxHasOneWidthAndIsRepeated(t *testing.T) {
	text := box([]line{{"Demo page", "http://127.0.0.1:8888/"}, {"", "more"}})
	want := `+-----------------------------------+
| Demo page  http://127.0.0.1:8888/ |
|            more                   |
+-----------------------------------+
`
	if text != want {
		t.Errorf("box\n%s", text)
	}
	var out bytes.Buffer
	repeat(t.Context(), strings.NewReader("\n\n"), &out, text)
	if out.String() != text+text {
		t.Errorf("after two lines: %q", out.String())
	}
}

func TestRedisExpiresKeys(t *testing.T) {
	r, err := startRedis(net.JoinHostPort(loopback.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runDown(ctx, r) }()
	for key, ttl := range map[string]time.Duration{"short": 2 * time.Second, "long": time.Hour} {
		if err := r.Set(key, "x"); err != nil {
			t.Fatal(err)
		}
		r.SetTTL(key, ttl)
	}
	eventually(t, "the key is gone", func() bool { return !r.Exists("short") })
	if ttl := r.TTL("long"); ttl >= time.Hour || ttl < time.Hour-waitTimeout {
		t.Errorf("TTL of the other key = %v", ttl)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPageIsServedWithAndWithoutSDK(t *testing.T) {
	const ws = "ws://127.0.0.1:18080"
	t.Run("with the SDK", func(t *testing.T) {
		requireSDK(t)
		server := servePage(t, installedSDK)
		index := get(t, server.URL+"/")
		for _, want := range []string{`<script defer src="flashphoner.js">`, `data-ws="` + ws + `"`, `data-apps="defaultApp, roomApp"`} {
			if !strings.Contains(index, want) {
				t.Errorf("the page lacks %s", want)
			}
		}
		if strings.Contains(index, "make dev") {
			t.Error("page explains the installation of an installed SDK")
		}
		installed, err := os.ReadFile(filepath.Join(installedSDK, sdkFile))
		if err != nil {
			t.Fatal(err)
		}
		if get(t, server.URL+"/flashphoner.js") != string(installed) {
			t.Error("the SDK is not served as it was installed")
		}
	})
	t.Run("without", func(t *testing.T) {
		index := get(t, servePage(t, t.TempDir()).URL+"/")
		if !strings.Contains(index, "<code>make dev</code>") {
			t.Errorf("page lacks the hint about the installation:\n%s", index)
		}
		if strings.Contains(index, "<script") {
			t.Error("page loads scripts without the SDK")
		}
	})
}

func servePage(t *testing.T, sdk string) *httptest.Server {
	t.Helper()
	p, err := newPage(options{host: loopback, ports: ports{ws: 18080}, sdk: sdk})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.handler())
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, res.Status)
	}
	return string(body)
}

func freePorts(t *testing.T) ports {
	t.Helper()
	var p ports
	if err := p.claim(loopback.String()); err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually polls ok until it returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(waitTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", waitTimeout, what)
		case <-poll.C:
		}
	}
}
