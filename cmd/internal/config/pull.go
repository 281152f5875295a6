package config

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"wcsgateway/translate/pull"
)

// Pull configures the cameras, servers and files that clients play by a name with a scheme. Workers
// (`wcs-pull`) read them (docs/pull.md).
type Pull struct {
	// Secret of the gateways and workers of this deployment, at least 32 characters. The addresses of pulls are
	// encrypted with it in Redis. Empty: nothing is pulled.
	Secret Secret `koanf:"secret"`
	// How long a pull goes on after its last player has gone.
	Linger time.Duration `koanf:"linger" rule:"min=5s"`
	// How long a worker tries to get back a source that was lost. Then its players fail.
	Retry time.Duration `koanf:"retry" rule:"min=1s"`
	// Sources that one session may play at the same time.
	MaxPerSession int `koanf:"maxPerSession" rule:"min=1"`
	// Sources that are pulled at the same time for players of one application, on all pods. A pull counts for
	// the application of its first player.
	MaxPerApplication int `koanf:"maxPerApplication" rule:"min=1"`
	// Sources that are pulled at the same time.
	Max int `koanf:"max" rule:"min=1"`
}

// AppPull is what the clients of an application may play by a name with a scheme.
type AppPull struct {
	// Sources that clients may play: `rtsp://cam.example.com`, `rtsp://*.cams.example.com:8554`,
	// `https://10.1.0.0/16:*`, `srt://*:*`. Without a port a pattern allows that of the scheme, with `:*` every
	// port. `*.name` stands for all names below `name`, `*` for every host, and a network for the addresses in
	// it. Files of the workers: `vod://*` or `vod://folder/*`. Empty list: none.
	//
	// A host on a private, loopback or link-local network must also be in the worker's `networks`, and a pattern
	// must name it, its domain or its network: `*` allows public addresses only.
	Allow []string `koanf:"allow" pattern:"^[a-z-]+://.+$"`
	// Transcode cameras whose video cannot pass through: H265, or H264 with B-frames. `false`: they fail with
	// `Transcoding required, but disabled`.
	Transcode bool `koanf:"transcode"`
	// How cameras (`rtsp://`) send: `tcp`, in the connection itself, or `udp`, as WCS with
	// `rtsp_interleaved_mode=false`. With `udp` the worker goes on over TCP if the camera refuses UDP, or if
	// nothing arrives within 3 s (docs/pull.md#udp). The first player of a camera decides for all others.
	RTSPTransport string `koanf:"rtspTransport" rule:"one=|tcp|udp"`
}

// Values of AppPull.RTSPTransport.
const (
	TransportTCP = "tcp"
	TransportUDP = "udp"
)

func (c Config) validatePulls(f *faults) {
	secret := c.Pull.Secret
	f.check(secret == "" || len(secret) >= pull.MinSecret, "pull.secret", "must have at least %d characters", pull.MinSecret)
	for _, key := range slices.Sorted(maps.Keys(c.Applications)) {
		allow, at := c.Applications[key].Pull.Allow, fmt.Sprintf("applications[%s].pull.allow", key)
		f.each(at, allow, func(pattern string) error { return errorOf(pull.ParsePattern(pattern)) })
		f.check(secret != "" || len(allow) == 0, at, "needs pull.secret")
	}
}
