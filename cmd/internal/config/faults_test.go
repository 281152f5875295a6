package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFaultsOfFileAndVariablesAreReportedTogether(t *testing.T) {
	tests := []struct {
		name    string
		file    string
		environ []string
		bare    bool // without the required variables
		want    map[string]string
	}{
		{
			name: "unknown keys",
			file: "livekit: {apikey: x, url2: y}\nsesion: {}\nredis.lease: 5s\nwhatever: 1\n" +
				"applications: {a: {romm: 'x.{name}', hooks: {urls: x}}}",
			want: map[string]string{
				"livekit.apikey":       "unknown key, did you mean livekit.apiKey?",
				"livekit.url2":         "did you mean livekit.url?",
				"sesion":               "did you mean session?",
				"redis.lease":          "as a separate section",
				"whatever":             "unknown key",
				"applications[a].romm": "did you mean applications[a].room?",

				"applications[a].hooks.urls": "did you mean applications[a].hooks.url?",
			},
		},
		{
			name:    "unknown variables",
			environ: []string{"WCS_LIVEKIT_API_KEY=x", "WCS_FOO=1"},
			want: map[string]string{
				"WCS_LIVEKIT_API_KEY": "unknown variable, did you mean WCS_LIVEKIT_APIKEY?",
				"WCS_FOO":             "unknown variable",
			},
		},
		{
			name: "variables that Kubernetes sets for services",
			environ: []string{
				"WCS_GATEWAY_SERVICE_HOST=10.0.0.1", "WCS_GATEWAY_SERVICE_PORT=8080", "WCS_SERVICE_PORT_HTTP=8080",
				"WCS_GATEWAY_PORT=tcp://10.0.0.1:8080", "WCS_GATEWAY_PORT_8080_TCP=tcp://10.0.0.1:8080",
				"WCS_GATEWAY_PORT_8080_TCP_PROTO=tcp", "WCS_PORT_8080_TCP_ADDR=10.0.0.1",
			},
		},
		{
			name:    "port without a setting",
			environ: []string{"WCS_PORT=8080"},
			want:    map[string]string{"WCS_PORT": "unknown variable"},
		},
		{
			name: "types",
			bare: true,
			file: "livekit: {apiSecret: 1234567, webhookKeys: [a], url: 'ws://h', apiKey: k}\nversion: 5\nredis: {lease: 8, recordTTL: 1 day, cluster: 'yes', addrs: a:1, db: 1.5}\n" +
				"media: {playWait: }\nlog: info",
			want: map[string]string{
				"version":             "text",
				"redis.lease":         "must be a duration with its unit",
				"redis.recordTTL":     "must be a duration with its unit",
				"redis.cluster":       "true or false",
				"redis.addrs":         "a list",
				"redis.db":            "a whole number",
				"log":                 "a section",
				"livekit.apiSecret":   "text: put it in quotes",
				"livekit.webhookKeys": "a section",
			},
		},
		{
			name:    "YAML in a variable",
			environ: []string{"WCS_LIVEKIT_WEBHOOKKEYS={a: *" + testSecret + "}"},
			want:    map[string]string{"WCS_LIVEKIT_WEBHOOKKEYS": "is not valid YAML"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := ""
			if tt.file != "" {
				path = write(t, tt.file)
			}
			environ := tt.environ
			if !tt.bare {
				environ = append(environ, required...)
			}
			_, err := Load(path, environ)
			wantFaults(t, err, tt.want)
			if err != nil && (strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), "1234567")) {
				t.Errorf("error contains a secret: %v", err)
			}
		})
	}
}

func TestUnreadableFileIsReported(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	_, err := Load(missing, required)
	wantFaults(t, err, map[string]string{missing: "cannot be read"})

	for _, text := range []string{
		"livekit: {apiSecret: *" + testSecret + "}", "just text " + testSecret, "a: [", "a: 1\na: 2",
	} {
		file := write(t, text)
		_, err = Load(file, required)
		wantFaults(t, err, map[string]string{file: "is not valid"})
		if strings.Contains(err.Error(), testSecret) {
			t.Errorf("error contains a secret: %v", err)
		}
	}
}

func TestValidateNamesEachFault(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   map[string]string
	}{
		{"nothing", func(*Config) {}, nil},
		{"names", func(c *Config) { c.Deployment = "Upper Case" },
			map[string]string{"deployment": "1 to 32"}},
		{"addresses", func(c *Config) { c.Listen.Public, c.Listen.Internal = "8080", "host:http" },
			map[string]string{"listen.public": "host:port", "listen.internal": "host:port"}},
		{"the same address twice", func(c *Config) { c.Listen.Internal = c.Listen.Public },
			map[string]string{"listen.internal": "is the same as listen.public"}},
		{"any free port twice", func(c *Config) { c.Listen.Public, c.Listen.Internal = "127.0.0.1:0", "127.0.0.1:0" }, nil},
		{"no listener for clients", func(c *Config) { c.Listen.Public = "" },
			map[string]string{"listen.public": "certificate"}},
		{"load balancer", func(c *Config) {
			c.Listen.LBPath, c.Listen.LB = "lb", LoadBalancer{Server: "ws://x", PodHost: "a/b", WS: 0, WSS: 70000}
		},
			map[string]string{"listen.lbPath": "begin with /", "listen.lb.server": "host name", "listen.lb.podHost": "host name", "listen.lb.ws": "1 to 65535", "listen.lb.wss": "1 to 65535"}},
		{"player for frames", func(c *Config) {
			c.Listen.LBPath = "/embed_player"
			c.Listen.Embed = Embed{Enabled: true, Frames: []string{"https://*.example.com", "example.com", "https://a; sandbox"}, Servers: []string{"wss://b:8443", "https://b", "wss://b/path"}, AppKey: "none"}
		}, map[string]string{
			"listen.lbPath": "listen.embed", "listen.embed.frames[1]": "http(s)://", "listen.embed.frames[2]": "http(s)://",
			"listen.embed.servers[1]": "ws(s)://", "listen.embed.servers[2]": "ws(s)://", "listen.embed.appKey": "no application",
		}},
		{"livekit without scheme", func(c *Config) { c.LiveKit.URL = "livekit:7880" }, map[string]string{"livekit.url": "http(s)://"}},
		{"livekit without host", func(c *Config) { c.LiveKit.URL = "https://" }, map[string]string{"livekit.url": "http(s)://"}},
		{"livekit with a password", func(c *Config) { c.LiveKit.URL = "https://u:" + testSecret + "@h" }, map[string]string{"livekit.url": "user"}},
		{"livekit with a query", func(c *Config) { c.LiveKit.URL = "https://h/?a=b" }, map[string]string{"livekit.url": "end with the path"}},
		{"livekit values", func(c *Config) {
			c.LiveKit.WebhookKeys = map[string]Secret{"old": ""}
			c.LiveKit.RoomEmptyTimeout, c.LiveKit.RoomDepartureTimeout = -1, -1
			c.LiveKit.CallTimeout, c.LiveKit.MaxConns, c.LiveKit.Play = 0, 0, "http"
		}, map[string]string{
			"livekit.webhookKeys[old]": "secret", "livekit.roomEmptyTimeout": "at least", "livekit.roomDepartureTimeout": "at least",
			"livekit.callTimeout": "at least", "livekit.maxConns": "at least", "livekit.play": "must be one of auto, signal, whip",
		}},
		{"a webhook key that is the API key", func(c *Config) { c.LiveKit.APIKey, c.LiveKit.WebhookKeys = "k", map[string]Secret{"k": "other"} },
			map[string]string{"livekit.webhookKeys[k]": "differs from livekit.apiSecret"}},
		{"redis addresses", func(c *Config) { c.Redis.Addrs = []string{"ok:1", "redis://:" + testSecret + "@h:1"} },
			map[string]string{"redis.addrs[1]": "host:port"}},
		{"redis values", func(c *Config) {
			c.Redis.DB, c.Redis.Lease, c.Redis.RecordTTL, c.Redis.CallTimeout = -1, time.Second, time.Second, -1
			c.Redis.SentinelUsername, c.Redis.SentinelPassword = "u", "p"
		}, map[string]string{
			"redis.db": "at least 0", "redis.lease": "at least 2s", "redis.recordTTL": "ten times redis.lease", "redis.callTimeout": "at least",
			"redis.sentinelUsername": "masterName", "redis.sentinelPassword": "masterName",
		}},
		{"a slow redis and a short lease", func(c *Config) { c.Redis.Lease, c.Redis.CallTimeout = 4*time.Second, 1001*time.Millisecond },
			map[string]string{"redis.callTimeout": "at most a quarter of redis.lease, 1s"}},
		{"records that end with the lease", func(c *Config) { c.Redis.RecordTTL = 10*c.Redis.Lease - 1 },
			map[string]string{"redis.recordTTL": "at least ten times redis.lease, 1m20s"}},
		{"cluster with a database", func(c *Config) { c.Redis.Addrs, c.Redis.DB = []string{"a:1", "b:2"}, 3 },
			map[string]string{"redis.db": "Cluster"}},
		{"sentinels with a database", func(c *Config) { c.Redis.Addrs, c.Redis.MasterName, c.Redis.DB = []string{"a:1", "b:2"}, "m", 3 }, nil},
		{"cluster and sentinels", func(c *Config) { c.Redis.Cluster, c.Redis.MasterName = true, "m" },
			map[string]string{"redis.cluster": "masterName"}},
		{"redis TLS disabled", func(c *Config) { c.Redis.TLS.ServerName = "r" }, map[string]string{"redis.tls": "enabled is false"}},
		{"session", func(c *Config) { c.Session = Session{PingInterval: -time.Second} }, map[string]string{
			"session.pingInterval": "at least", "session.pingProbes": "at least", "session.helloTimeout": "at least",
			"session.maxMessageBytes": "at least 65536", "session.maxQueueBytes": "at least 65536",
			"session.maxQueueMessages": "at least", "session.writeTimeout": "at least", "session.maxStreams": "at least",
		}},
		{"limits", func(c *Config) {
			c.Limits = Limits{Connections: -1, MessagesPerSecond: -1, BytesPerSecond: -1, ConnectionsPerAddress: -1}
		}, map[string]string{
			"limits.connections": "at least 0", "limits.connectionsPerAddress": "at least 0", "limits.pending": "at least 1",
			"limits.messagesPerSecond": "at least 0", "limits.messageBurst": "at least 1", "limits.bytesPerSecond": "at least 0",
			"limits.byteBurst": "session.maxMessageBytes, 1048576", "limits.jsonDepth": "at least 16", "limits.nameBytes": "at least 1",
			"limits.idBytes": "at least 36", "limits.loginBytes": "at least 1", "limits.customBytes": "at least 1", "limits.payloadBytes": "at least 1",
			"limits.startBurst": "at least 1", "limits.joinBurst": "at least 1",
		}},
		{"origins", func(c *Config) {
			c.Listen.Origins = []string{"https://ok.example", "https://*"}
			c.Applications = map[string]Application{"a": {Room: "{name}", Native: "off", Origins: []string{"a/b"}, MaxSessions: -1}}
		}, map[string]string{
			"listen.origins[1]": "https://*", "applications[a].origins[0]": "a/b", "applications[a].maxSessions": "at least 0",
		}},
		{"proxies", func(c *Config) { c.Listen.TrustedProxies = []string{"10.0.0.0/8", "10.0.0.1"} },
			map[string]string{"listen.trustedProxies[1]": "network"}},
		{"PROXY protocol without trusted proxies", func(c *Config) { c.Listen.ProxyProtocol = true }, map[string]string{"listen.proxyProtocol": "trustedProxies"}},
		{"media", func(c *Config) { c.Media = Media{} }, map[string]string{
			"media.iceTimeout": "at least", "media.mediaTimeout": "at least", "media.secondTrackWait": "at least", "media.playWait": "at least",
		}},
		{"silence", func(c *Config) { c.Media.SilenceTimeout = -time.Second }, map[string]string{"media.silenceTimeout": "at least 100ms, or 0"}},
		{"no silence", func(c *Config) { c.Media.SilenceTimeout = 0 }, nil},
		{"rates", func(c *Config) { c.Rates = Rates{Source: "on", MaxProbes: -1} }, map[string]string{
			"rates.source": "must be one of auto, client, probe, off", "rates.maxProbes": "at least 0",
		}},
		{"snapshot", func(c *Config) { c.Snapshot = Snapshot{FFmpeg: "no/such/ffmpeg", MaxBytes: 1<<24 + 1} }, map[string]string{
			"snapshot.timeout": "at least", "snapshot.ffmpeg": "begins with /", "snapshot.maxPixels": "at least 1", "snapshot.maxBytes": "1 to 16777216",
			"snapshot.maxAtOnce": "at least 1", "snapshot.perMinute": "at least 1",
		}},
		{"missing decoder", func(c *Config) { c.Snapshot.FFmpeg = "/no/such/ffmpeg" }, map[string]string{"snapshot.ffmpeg": "not an executable program"}},
		{"applications", func(c *Config) {
			c.Applications = map[string]Application{
				"":    {Room: "a.{name}", Native: "off"},
				"bad": {Room: "room", Native: "on", Codecs: []string{"VP8", "MP3"}, Rates: "yes"},
			}
		}, map[string]string{
			"applications[]": "app key", "applications[bad].room": "{name}",
			"applications[bad].native": "must be one of off, play, publish, both", "applications[bad].codecs": "MP3",
			"applications[bad].rates": "must be one of auto, client, probe, off",
		}},
		{"rooms", func(c *Config) {
			c.RoomAPI = Rooms{}
			c.change("roomApp", func(a *Application) { a.Rooms = "yes" })
		}, map[string]string{
			"rooms.maxMembers": "at least 1", "rooms.perSession": "at least 1", "applications[roomApp].rooms": "must be one of on, off",
		}},
		{"node", func(c *Config) { c.NodeID = "node-1" }, map[string]string{"nodeId": "32 letters and digits"}},
		{"playFrom", func(c *Config) {
			c.change("defaultApp", func(a *Application) { a.PlayFrom = []string{"roomApp", "unknown"} })
		},
			map[string]string{"applications[defaultApp].playFrom[1]": "is no application"}},
		{"recording", func(c *Config) {
			c.Recording = Recording{Prefix: "/out/{time}/", Template: "{endTime}", StartTimeout: time.Millisecond}
			c.change("defaultApp", func(a *Application) {
				a.Record, a.RTMPHosts, a.RTMPFullURL = "always", []string{"good.example", "rtmp://bad.example/app"}, true
			})
			c.change("roomApp", func(a *Application) { a.Record, a.RTMPFullURL = RecordAllowed, true })
		}, map[string]string{
			"recording.prefix": "braces", "recording.template": "unknown element {endTime}", "recording.startTimeout": "at least",
			"applications[defaultApp].record": "must be one of forbidden, allowed", "applications[defaultApp].rtmpHosts[1]": "must be host",
			"applications[roomApp].rtmpFullUrl": "rtmpHosts",
		}},
		{"a backend", func(c *Config) {
			c.hooks(func(h *Hooks) {
				h.URL, h.HMACSecret, h.KeepAliveInterval, h.TLS.ServerName = "https://b.example/api", "s", time.Second, "b"
			})
		}, nil},
		{"a backend without url", func(c *Config) { c.hooks(func(h *Hooks) { h.FailClosed = true }) },
			map[string]string{"applications[defaultApp].hooks": "no url"}},
		{"a backend's url", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "backend:80/api" }) },
			map[string]string{"applications[defaultApp].hooks.url": "http(s)://"}},
		{"a backend's url without host", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "http:///api" }) },
			map[string]string{"applications[defaultApp].hooks.url": "http(s)://"}},
		{"a backend's url without host but with a port", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "http://:80/api" }) },
			map[string]string{"applications[defaultApp].hooks.url": "http(s)://"}},
		{"a backend's url with an empty fragment", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "http://b/api#" }) },
			map[string]string{"applications[defaultApp].hooks.url": "end with the path"}},
		{"a backend's url with a password", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "http://u:" + testSecret + "@b" }) },
			map[string]string{"applications[defaultApp].hooks.url": "use the separate settings"}},
		{"a backend's url with a fragment", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "http://b/api#x" }) },
			map[string]string{"applications[defaultApp].hooks.url": "end with the path"}},
		{"a backend's url with a query", func(c *Config) { c.hooks(func(h *Hooks) { h.URL = "http://b/api?key=" + testSecret }) },
			map[string]string{"applications[defaultApp].hooks.url": "end with the path"}},
		{"a backend's values", func(c *Config) {
			c.hooks(func(h *Hooks) {
				*h = Hooks{URL: "http://b", Methods: []string{"conect"}, Retries: 11, MaxWaiting: -1, MaxResponseBytes: 1023, Username: "u:v", HMACSecret: "s", KeepAliveInterval: 1}
				h.TLS.ServerName = "b"
			})
		}, map[string]string{
			"applications[defaultApp].hooks.methods": "conect", "applications[defaultApp].hooks.timeout": "at least",
			"applications[defaultApp].hooks.retries": "0 to 10", "applications[defaultApp].hooks.maxInFlight": "at least 1",
			"applications[defaultApp].hooks.maxWaiting": "at least 0", "applications[defaultApp].hooks.maxResponseBytes": "at least 1024, or 0",
			"applications[defaultApp].hooks.hmacSecret": "same header", "applications[defaultApp].hooks.keepAliveInterval": "at least 1s",
			"applications[defaultApp].hooks.tls": "https", "applications[defaultApp].hooks.username": "together",
		}},
		{"a user with a colon", func(c *Config) { c.hooks(func(h *Hooks) { h.URL, h.Username, h.Password = "http://b", "u:v", "p" }) },
			map[string]string{"applications[defaultApp].hooks.username": "colon"}},
		{"keep-alive without its method", func(c *Config) {
			c.hooks(func(h *Hooks) { h.URL, h.Methods, h.KeepAliveInterval = "http://b", []string{"connect"}, time.Minute })
		}, map[string]string{"applications[defaultApp].hooks.keepAliveInterval": "not in methods"}},
		{"no methods", func(c *Config) { c.hooks(func(h *Hooks) { h.URL, h.Methods = "http://b", nil }) },
			map[string]string{"applications[defaultApp].hooks.methods": "is empty"}},
		{"applications with shared rooms", func(c *Config) {
			c.Applications = map[string]Application{"a": {Room: "x{name}", Native: "off"}, "b": {Room: "{name}", Native: "off"}}
		}, map[string]string{"applications": "the same room"}},
		{"log", func(c *Config) { c.Log = Log{Level: "loud", Format: "xml"} },
			map[string]string{"log.level": "one of", "log.format": "one of"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := Load("", required)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&cfg)
			cfg.Complete()
			err = cfg.Validate()
			wantFaults(t, err, tt.want)
			if err != nil && strings.Contains(err.Error(), testSecret) {
				t.Errorf("error contains a secret: %v", err)
			}
		})
	}
}

// change modifies one application.
func (c *Config) change(key string, change func(*Application)) {
	app := c.Applications[key]
	change(&app)
	c.Applications[key] = app
}

// hooks modifies the hooks of defaultApp.
func (c *Config) hooks(change func(*Hooks)) {
	c.change("defaultApp", func(a *Application) { change(&a.Hooks) })
}

func TestUnusableTLSFilesAreReported(t *testing.T) {
	cert, key := testCertificate(t)
	broken := write(t, "no PEM at all")
	missing := filepath.Join(t.TempDir(), "none.pem")
	tests := []struct {
		name   string
		change func(*Config)
		want   map[string]string
	}{
		{"listener", func(c *Config) { c.Listen.TLS = KeyPair{cert, key} }, nil},
		{"listener with TLS only", func(c *Config) { c.Listen.TLS, c.Listen.Public = KeyPair{cert, key}, "" }, nil},
		{"listener without key", func(c *Config) { c.Listen.TLS = KeyPair{Cert: cert} }, map[string]string{"listen.tls": "together"}},
		{"listener with a missing file", func(c *Config) { c.Listen.TLS = KeyPair{cert, missing} }, map[string]string{"listen.tls": "none.pem"}},
		{"listener with a broken file", func(c *Config) { c.Listen.TLS = KeyPair{broken, key} }, map[string]string{"listen.tls": "certificate and key"}},
		{"listener without address", func(c *Config) { c.Listen.TLS, c.Listen.Secure = KeyPair{cert, key}, "" }, map[string]string{"listen.secure": "host:port"}},
		{"redis", func(c *Config) { c.Redis.TLS = RedisTLS{Enabled: true, CA: cert, Cert: cert, Key: key} }, nil},
		{"redis with missing authorities", func(c *Config) { c.Redis.TLS = RedisTLS{Enabled: true, CA: missing} }, map[string]string{"redis.tls": "none.pem"}},
		{"redis with broken authorities", func(c *Config) { c.Redis.TLS = RedisTLS{Enabled: true, CA: broken} }, map[string]string{"redis.tls": "no certificate"}},
		{"redis without key", func(c *Config) { c.Redis.TLS = RedisTLS{Enabled: true, Cert: cert} }, map[string]string{"redis.tls": "together"}},
		{"backend", func(c *Config) { c.hooks(func(h *Hooks) { h.URL, h.TLS.CA = "https://b", cert }) }, nil},
		{"backend with missing authorities", func(c *Config) { c.hooks(func(h *Hooks) { h.URL, h.TLS.CA = "https://b", missing }) },
			map[string]string{"applications[defaultApp].hooks.tls": "none.pem"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := Load("", required)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&cfg)
			wantFaults(t, cfg.Validate(), tt.want)
		})
	}

	redis, err := RedisTLS{Enabled: true, CA: cert, Cert: cert, Key: key, ServerName: "r", InsecureSkipVerify: true}.Config()
	if err != nil || redis.RootCAs == nil || len(redis.Certificates) != 1 || redis.ServerName != "r" || !redis.InsecureSkipVerify {
		t.Errorf("TLS configuration of Redis lacks a setting (error %v)", err)
	}
	if got, err := (RedisTLS{}).Config(); got != nil || err != nil {
		t.Errorf("Redis without TLS has a TLS configuration (error %v)", err)
	}
	insecure := Config{Redis: Redis{TLS: RedisTLS{InsecureSkipVerify: true}}}
	if w := insecure.Warnings(); len(w) != 1 || !strings.Contains(w[0], "insecureSkipVerify") {
		t.Errorf("warnings %q, want one about insecureSkipVerify", w)
	}
}

// testCertificate creates a self-signed certificate.
func testCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}
