package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var workerRequired = []string{
	"WCS_PULL_LIVEKIT_URL=ws://livekit:7880", "WCS_PULL_LIVEKIT_APIKEY=k", "WCS_PULL_LIVEKIT_APISECRET=s",
	"WCS_PULL_REDIS_ADDRS=redis:6379", "WCS_PULL_SECRET=0123456789abcdef0123456789abcdef",
	"WCS_LIVEKIT_URL=of a gateway", "WCS_PULL_SERVICE_HOST=10.0.0.1", "WCS_PULL_PORT=tcp://10.0.0.1:80", "WCS_PULL_CONFIG=",
}

func TestWorkerReadsFileAndVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "worker.yaml")
	text := "deployment: d\nmax: 3\nnetworks: [10.0.0.0/8, \"fd00::/8\"]\nfolder: /\nredis: {lease: 4s, username: puller}\nlog: {level: debug}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadWorker(file, append(slices.Clone(workerRequired), "WCS_PULL_MAX=5"))
	if err != nil {
		t.Fatal(err)
	}
	networks, err := cfg.PrivateNetworks()
	if err != nil || len(networks) != 2 || networks[1].String() != "fd00::/8" {
		t.Errorf("networks %v, %v", networks, err)
	}
	if cfg.Deployment != "d" || cfg.Max != 5 || cfg.Redis.Lease != 4*time.Second || cfg.Redis.Username != "puller" || cfg.Folder != "/" ||
		cfg.LiveKit.URL != "ws://livekit:7880" || cfg.Log.Level != "debug" || cfg.Listen != ":9091" {
		t.Errorf("%+v", cfg)
	}
	if shown := cfg.Redacted(); shown["secret"] != masked || shown["livekit.apiSecret"] != masked || shown["max"] != 5 {
		t.Errorf("shown as %v", shown)
	}
}

// Each fault names its setting, and where it was set.
func TestFaultsOfWorkerNameTheirSettings(t *testing.T) {
	_, err := LoadWorker("", nil)
	for _, want := range []string{"secret: is missing", "livekit.url: is missing", "livekit.apiKey: is missing", "livekit.apiSecret: is missing", "redis.addrs: is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	for variable, want := range map[string]string{
		"WCS_PULL_SECRET=short":               "WCS_PULL_SECRET: secret: must have at least 32 characters",
		"WCS_PULL_MAX=0":                      "WCS_PULL_MAX: max: must be 1 to 1000",
		"WCS_PULL_MAX=x":                      "WCS_PULL_MAX: max: must be a whole number",
		"WCS_PULL_NETWORKS=10.0.0.0/8,10.0/8": "WCS_PULL_NETWORKS: networks: [1] must be a network",
		"WCS_PULL_NETWORKS=10.0.0.1/8":        "[0] must be a network",
		"WCS_PULL_FOLDER=/does/not/exist":     "WCS_PULL_FOLDER: folder: must be a folder whose files the worker's user can open: stat /does/not/exist/.: no such file",
		"WCS_PULL_FOLDER=/etc/hostname":       "folder: must be a folder whose files the worker's user can open: stat /etc/hostname/.: not a directory",
		"WCS_PULL_FOLDER=.":                   "folder: must be a path that begins with /",
		"WCS_PULL_LISTEN=9091":                "WCS_PULL_LISTEN: listen: must be host:port",
		"WCS_PULL_DEPLOYMENT=A B":             "WCS_PULL_DEPLOYMENT: deployment: must be",
		"WCS_PULL_LIVEKIT_URL=livekit":        "WCS_PULL_LIVEKIT_URL: livekit.url: must be",
		"WCS_PULL_REDIS_LEASE=1s":             "redis.lease: must be at least 2s",
		"WCS_PULL_NETWORK=10.0.0.0/8":         "WCS_PULL_NETWORK: unknown variable, did you mean WCS_PULL_NETWORKS?",
		"WCS_PULL_SECRET_FILE=/does/not":      "WCS_PULL_SECRET_FILE: and WCS_PULL_SECRET are both set",
		"WCS_PULL_LOG_LEVEL=loud":             "log.level: is \"loud\"",
	} {
		environ := slices.DeleteFunc(slices.Clone(workerRequired), func(v string) bool {
			name, _, _ := strings.Cut(v, "=")
			return strings.HasPrefix(variable, name+"=")
		})
		_, err := LoadWorker("", append(environ, variable))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%s: %v, want %q", variable, err, want)
		}
	}
	for text, want := range map[string]string{
		"maximum: 3":         "worker.yaml:1: maximum: unknown key",
		"redis: {adrs: [a]}": "redis.adrs: unknown key, did you mean redis.addrs?",
		"- a":                "is not valid: it must have sections",
	} {
		file := filepath.Join(t.TempDir(), "worker.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadWorker(file, workerRequired); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := LoadWorker("/does/not/exist", nil); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Error(err)
	}
}
