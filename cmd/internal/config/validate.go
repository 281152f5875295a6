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
	"time"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/origins"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/wcs"
)

var (
	nativeModes = []apps.Native{apps.NativeOff, apps.NativePlay, apps.NativePublish, apps.NativeBoth}
	rateSources = []apps.RateSource{apps.RatesAuto, apps.RatesClient, apps.RatesProbe, apps.RatesOff}
)

// Limits beyond which a setting would be accepted but not work.
const (
	minTimeout       = 100 * time.Millisecond
	minLease         = 2 * time.Second // a lease is renewed every quarter of it
	maxSnapshotBytes = 1 << 24         // twice as base64 it fits into the queues of all clients
	minMessageBytes  = 1 << 16         // several times a browser's offer with all codecs
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
	f.check(deploymentPattern.MatchString(c.Deployment), "deployment", "must be 1 to 32 of a-z, 0-9 and -")
	f.check(c.NodeID == "" || nodePattern.MatchString(c.NodeID), "nodeId", "must be 32 letters and digits")
	c.Listen.validate(&f)
	c.LiveKit.validate(&f)
	c.Redis.validate(&f)
	c.Session.validate(&f)
	c.Limits.validate(&f, c.Session.MaxMessageBytes)
	c.Drain.validate(&f)
	c.Media.validate(&f)
	c.Rates.validate(&f)
	c.Snapshot.validate(&f)
	c.RoomAPI.validate(&f)
	c.Recording.validate(&f)
	c.REST.validate(&f)
	c.Tracing.validate(&f)
	c.validateApplications(&f)
	oneOf(&f, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(&f, "log.format", c.Log.Format, "json", "console")
	return f
}

func (l Listen) validate(f *faults) {
	secure := l.TLS != KeyPair{}
	if secure {
		if _, err := l.TLS.Load(); err != nil {
			f.add("listen.tls", "%v", err)
		}
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
		if !a.used {
			continue
		}
		f.address(a.key, a.addr)
		other, taken := used[a.addr]
		f.check(!taken || strings.HasSuffix(a.addr, ":0"), a.key, "is the same as %s", other)
		used[a.addr] = a.key
	}
	if l.LBPath != "" {
		f.check(strings.HasPrefix(l.LBPath, "/"), "listen.lbPath", "must begin with /")
		f.check(!strings.ContainsAny(l.LB.Server, "/: "), "listen.lb.server", "must be a host name")
		f.check(!strings.ContainsAny(l.LB.PodHost, "/ "), "listen.lb.podHost", "must be a host name or address")
	}
	f.port("listen.lb.ws", l.LB.WS)
	f.port("listen.lb.wss", l.LB.WSS)
	f.origins("listen.origins", l.Origins)
	for i, network := range l.TrustedProxies {
		_, err := netip.ParsePrefix(network)
		f.check(err == nil, fmt.Sprintf("listen.trustedProxies[%d]", i), "must be a network such as 10.0.0.0/8 or 192.0.2.7/32")
	}
	f.check(!l.ProxyProtocol || len(l.TrustedProxies) > 0, "listen.proxyProtocol", "needs listen.trustedProxies: only these send the header")
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
	f.atLeast("livekit.roomEmptyTimeout", l.RoomEmptyTimeout, 0)
	f.atLeast("livekit.roomDepartureTimeout", l.RoomDepartureTimeout, 0)
	f.atLeast("livekit.callTimeout", l.CallTimeout, minTimeout)
	f.check(l.MaxConns > 0, "livekit.maxConns", "must be at least 1")
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
	f.check(r.DB >= 0, "redis.db", "must be at least 0")
	f.check(r.DB <= 0 || !cluster, "redis.db", "must be 0 in a Cluster")
	f.atLeast("redis.lease", r.Lease, minLease)
	f.check(r.RecordTTL >= state.MinRecordTTL(r.Lease), "redis.recordTTL", "must be at least ten times redis.lease, %v", state.MinRecordTTL(r.Lease))
	f.atLeast("redis.callTimeout", r.CallTimeout, minTimeout)
	f.check(r.CallTimeout <= state.MaxCallTimeout(r.Lease), "redis.callTimeout", "must be at most a quarter of redis.lease, %v", state.MaxCallTimeout(r.Lease))
	unused := RedisTLS{Enabled: r.TLS.Enabled}
	f.check(r.TLS.Enabled || r.TLS == unused, "redis.tls", "has settings, but redis.tls.enabled is false")
	if _, err := r.TLS.Config(); err != nil {
		f.add("redis.tls", "%v", err)
	}
}

func (s Session) validate(f *faults) {
	f.atLeast("session.pingInterval", s.PingInterval, minTimeout)
	f.check(s.PingProbes > 0, "session.pingProbes", "must be at least 1")
	f.atLeast("session.keepAliveGrace", s.KeepAliveGrace, 0)
	f.atLeast("session.helloTimeout", s.HelloTimeout, minTimeout)
	f.check(s.MaxMessageBytes >= minMessageBytes, "session.maxMessageBytes", "must be at least %d", minMessageBytes)
	f.check(s.MaxQueueBytes >= minMessageBytes, "session.maxQueueBytes", "must be at least %d", minMessageBytes)
	f.check(s.MaxQueueMessages > 0, "session.maxQueueMessages", "must be at least 1")
	f.atLeast("session.writeTimeout", s.WriteTimeout, minTimeout)
	f.check(s.MaxStreams > 0, "session.maxStreams", "must be at least 1")
}

func (l Limits) validate(f *faults, maxMessage int64) {
	for _, v := range []struct {
		key          string
		value, least int
	}{
		{"connections", l.Connections, 0}, {"connectionsPerAddress", l.ConnectionsPerAddress, 0}, {"pending", l.Pending, 1}, {"detached", l.Detached, 0},
		{"messagesPerSecond", l.MessagesPerSecond, 0}, {"messageBurst", l.MessageBurst, 1}, {"bytesPerSecond", int(l.BytesPerSecond), 0},
		{"jsonDepth", l.JSONDepth, 16}, {"nameBytes", l.NameBytes, 1}, {"idBytes", l.IDBytes, 36}, {"loginBytes", l.LoginBytes, 1},
		{"customBytes", l.CustomBytes, 1}, {"payloadBytes", l.PayloadBytes, 1},
		{"clientLogsPerSecond", l.ClientLogsPerSecond, 0}, {"startsPerSecond", l.StartsPerSecond, 0}, {"startBurst", l.StartBurst, 1},
		{"joinsPerSecond", l.JoinsPerSecond, 0}, {"joinBurst", l.JoinBurst, 1}, {"addressFactor", l.AddressFactor, 0}, {"startsUnderWay", l.StartsUnderWay, 0},
	} {
		f.check(v.value >= v.least, "limits."+v.key, "must be at least %d", v.least)
	}
	f.check(l.ByteBurst >= maxMessage, "limits.byteBurst", "must be at least session.maxMessageBytes, %d", maxMessage)
}

func (m Media) validate(f *faults) {
	f.atLeast("media.iceTimeout", m.ICETimeout, minTimeout)
	f.atLeast("media.mediaTimeout", m.MediaTimeout, minTimeout)
	f.atLeast("media.secondTrackWait", m.SecondTrackWait, minTimeout)
	f.atLeast("media.playWait", m.PlayWait, minTimeout)
	f.check(m.SilenceTimeout == 0 || m.SilenceTimeout >= minTimeout, "media.silenceTimeout", "must be at least %v, or 0", minTimeout)
}

func (r Rates) validate(f *faults) {
	oneOf(f, "rates.source", r.Source, rateSources...)
	f.check(r.MaxProbes >= 0, "rates.maxProbes", "must be at least 0")
}

func (s Snapshot) validate(f *faults) {
	f.atLeast("snapshot.timeout", s.Timeout, minTimeout)
	if s.FFmpeg != "" {
		_, err := exec.LookPath(s.FFmpeg)
		absolute := filepath.IsAbs(s.FFmpeg)
		f.check(absolute, "snapshot.ffmpeg", "must be a path that begins with /")
		f.check(!absolute || err == nil, "snapshot.ffmpeg", "is not an executable program: %s", s.FFmpeg)
	}
	f.check(s.MaxPixels > 0, "snapshot.maxPixels", "must be at least 1")
	f.check(s.MaxBytes > 0 && s.MaxBytes <= maxSnapshotBytes, "snapshot.maxBytes", "must be 1 to %d", maxSnapshotBytes)
	f.check(s.MaxAtOnce > 0, "snapshot.maxAtOnce", "must be at least 1")
	f.check(s.PerMinute > 0, "snapshot.perMinute", "must be at least 1")
}

func (t Tracing) validate(f *faults) {
	if t.Endpoint != "" {
		u, err := url.Parse(t.Endpoint)
		f.check(err == nil && u.Host != "" && u.User == nil && (u.Scheme == "http" || u.Scheme == "https"), "tracing.endpoint",
			"must be http(s)://host[:port][/path]") // not shown: it can contain a password by mistake
	}
	f.check(t.SampleRatio >= 0 && t.SampleRatio <= 1, "tracing.sampleRatio", "must be 0 to 1")
}

func (d Drain) validate(f *faults) {
	f.atLeast("drain.notice", d.Notice, 0)
	f.atLeast("drain.window", d.Window, 0)
	f.atLeast("drain.pace", d.Pace, 0)
	f.atLeast("drain.handover", d.Handover, 0)
}

func (c Config) validateApplications(f *faults) {
	sound := true
	for _, key := range slices.Sorted(maps.Keys(c.Applications)) {
		app := c.Applications[key]
		at := fmt.Sprintf("applications[%s]", key)
		f.check(key != "", at, "needs an app key")
		if err := translate.RoomTemplate(app.Room).Validate(); err != nil {
			f.add(at+".room", "%v", err)
			sound = false
		}
		oneOf(f, at+".native", app.Native, nativeModes...)
		if _, err := translate.ParseCodecs(app.Codecs); err != nil {
			f.add(at+".codecs", "%v", err)
		}
		if app.Rooms != "" {
			oneOf(f, at+".rooms", app.Rooms, RoomsOn, RoomsOff)
		}
		if app.MissingStream != "" {
			oneOf(f, at+".missingStream", app.MissingStream, wcs.InfoSessionDoesNotExist, wcs.InfoStreamNotFound)
		}
		f.origins(at+".origins", app.Origins)
		f.check(app.MaxSessions >= 0, at+".maxSessions", "must be at least 0")
		app.validateEgress(f, at)
		c.validatePlayFrom(f, at+".playFrom", app.PlayFrom)
		app.Hooks.validate(f, at+".hooks")
		if app.Rates != "" {
			oneOf(f, at+".rates", app.Rates, rateSources...)
		}
	}
	if !sound {
		return
	}
	if err := translate.OneToOne(c.Rooms()); err != nil {
		f.add("applications", "%v", err)
	}
}

func (f *faults) atLeast(key string, d, least time.Duration) {
	f.check(d >= least, key, "must be at least %v", least)
}

func oneOf[T ~string](f *faults, key string, value T, allowed ...T) {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	f.check(slices.Contains(allowed, value), key, "is %q, must be one of %s", string(value), strings.Join(names, ", "))
}

func (f *faults) port(key string, port int) {
	f.check(port > 0 && port < 1<<16, key, "must be a port, 1 to 65535")
}

// origins checks a list of pages.
func (f *faults) origins(key string, patterns []string) {
	for i, p := range patterns {
		if _, err := origins.Parse([]string{p}); err != nil {
			f.add(fmt.Sprintf("%s[%d]", key, i), "%v", err)
		}
	}
}

// address checks a host:port. Port 0 is any free port.
func (f *faults) address(key, addr string) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	f.check(err == nil, key, "must be host:port") // not shown: it can contain a password by mistake
}
