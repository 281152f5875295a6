package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"

	"wcsgateway/translate/pull"
)

// Worker is the configuration of a worker (cmd/wcs-pull, docs/pull.md#workers). Its zero value is not usable.
type Worker struct {
	// Name of the deployment, as that of the gateways.
	Deployment string `koanf:"deployment"`
	// `pull.secret` of the gateways. Required.
	Secret Secret `koanf:"secret"`
	// Address for the cluster only: metrics and health.
	Listen string `koanf:"listen"`
	// Sources that this worker reads at the same time. A transcoded one takes up to a processor, others a few
	// hundredths.
	Max int `koanf:"max" rule:"min=1,max=1000"`
	// Networks that are private, loopback or link-local and that sources may be in, such as `10.20.0.0/16`.
	// Empty: none.
	Networks []string `koanf:"networks"`
	// Folder with the files of `vod://` and `vod-live://`. Empty: none.
	Folder string `koanf:"folder"`
	// Path of ffmpeg. Empty: the one in `PATH`.
	FFmpeg string `koanf:"ffmpeg"`
	// Path of ffprobe. Empty: the one in `PATH`.
	FFprobe string `koanf:"ffprobe"`
	// Whether ffmpeg and ffprobe run in namespaces of their own, from which they reach the worker alone: `auto`
	// (where the kernel allows it), `required` (otherwise the worker does not start) or `off`.
	Sandbox string        `koanf:"sandbox" rule:"one=auto|required|off"`
	LiveKit WorkerLiveKit `koanf:"livekit"`
	Redis   Redis         `koanf:"redis"`
	Log     Log           `koanf:"log"`
}

// WorkerLiveKit configures the connection of a worker to the media server.
type WorkerLiveKit struct {
	// Address of LiveKit, `http(s)://` or `ws(s)://`. Required.
	URL string `koanf:"url"`
	// API key. Required. A key of the workers' own can be revoked without the gateways'.
	APIKey string `koanf:"apiKey"`
	// Secret of the API key. Required.
	APISecret Secret `koanf:"apiSecret"`
}

// Values of Worker.Sandbox.
const (
	SandboxAuto     = "auto"
	SandboxRequired = "required"
)

const workerPrefix = envPrefix + "PULL_"

// WorkerEnvFile is the variable that names the file of a worker. It is not a setting.
const WorkerEnvFile = workerPrefix + envFile

// DefaultWorker returns the settings of a worker that sets nothing.
func DefaultWorker() Worker {
	d := Default()
	return Worker{Deployment: d.Deployment, Redis: d.Redis, Listen: ":9091", Max: 20, Sandbox: SandboxAuto, Log: d.Log}
}

// LoadWorker is Load for a worker.
func LoadWorker(path string, environ []string) (Worker, error) {
	var text []byte
	if path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return Worker{}, fileFault(path, err)
		}
	}
	cfg := DefaultWorker()
	err := read(path, text, environ, form{prefix: workerPrefix, into: &cfg, faults: cfg.faults})
	return cfg, err
}

func (c *Worker) settings() []setting { return settings("", reflect.ValueOf(c).Elem()) }

// Redacted is Config.Redacted for a worker.
func (c Worker) Redacted() map[string]any { return redacted(c.settings()) }

func (c *Worker) faults() []*Fault {
	var f faults
	for _, s := range c.settings() {
		if s.tag.Get(ruleTag) != "" {
			f.checkRule(s)
		}
	}
	f.check(deploymentPattern.MatchString(c.Deployment), "deployment", "must be 1 to 32 of a-z, 0-9 and -")
	if c.Secret == "" {
		f.add("secret", "is missing: it must be pull.secret of the gateways")
	} else {
		_, err := pull.NewKeys(c.Secret.Reveal(), c.Deployment)
		f.failed("secret", err)
	}
	LiveKit{URL: c.LiveKit.URL, APIKey: c.LiveKit.APIKey, APISecret: c.LiveKit.APISecret}.validate(&f)
	c.Redis.validate(&f)
	f.address("listen", c.Listen)
	_, err := c.PrivateNetworks()
	f.failed("networks", err)
	if c.Folder != "" {
		f.check(filepath.IsAbs(c.Folder), "folder", "must be a path that begins with /")
		_, err := os.Stat(c.Folder + "/.") // fails for a file, and for a folder of which no file can be opened
		f.check(err == nil, "folder", "must be a folder whose files the worker's user can open: %v", err)
	}
	return f
}

// PrivateNetworks returns Networks.
func (c *Worker) PrivateNetworks() (networks []netip.Prefix, err error) {
	for i, text := range c.Networks {
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("[%d] must be a network such as 10.20.0.0/16 or fd00:1::/64", i)
		}
		networks = append(networks, p)
	}
	return networks, nil
}
