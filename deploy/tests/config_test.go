package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// The gateway accepts the configuration that each option renders, with files at their paths in the pod.
func TestGatewayTakesTheConfig(t *testing.T) {
	run := runDir(t)
	texts := append([]string{"", string(readFile(t, filepath.Join(chartDir, "examples/gateway.yaml"))) + "\nfullnameOverride: null"}, options[:len(options)-1]...)
	texts = append(texts, "{listeners: {ws: false}, tls: {secretName: a}}",
		"config: {limits: {byteBurst: 8388608, bytesPerSecond: 10000000}, session: {maxMessageBytes: 2097152}, livekit: {webhookKeys: {old: {file: /run/secrets/wcs/shop-hook}}}}")
	for _, text := range texts {
		r := mustRender(t, text)
		config := strings.ReplaceAll(gatewayConfig(t, r), "/run/secrets", run)
		if err := checkConfig(t.Context(), t, config, containerEnv(t, r, run)); err != nil {
			t.Errorf("%s:\n%v\n%s", text, err, config)
		}
	}
}

// The values in the documents are complete, except for those that continue others, and the gateway accepts
// what they render.
func TestDocumentedValuesAreComplete(t *testing.T) {
	run := runDir(t)
	for _, file := range []string{root + "/docs/install-kubernetes.md", filepath.Join(chartDir, "README.md")} {
		complete := 0
		for _, block := range strings.Split(string(readFile(t, file)), "```yaml\n")[1:] {
			text, _, _ := strings.Cut(block, "```")
			var texts []string
			switch {
			case strings.HasPrefix(text, "# values.yaml\n"):
				complete++
			case strings.HasPrefix(text, "config:"):
				texts = append(texts, required)
			default:
				continue // for another program
			}
			r := mustRenderValues(t, kubeVersion, values(t, append(texts, text)...))
			config := strings.ReplaceAll(gatewayConfig(t, r), "/run/secrets", run)
			if err := checkConfig(t.Context(), t, config, containerEnv(t, r, run)); err != nil {
				t.Errorf("%s:\n%v\n%s", file, err, text)
			}
		}
		if complete != 1 {
			t.Errorf("%s has %d complete values.yaml, want one", file, complete)
		}
	}
}

// The gateway rejects an unknown key, so its check of the rendered configuration is effective.
func TestGatewayRefusesUnknownKeys(t *testing.T) {
	r := mustRender(t, "")
	err := checkConfig(t.Context(), t, gatewayConfig(t, r)+"\nsessions: {maxStreams: 3}", containerEnv(t, r, runDir(t)))
	if err == nil || !strings.Contains(err.Error(), "sessions") {
		t.Errorf("config.sessions: %v", err)
	}
}

// helm install rejects unknown keys and wrong values of the gateway's configuration, by the schema of the
// gateway.
func TestHelmRefusesFaultyConfig(t *testing.T) {
	for text, want := range map[string]string{
		"config: {sessions: {maxStreams: 3}}":                         "sessions",
		"config: {session: {maxstreams: 3}}":                          "maxstreams",
		"config: {session: {maxStreams: many}}":                       "maxStreams",
		"config: {redis: {lease: 8}}":                                 "lease",
		"config: {drain: {window: 1 minute}}":                         "window",
		"config: {log: {level: loud}}":                                "level",
		"config: {limits: {jsonDepth: 3}}":                            "jsonDepth",
		"config: {listen: {trustedProxies: [10.0.0.1]}}":              "trustedProxies",
		"config: {applications: {shop: {romm: 'x.{name}'}}}":          "romm",
		"config: {applications: {shop: {hooks: {retries: 99}}}}":      "retries",
		"config: {applications: {shop: {hooks: {password: secret}}}}": "password",
		"config: {livekit: {url: ''}}":                                "url",
	} {
		if _, err := render(kubeVersion, values(t, required, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a fault with %s", text, err, want)
		}
	}
}

// containerEnv returns the container's variables, with its files below dir.
func containerEnv(t testing.TB, r rendering, dir string) []string {
	t.Helper()
	var env []struct{ Name, Value string }
	b, err := yaml.Marshal(at(r.of(t, deployment), container+".env"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &env); err != nil {
		t.Fatal(err)
	}
	environ := make([]string, 0, len(env))
	for _, e := range env {
		environ = append(environ, fmt.Sprintf("%s=%s", e.Name, strings.ReplaceAll(e.Value, "/run/secrets", dir)))
	}
	return environ
}

// runDir creates the files that pods have in /run/secrets.
func runDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := certificate(t)
	for name, content := range map[string][]byte{
		"wcs/livekit-api-secret": []byte("secret"), "wcs/redis-password": []byte("secret"), "wcs/redis-sentinel-password": []byte("secret"),
		"wcs/shop-hook": []byte("secret"), "wcs/pull-secret": []byte("0123456789abcdef0123456789abcdef"), "wcs/rest-ops": []byte("$2a$10$OtZR/CoR1LKx9AYNN3JiXu2yZnSA6wPFcWJAfM8VnD0n5qtOqbxaq"),
		"tls/tls.crt": cert, "tls/tls.key": key,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// certificate returns a self-signed certificate and its key as PEM.
func certificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"wcs.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
