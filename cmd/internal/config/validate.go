package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wcsgateway/gateway/embed"
	"wcsgateway/gateway/origins"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
)

var (
	deploymentPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	nodePattern       = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)
)

// Validate returns one *Fault for each fault of a complete configuration, joined. It reads the named TLS
// files and opens no connection.
func (c Config) Validate() error { return join(c.faults()) }

func (c Config) faults() []*Fault {
	var f faults
	for _, s := range c.all() {
		if s.tag.Get(ruleTag) != "" {
			f.checkRule(s)
		}
	}
	f.check(deploymentPattern.MatchString(c.Deployment), "deployment", "must be 1 to 32 of a-z, 0-9 and -")
	f.check(c.NodeID == "" || nodePattern.MatchString(c.NodeID), "nodeId", "must be 32 letters and digits")
	c.Listen.validate(&f)
	c.LiveKit.validate(&f)
	c.Redis.validate(&f)
	c.Limits.validate(&f, c.Session.MaxMessageBytes)
	c.Snapshot.validate(&f)
	c.Recording.validate(&f)
	c.REST.validate(&f)
	c.Tracing.validate(&f)
	c.validateUpstreams(&f)
	c.validateApplications(&f)
	c.validatePulls(&f)
	return f
}

func (l Listen) validate(f *faults) {
	secure := l.TLS != KeyPair{}
	if secure {
		f.failed("listen.tls", errorOf(l.TLS.Load()))
	}
	f.check(l.Public != "" || secure, "listen.public", "is needed without a certificate for listen.secure")
	used := map[string]string{}
	for _, a := range []struct {
		key, addr string
		used      bool
	}{
		{"listen.public", l.Public, l.Public != ""},
		{"listen.secure", l.Secure, secure},
		{"listen.internal", l.Internal, true},
	} {
		if a.used || a.addr != "" {
			f.address(a.key, a.addr)
		}
		if !a.used {
			continue
		}
		other, taken := used[a.addr]
		f.check(!taken || strings.HasSuffix(a.addr, ":0"), a.key, "is the same as %s", other)
		used[a.addr] = a.key
	}
	if l.LBPath != "" {
		f.check(strings.HasPrefix(l.LBPath, "/"), "listen.lbPath", "must begin with /")
		f.check(!strings.ContainsAny(l.LB.Server, "/: "), "listen.lb.server", "must be a host name")
		f.check(!strings.ContainsAny(l.LB.PodHost, "/ "), "listen.lb.podHost", "must be a host name or address")
	}
	f.origins("listen.origins", l.Origins)
	l.validateEmbed(f)
	for i, network := range l.TrustedProxies {
		_, err := netip.ParsePrefix(network)
		f.check(err == nil, fmt.Sprintf("listen.trustedProxies[%d]", i), "must be a network such as 10.0.0.0/8 or 192.0.2.7/32")
	}
	f.check(!l.ProxyProtocol || len(l.TrustedProxies) > 0, "listen.proxyProtocol", "needs listen.trustedProxies: only these send the header")
}

func (l Listen) validateEmbed(f *faults) {
	f.each("listen.embed.frames", l.Embed.Frames, embed.CheckFrame)
	f.each("listen.embed.servers", l.Embed.Servers, embed.CheckServer)
	f.check(!l.Embed.Enabled || l.LBPath != embed.Path, "listen.lbPath", "is the address of listen.embed")
}

func (l LiveKit) validate(f *faults) {
	if l.URL == "" {
		f.add("livekit.url", "is missing")
	} else if err := livekit.CheckURL(l.URL); err != nil {
		f.add("livekit.url", "%v", err)
	}
	f.check(l.APIKey != "", "livekit.apiKey", "is missing")
	f.check(l.APISecret != "", "livekit.apiSecret", "is missing")
	for _, key := range slices.Sorted(maps.Keys(l.WebhookKeys)) {
		f.check(key != "" && l.WebhookKeys[key] != "", fmt.Sprintf("livekit.webhookKeys[%s]", key), "needs a key and a secret")
		f.check(key != l.APIKey || l.WebhookKeys[key] == l.APISecret, fmt.Sprintf("livekit.webhookKeys[%s]", key), "is livekit.apiKey, but its secret differs from livekit.apiSecret")
	}
}

func (r Redis) validate(f *faults) {
	f.check(len(r.Addrs) > 0, "redis.addrs", "is missing: at least one host:port")
	for i, addr := range r.Addrs {
		f.address(fmt.Sprintf("redis.addrs[%d]", i), addr)
	}
	sentinel := r.MasterName != ""
	cluster := r.Cluster || len(r.Addrs) > 1 && !sentinel
	f.check(!r.Cluster || !sentinel, "redis.cluster", "excludes redis.masterName: Redis is either a Cluster or watched by Sentinels")
	f.check(sentinel || r.SentinelUsername == "", "redis.sentinelUsername", "is only for Sentinels: redis.masterName is missing")
	f.check(sentinel || r.SentinelPassword == "", "redis.sentinelPassword", "is only for Sentinels: redis.masterName is missing")
	f.check(r.DB <= 0 || !cluster, "redis.db", "must be 0 in a Cluster")
	f.check(r.RecordTTL >= state.MinRecordTTL(r.Lease), "redis.recordTTL", "must be at least ten times redis.lease, %v", state.MinRecordTTL(r.Lease))
	f.check(r.CallTimeout <= state.MaxCallTimeout(r.Lease), "redis.callTimeout", "must be at most a quarter of redis.lease, %v", state.MaxCallTimeout(r.Lease))
	unused := RedisTLS{Enabled: r.TLS.Enabled}
	f.check(r.TLS.Enabled || r.TLS == unused, "redis.tls", "has settings, but redis.tls.enabled is false")
	f.failed("redis.tls", errorOf(r.TLS.Config()))
}

func (l Limits) validate(f *faults, maxMessage int64) {
	f.check(l.ByteBurst >= maxMessage, "limits.byteBurst", "must be at least session.maxMessageBytes, %d", maxMessage)
}

func (s Snapshot) validate(f *faults) {
	if s.FFmpeg != "" {
		_, err := exec.LookPath(s.FFmpeg)
		absolute := filepath.IsAbs(s.FFmpeg)
		f.check(absolute, "snapshot.ffmpeg", "must be a path that begins with /")
		f.check(!absolute || err == nil, "snapshot.ffmpeg", "is not an executable program: %s", s.FFmpeg)
	}
}

func (t Tracing) validate(f *faults) {
	if t.Endpoint != "" {
		u, err := url.Parse(t.Endpoint)
		f.check(err == nil && u.Host != "" && u.User == nil && (u.Scheme == "http" || u.Scheme == "https"), "tracing.endpoint",
			"must be http(s)://host[:port][/path]") // not shown: it can contain a password by mistake
	}
}

func (c Config) validateApplications(f *faults) {
	_, known := c.Applications[c.Listen.Embed.AppKey]
	f.check(!c.Listen.Embed.Enabled || known, "listen.embed.appKey", "%q is no application", c.Listen.Embed.AppKey)
	sound := true
	for _, key := range slices.Sorted(maps.Keys(c.Applications)) {
		app := c.Applications[key]
		at := fmt.Sprintf("applications[%s]", key)
		f.check(key != "", at, "needs an app key")
		if err := translate.RoomTemplate(app.Room).Validate(); err != nil {
			f.add(at+".room", "%v", err)
			sound = false
		}
		f.failed(at+".codecs", errorOf(translate.ParseCodecs(app.Codecs)))
		f.origins(at+".origins", app.Origins)
		app.validateEgress(f, at)
		c.validatePlayFrom(f, at+".playFrom", app.PlayFrom)
		app.Hooks.validate(f, at+".hooks")
		c.validateRoute(f, at+".route", app.Route)
		c.validateHybrid(f, at+".hybrid", app.Hybrid)
	}
	if !sound {
		return
	}
	f.failed("applications", translate.OneToOne(c.Rooms()))
}

// origins checks a list of pages.
func (f *faults) origins(key string, patterns []string) {
	f.each(key, patterns, func(p string) error { return errorOf(origins.Parse([]string{p})) })
}

// address checks a host:port. Port 0 is any free port.
func (f *faults) address(key, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	f.check(err == nil, key, "must be host:port") // not shown: it can contain a password by mistake
}
