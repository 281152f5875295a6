package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ProxyOptions are what a sample configuration of deploy/proxies is adapted to.
type ProxyOptions struct {
	Gateway   *Gateway
	Cert, Key string // PEM files
}

// Proxy is a reverse proxy with a sample configuration, in front of one gateway.
type Proxy struct {
	*Process
	URL     string   // ws://
	Secures []string // wss://, one for each port
}

// proxyKind describes how a sample configuration is run.
type proxyKind struct {
	program string
	plain   string   // listening address for ws, as the sample has it
	secure  []string // for wss
	checks  string   // the text before the port of readiness checks; empty: it has none
	args    func(config string) []string
	wrap    func(t testing.TB, config string) string // writes the main configuration, if the sample is a part of it
}

var proxyKinds = map[string]proxyKind{
	"nginx.conf": {
		program: "nginx", plain: "listen 8080;", secure: []string{"listen 8443 ssl;", "listen 443 ssl;"},
		args: func(config string) []string { return []string{"-c", config} },
		wrap: wrapNginx,
	},
	"haproxy.cfg": {
		program: "haproxy", plain: "bind :8080\n", secure: []string{"bind :8443 ", "bind :443 "}, checks: " port ",
		args: func(config string) []string { return []string{"-db", "-f", config} },
	},
	"Caddyfile": {
		program: "caddy", plain: "http://:8080", secure: []string{"https://:8443", "https://:443"}, checks: "health_port ",
		args: func(config string) []string { return []string{"run", "--adapter", "caddyfile", "--config", config} },
	},
}

// StartProxy runs a file of deploy/proxies, whose addresses and certificate are replaced, and waits until it
// accepts connections.
func StartProxy(t testing.TB, sample string, o ProxyOptions) *Proxy {
	t.Helper()
	SkipShort(t)
	kind, ok := proxyKinds[sample]
	if !ok {
		t.Fatalf("no proxy has the sample %s", sample)
	}
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "deploy/proxies", sample))
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "tls.pem")
	writeBundle(t, bundle, o.Cert, o.Key)
	config := string(text)
	replace := func(old, replacement string) {
		t.Helper()
		if !strings.Contains(uncommented(config), old) {
			t.Fatalf("deploy/proxies/%s lacks %q", sample, old)
		}
		config = strings.ReplaceAll(config, old, replacement)
	}
	port := func(old string) (addr string) {
		t.Helper()
		digits := strings.Trim(old, "abcdefghijklmnopqrstuvwxyz :;/\n")
		n := FreePort(t)
		replace(old, strings.Replace(old, digits, fmt.Sprint(n), 1))
		return fmt.Sprintf("127.0.0.1:%d", n)
	}
	public := strings.TrimSuffix(strings.TrimPrefix(o.Gateway.URL, "ws://"), "/")
	_, internal, err := net.SplitHostPort(strings.TrimPrefix(o.Gateway.Internal, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	plain := port(kind.plain)
	p.URL = "ws://" + plain + "/"
	for _, secure := range kind.secure {
		p.Secures = append(p.Secures, "wss://"+port(secure)+"/")
	}
	replace("127.0.0.1:8088", public)
	if kind.checks != "" {
		replace(kind.checks+"9090", kind.checks+internal)
	}
	if strings.Contains(config, "/etc/ssl/wcs/tls.pem") {
		replace("/etc/ssl/wcs/tls.pem", bundle)
	} else {
		replace("/etc/ssl/wcs/tls.crt", o.Cert)
		replace("/etc/ssl/wcs/tls.key", o.Key)
	}
	file := filepath.Join(t.TempDir(), sample)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if kind.wrap != nil {
		file = kind.wrap(t, file)
	}
	cmd := exec.Command(findProgram(t, kind.program), kind.args(file)...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	p.Process = StartCmd(t, cmd)
	Eventually(t, 20*time.Second, kind.program+" accepts connections", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("%s ended at once:\n%s", kind.program, p.Output())
		default:
		}
		c, err := net.Dial("tcp", plain)
		if err != nil {
			return false
		}
		_ = c.Close() // nothing is sent
		return true
	})
	return p
}

// wrapNginx writes a main configuration that includes a file as nginx includes those of conf.d.
func wrapNginx(t testing.TB, include string) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, "daemon off;\nmaster_process off;\nerror_log stderr;\npid %s/pid;\nevents {}\nhttp {\n    access_log off;\n", dir)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "    %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	fmt.Fprintf(&b, "    include %s;\n}\n", include)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// findProgram is the path of a program that is installed, or that .ci/setup put into bin/.
func findProgram(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join(moduleRoot(t), "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not installed; .ci/setup fetches it", name)
	}
	return path
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(mod)))
}

// writeBundle writes certificate and key into one file, as haproxy reads them.
func writeBundle(t testing.TB, file, cert, key string) {
	t.Helper()
	var both []byte
	for _, part := range []string{cert, key} {
		text, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
}

// uncommented is a text without the lines that start with #.
func uncommented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
