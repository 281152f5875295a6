// Package config is what an operator can set: one YAML file and environment variables, read into
// one struct. It validates everything at once; the packages that it is for take values and parse nothing.
//
// The comments of the fields are the documentation for users: the table in the README and
// deploy/wcs-gateway.example.yaml are made of them and of Default (run this package's tests with -update).
package config

import (
	"cmp"
	"time"

	"wcsgateway/translate"
)

// Config is the whole configuration. Its zero value is not usable: start from Load or Default.
type Config struct {
	// Name of this deployment, 1 to 32 of a-z, 0-9 and `-`. All Redis keys and LiveKit identities carry it: two
	// deployments with different names can share a Redis and a LiveKit.
	Deployment string `koanf:"deployment"`
	// Server version that clients are told. Empty: `5.2.0-` and the version of the build.
	Version string  `koanf:"version"`
	Listen  Listen  `koanf:"listen"`
	LiveKit LiveKit `koanf:"livekit"`
	Redis   Redis   `koanf:"redis"`
	Session Session `koanf:"session"`
	Media   Media   `koanf:"media"`
	Rates   Rates   `koanf:"rates"`
	Drain   Drain   `koanf:"drain"`
	// Applications by app key; a client with another app key is refused. None: `defaultApp` and `roomApp`, with
	// the defaults of an application.
	Applications map[string]Application `koanf:"applications"`
	Log          Log                    `koanf:"log"`

	builtInApps bool // no applications were configured
}

// Listen is where the gateway listens.
type Listen struct {
	// Address for WebSocket clients without TLS (`ws://`). Empty: none.
	Public string `koanf:"public"`
	// Address for WebSocket clients with TLS (`wss://`). Used only with a certificate.
	Secure string `koanf:"secure"`
	// Certificate and key of the address with TLS.
	TLS KeyPair `koanf:"tls"`
	// Address for the cluster only: LiveKit's webhooks, metrics and health.
	Internal string `koanf:"internal"`
	// Path that answers the SDK's `lbUrl`, such as `/lb`. Empty: none.
	LBPath string       `koanf:"lbPath"`
	LB     LoadBalancer `koanf:"lb"`
}

// KeyPair names the PEM files of a certificate and its private key.
type KeyPair struct {
	// PEM file with the certificate chain.
	Cert string `koanf:"cert"`
	// PEM file with the private key.
	Key string `koanf:"key"`
}

// LoadBalancer is the answer to the SDK's lbUrl (integration.md §3.1).
type LoadBalancer struct {
	// Host name that clients connect to. Required with `listen.lbPath`.
	Server string `koanf:"server"`
	// Port that clients use for `ws://`.
	WS int `koanf:"ws"`
	// Port that clients use for `wss://`.
	WSS int `koanf:"wss"`
}

// LiveKit is the media side.
type LiveKit struct {
	// Address of LiveKit, `http(s)://` or `ws(s)://`. Required.
	URL string `koanf:"url"`
	// API key. Required.
	APIKey string `koanf:"apiKey"`
	// Secret of the API key. Required.
	APISecret Secret `koanf:"apiSecret"`
	// Further API keys with their secrets that webhooks may be signed with, so that keys can be rotated.
	WebhookKeys map[string]Secret `koanf:"webhookKeys"`
	// How long LiveKit keeps a room that nobody has joined. Whole seconds, rounded up; 0: as LiveKit is
	// configured.
	RoomEmptyTimeout time.Duration `koanf:"roomEmptyTimeout"`
	// How long LiveKit keeps a room after the last participant has left. Whole seconds, rounded up; 0: as
	// LiveKit is configured.
	RoomDepartureTimeout time.Duration `koanf:"roomDepartureTimeout"`
	// Deadline of one call.
	CallTimeout time.Duration `koanf:"callTimeout"`
	// Connections to LiveKit, kept open when idle. A call that finds all of them in use waits for one.
	MaxConns int `koanf:"maxConns"`
}

// Redis is where the pods of a deployment share what they know.
type Redis struct {
	// Addresses, `host:port`: one of a single Redis, some of a Cluster, or the Sentinels. Required.
	Addrs []string `koanf:"addrs"`
	// Name of the master that the Sentinels watch. Empty: `redis.addrs` are not Sentinels.
	MasterName string `koanf:"masterName"`
	// ACL user. Empty: the default user.
	Username string `koanf:"username"`
	// Password of the user.
	Password Secret `koanf:"password"`
	// ACL user of the Sentinels.
	SentinelUsername string `koanf:"sentinelUsername"`
	// Password of the Sentinels.
	SentinelPassword Secret `koanf:"sentinelPassword"`
	// Database number. A Cluster has only 0.
	DB int `koanf:"db"`
	// Redis is a Cluster. Several addresses without `redis.masterName` mean so too.
	Cluster bool     `koanf:"cluster"`
	TLS     RedisTLS `koanf:"tls"`
	// How long a pod that has stopped renewing its lease is still taken for alive. At least 2s.
	Lease time.Duration `koanf:"lease"`
	// Lifetime of all records, as a backstop: they are renewed while they are in use.
	RecordTTL time.Duration `koanf:"recordTTL"`
	// Deadline of one call.
	CallTimeout time.Duration `koanf:"callTimeout"`
}

// RedisTLS is how Redis (and its Sentinels) are reached over TLS.
type RedisTLS struct {
	// Connect to Redis with TLS.
	Enabled bool `koanf:"enabled"`
	// PEM file with the authorities that may sign the server's certificate. Empty: the system's.
	CA string `koanf:"ca"`
	// PEM file with the client certificate, if Redis asks for one.
	Cert string `koanf:"cert"`
	// PEM file with the client certificate's private key.
	Key string `koanf:"key"`
	// Name that must stand in the server's certificate. Empty: the host of the address.
	ServerName string `koanf:"serverName"`
	// Accept any certificate. For tests only.
	InsecureSkipVerify bool `koanf:"insecureSkipVerify"`
}

// Session bounds what one client may cost.
type Session struct {
	// How often a client is pinged. Clients expect every 5s unless their app sets otherwise.
	PingInterval time.Duration `koanf:"pingInterval"`
	// Unanswered pings in a row after which the socket is closed.
	PingProbes int `koanf:"pingProbes"`
	// Time a client has for its `connection` command.
	HelloTimeout time.Duration `koanf:"helloTimeout"`
	// Largest message accepted from a client, in bytes. At least 65536.
	MaxMessageBytes int64 `koanf:"maxMessageBytes"`
	// Bytes that may wait for a slow client before it is closed. At least 65536.
	MaxQueueBytes int `koanf:"maxQueueBytes"`
	// Messages that may wait for a slow client before it is closed.
	MaxQueueMessages int `koanf:"maxQueueMessages"`
	// Deadline of writing one message.
	WriteTimeout time.Duration `koanf:"writeTimeout"`
	// Streams that one session may publish and play at a time.
	MaxStreams int `koanf:"maxStreams"`
}

// Media are the deadlines of streams (design.md §9).
type Media struct {
	// Time from the answer to the connection of the media, else `Failed by ICE timeout`.
	ICETimeout time.Duration `koanf:"iceTimeout"`
	// Time from the answer to a publisher's first track, else `Failed by RTP activity`.
	MediaTimeout time.Duration `koanf:"mediaTimeout"`
	// How long a publisher's second track is waited for before the stream is PUBLISHING without it.
	SecondTrackWait time.Duration `koanf:"secondTrackWait"`
	// How long a play waits for a stream that is not PUBLISHING yet.
	PlayWait time.Duration `koanf:"playWait"`
	// How long a publisher whose connection is up may send no media at all before it is ended with `Failed by
	// RTP activity`. Whole streams only: one that is muted still sends. Needs a rate source. 0: for ever.
	SilenceTimeout time.Duration `koanf:"silenceTimeout"`
}

// Rates is where the video rates come from that clients are told each second (design.md §6).
type Rates struct {
	// `auto`: the statistics of clients that can send them (SDK 2.0.266 and later), a probe for the others.
	// `client`: only the former; the others are told nothing. `probe`: always a probe, which is a hidden
	// participant that receives the published stream once. `off`: nobody is asked or told.
	Source string `koanf:"source"`
	// Probes that one gateway may run at a time. Streams beyond it are told no rates unless their clients send
	// statistics.
	MaxProbes int `koanf:"maxProbes"`
}

// Drain is how the gateway takes leave of its clients after SIGTERM. A second signal ends it at once.
type Drain struct {
	// How long it serves on, not ready, while load balancers take it out.
	Notice time.Duration `koanf:"notice"`
	// How long it waits, after that, for sessions with streams to end by themselves; those without are closed.
	Window time.Duration `koanf:"window"`
	// Time over which sockets are closed, so that not all clients come back in the same moment.
	Pace time.Duration `koanf:"pace"`
}

// Application is what an app key may do and how.
type Application struct {
	// LiveKit room of a stream: `{name}` stands for the stream's name and must be in it once, `{app}` for the
	// app key.
	Room string `koanf:"room"`
	// Whether native LiveKit participants share the rooms: `off`, `play` (legacy clients play what native ones
	// publish), `publish` (the other way round) or `both`.
	Native string `koanf:"native"`
	// Codecs that publishers may use: opus, red, PCMU, PCMA, VP8, H264, VP9, AV1, H265. Fewer make a publish
	// faster. An empty list: all that LiveKit accepts.
	Codecs []string `koanf:"codecs"`
	// Source of the video rates for clients of this application, in place of `rates.source`. Empty: that.
	Rates string `koanf:"rates"`
}

// Log is what the gateway logs, on its standard error.
type Log struct {
	// `debug`, `info`, `warn` or `error`.
	Level string `koanf:"level"`
	// `json`, or `console` for people.
	Format string `koanf:"format"`
}

// Default is the configuration if nothing is set. It lacks what has no sensible default
// (livekit.url, livekit.apiKey, livekit.apiSecret, redis.addrs) and what Complete fills in.
func Default() Config {
	return Config{
		Deployment: "default",
		Listen: Listen{
			Public: ":8080", Secure: ":8443", Internal: ":9090",
			LB: LoadBalancer{WS: 8080, WSS: 8443},
		},
		LiveKit: LiveKit{
			RoomEmptyTimeout: 10 * time.Second, RoomDepartureTimeout: 2 * time.Second,
			CallTimeout: 5 * time.Second, MaxConns: 512,
		},
		Redis: Redis{Lease: 8 * time.Second, RecordTTL: 24 * time.Hour, CallTimeout: time.Second},
		Session: Session{
			PingInterval: 5 * time.Second, PingProbes: 10, HelloTimeout: 10 * time.Second,
			MaxMessageBytes: 1 << 20, MaxQueueBytes: 1 << 20, MaxQueueMessages: 1000,
			WriteTimeout: 5 * time.Second, MaxStreams: 64,
		},
		Media: Media{
			ICETimeout: 20 * time.Second, MediaTimeout: 20 * time.Second,
			SecondTrackWait: 2 * time.Second, PlayWait: 2 * time.Second, SilenceTimeout: time.Minute,
		},
		Rates: Rates{Source: RatesAuto, MaxProbes: 100},
		Drain: Drain{Notice: 5 * time.Second, Window: time.Minute, Pace: 10 * time.Second},
		Log:   Log{Level: "info", Format: "json"},
	}
}

// DefaultApplication is what an application gets that says nothing: rooms of its own kind, so
// that legacy streams do not meet native participants by accident.
func DefaultApplication() Application {
	return Application{Room: "wcs.{name}", Native: NativeOff, Codecs: translate.DefaultCodecs().Names()}
}

// Complete fills in what depends on other settings: the built-in
// applications if there are none, and what an application leaves out. Load does it; whoever makes a Config in code calls it.
func (c *Config) Complete() {
	if len(c.Applications) == 0 {
		c.builtInApps = true
		c.Applications = map[string]Application{"defaultApp": {}, "roomApp": {}} // the SDK's own (integration.md §1.2)
	}
	defaults := DefaultApplication()
	for key, app := range c.Applications {
		if app.Room == "" {
			app.Room = defaults.Room
		}
		if app.Native == "" {
			app.Native = defaults.Native
		}
		if app.Codecs == nil { // an empty list means no trimming
			app.Codecs = defaults.Codecs
		}
		c.Applications[key] = app
	}
}

// RateSource is the source of the video rates for an application.
func (c Config) RateSource(app Application) string { return cmp.Or(app.Rates, c.Rates.Source) }

// ServerVersion is what clients are told, for the version of this build (design.md §9).
func (c Config) ServerVersion(build string) string {
	if c.Version != "" {
		return c.Version
	}
	return "5.2.0-" + build
}

// Rooms are the room templates of all applications by app key.
func (c Config) Rooms() map[string]translate.RoomTemplate {
	rooms := make(map[string]translate.RoomTemplate, len(c.Applications))
	for key, app := range c.Applications {
		rooms[key] = translate.RoomTemplate(app.Room)
	}
	return rooms
}

// Warnings tells what is allowed but hardly meant for production, one sentence each.
func (c Config) Warnings() []string {
	var w []string
	if c.builtInApps {
		w = append(w, "no applications are configured: only defaultApp and roomApp are accepted")
	}
	if c.Redis.TLS.InsecureSkipVerify {
		w = append(w, "redis.tls.insecureSkipVerify is set: any server is taken for Redis")
	}
	return w
}
