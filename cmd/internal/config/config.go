// Package config is what an operator can set: one YAML file and environment variables, read into
// one struct. It validates everything at once; the packages that it is for take values and parse nothing.
//
// The comments of the fields are the documentation for users: the table in docs/configuration.md and
// deploy/wcs-gateway.example.yaml are made of them and of Default (run this package's tests with -update).
package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"time"

	"wcsgateway/translate"
)

// Config is the whole configuration. Its zero value is not usable: start from Load or Default.
type Config struct {
	// Name of this deployment, 1 to 32 of a-z, 0-9 and `-`. All Redis keys and LiveKit identities carry it: two
	// deployments with different names can share a Redis and a LiveKit.
	Deployment string `koanf:"deployment"`
	// Server version that clients are told. Empty: `5.2.0-` and the version of the build.
	Version string `koanf:"version"`
	// What hooks call this server, 32 letters and digits. Empty: made of `deployment`, always the same for the same
	// name; all pods of a deployment are one server.
	NodeID    string    `koanf:"nodeId"`
	Listen    Listen    `koanf:"listen"`
	LiveKit   LiveKit   `koanf:"livekit"`
	SFU       SFU       `koanf:"sfu"`
	Redis     Redis     `koanf:"redis"`
	Session   Session   `koanf:"session"`
	Limits    Limits    `koanf:"limits"`
	Media     Media     `koanf:"media"`
	Rates     Rates     `koanf:"rates"`
	Snapshot  Snapshot  `koanf:"snapshot"`
	Recording Recording `koanf:"recording"`
	Drain     Drain     `koanf:"drain"`
	RoomAPI   Rooms     `koanf:"rooms"`
	REST      REST      `koanf:"rest"`
	Tracing   Tracing   `koanf:"tracing"`
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
	// Path that answers the SDK's `lbUrl`. Empty: none.
	LBPath string       `koanf:"lbPath"`
	LB     LoadBalancer `koanf:"lb"`
	// Pages that may connect, by their Origin: others get 403. `https://app.example.com`, `https://*.example.com`,
	// `http://localhost:*`, `example.com` (any scheme and port), `*`, `null` (files and sandboxed frames); `!` before one refuses what it
	// matches. The first that matches counts, none refuses. Empty: all. Clients without Origin, which are no browsers, are
	// always let in. Taken while running.
	Origins []string `koanf:"origins"`
	// Networks of the proxies and load balancers in front, such as `10.0.0.0/8`: the client's address is taken
	// from their `X-Forwarded-For`, or PROXY header, and from nobody else's. Empty: none.
	TrustedProxies []string `koanf:"trustedProxies"`
	// The trusted proxies begin each connection with a PROXY header, version 1 or 2; one without is closed. Connections from elsewhere
	// must have none.
	ProxyProtocol bool `koanf:"proxyProtocol"`
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
	// Host name of this deployment for clients. Empty: host and port that `lbUrl` itself names.
	Server string `koanf:"server"`
	// Host name under which clients reach this very pod, where pods have addresses of their own: `lbUrl` then names a pod that is ready and has few
	// sessions, instead of `listen.lb.server`. Empty: it does not.
	PodHost string `koanf:"podHost"`
	// Port that clients use for `ws://`, of `listen.lb.server` or this pod.
	WS int `koanf:"ws"`
	// Port that clients use for `wss://`, likewise.
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

// SFU is what the gateway has LiveKit do.
type SFU struct {
	// What a publisher's app says it has muted (`sendStreamEvent`) is muted in LiveKit, too: nobody gets it. LiveKit refuses to
	// unmute it unless its own `room.enable_remote_unmute` is set. `false`: players and native clients are told, and that is all.
	RemoteMute bool `koanf:"remoteMute"`
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
	// Lifetime of all records, as a backstop: they are renewed while they are in use. At least ten times `redis.lease`.
	RecordTTL time.Duration `koanf:"recordTTL"`
	// Deadline of one call, and so of a refusal while Redis hangs. At most a quarter of `redis.lease`, so that a lease can be renewed in time.
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
	// Bytes that may wait for a slow client before it is closed; half of them of what other clients say to it, of which more is left out. At least 65536.
	MaxQueueBytes int `koanf:"maxQueueBytes"`
	// Messages that may wait for a slow client before it is closed; half of them of what other clients say to it.
	MaxQueueMessages int `koanf:"maxQueueMessages"`
	// Deadline of writing one message.
	WriteTimeout time.Duration `koanf:"writeTimeout"`
	// Streams that one session may publish and play at a time.
	MaxStreams int `koanf:"maxStreams"`
	// How long a session whose app asked for `keepAlive` outlives its socket: within it the client finds session and
	// streams again, on any pod. 0: not at all.
	KeepAliveGrace time.Duration `koanf:"keepAliveGrace"`
}

// Limits bound what all clients together, or one that means no good, may cost. All are taken while running, those
// of a socket by new sockets.
type Limits struct {
	// Sockets of this pod in all; more are refused with 503. 0: the process's limit of open files, less 256.
	Connections int `koanf:"connections"`
	// Sockets of one client address (IPv6: of one /64 network) on this pod; more are refused with 429. As many TCP connections may be in their
	// handshake, and as many sessions with keepAlive without a socket. 0: no limit, because behind a proxy that is not in `listen.trustedProxies` all clients have one address.
	ConnectionsPerAddress int `koanf:"connectionsPerAddress"`
	// Sockets whose `connection` command has not come; more are refused with 503. As many TCP connections may be in
	// their handshake; more are closed.
	Pending int `koanf:"pending"`
	// Sessions with `keepAlive` of this pod whose socket is gone; more end with their socket.
	Parked int `koanf:"parked"`
	// Messages a second that a client may send in the long run, control frames too; one that sends more is closed. 0: no limit.
	MessagesPerSecond int `koanf:"messagesPerSecond"`
	// Messages that a client may send at once: SDKs with log push send all that they have logged, a line each. All clients
	// together share what is read of such bursts, 1,000 messages a second and processor.
	MessageBurst int `koanf:"messageBurst"`
	// Bytes a second that a client may send in the long run; one that sends more is closed. 0: no limit.
	BytesPerSecond int64 `koanf:"bytesPerSecond"`
	// Bytes that a client may send at once. At least `session.maxMessageBytes`. All clients together share what is read of such bursts, 2 MiB a second and
	// processor.
	ByteBurst int64 `koanf:"byteBurst"`
	// How deep arrays and objects of a message may be nested.
	JSONDepth int `koanf:"jsonDepth"`
	// Longest stream name, in bytes. LiveKit's limit for the room's name made of it, 256, counts too.
	NameBytes int `koanf:"nameBytes"`
	// Longest `mediaSessionId` (of a stream: 128 at most), `operationId` and `callId`, in bytes.
	IDBytes int `koanf:"idBytes"`
	// Longest `login` and `sipLogin`, in bytes of JSON.
	LoginBytes int `koanf:"loginBytes"`
	// Largest `custom`, in bytes of JSON.
	CustomBytes int `koanf:"customBytes"`
	// Largest `payload` of `sendData` and of the stream event `data`, in bytes of JSON.
	PayloadBytes int `koanf:"payloadBytes"`
	// Lines a second that a client may push into this log in the long run (`pushLogs`, `submitBugReport`, `sessionDebug`), and 200 at
	// once, at level `debug`; more are dropped and counted. 0: none.
	ClientLogsPerSecond int `koanf:"clientLogsPerSecond"`
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
	// statistics, and nothing of native participants' data.
	MaxProbes int `koanf:"maxProbes"`
}

// Snapshot is what the command `snapshot` may cost: a PNG of the live picture of a stream (integration.md §5.4). For
// each a hidden participant joins the stream's room for a moment.
type Snapshot struct {
	// Time for a picture, else `No picture of the stream in time`.
	Timeout time.Duration `koanf:"timeout"`
	// Path of ffmpeg, which decodes streams that are H264, VP9 or AV1. Empty: only VP8 streams have snapshots.
	FFmpeg string `koanf:"ffmpeg"`
	// Largest picture, width × height.
	MaxPixels int `koanf:"maxPixels"`
	// Largest PNG, in bytes; clients get it twice as base64, in messages that do not count for `session.maxQueueBytes`. At
	// most 16777216.
	MaxBytes int `koanf:"maxBytes"`
	// Pictures that one gateway takes at a time. Others wait for their turn, as long as `snapshot.timeout`.
	MaxAtOnce int `koanf:"maxAtOnce"`
	// Snapshots a minute that one session may ask for in the long run, and 10 at once.
	PerMinute int `koanf:"perMinute"`
}

// Drain is how the gateway takes leave of its clients after SIGTERM. A second signal ends it at once.
type Drain struct {
	// How long it serves on, not ready, while load balancers take it out.
	Notice time.Duration `koanf:"notice"`
	// How long it waits, after that, for sessions with streams to end by themselves; those without are closed.
	Window time.Duration `koanf:"window"`
	// Time over which sockets are closed, so that not all clients come back in the same moment.
	Pace time.Duration `koanf:"pace"`
	// How long sessions with `keepAlive` are held, after the last socket is closed, for other pods to take.
	Handover time.Duration `koanf:"handover"`
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
	// Pages that may use the application, written as in `listen.origins`, which counts first. Others are refused like those with an
	// unknown app key, with `Origin not allowed`. Empty: all.
	Origins []string `koanf:"origins"`
	// Sessions of the application on this pod; more are refused with `Too many sessions of this application`. 0: no limit.
	MaxSessions int `koanf:"maxSessions"`
	// App keys whose streams its clients may play, besides its own: for another's stream they get `Restricted
	// access`. An empty list: everybody's, as in WCS.
	PlayFrom []string `koanf:"playFrom"`
	Hooks    Hooks    `koanf:"hooks"`
	// The room API of the SDK (`roomApi`): `on` or `off`. Empty: `on` for the app key `roomApp`, `off` for others. Each application
	// has rooms of its own.
	Rooms string `koanf:"rooms"`
	// Whether LiveKit's egress service records what clients publish with `record: true`: `allowed` or `forbidden` (such streams go on, not
	// recorded).
	Record string `koanf:"record"`
	// RTMP servers that clients may have their streams sent to (`rtmpUrl`): `live.example.com`, `*.example.com`, `*`, with `:port` or
	// without. Other streams with an `rtmpUrl` are refused. Empty: none.
	RTMPHosts []string `koanf:"rtmpHosts"`
	// A client's `rtmpUrl` is complete. Otherwise `/rtmp_` and the stream's name are added to it, as WCS does.
	RTMPFullURL bool `koanf:"rtmpFullUrl"`
	// Source of the video rates for clients of this application, in place of `rates.source`. Empty: that.
	Rates string `koanf:"rates"`
	// What native LiveKit participants send as data to the room of a stream reaches the stream's legacy players, as stream event `data`: text
	// up to `limits.payloadBytes`, 20 messages a second. For each published stream a hidden participant joins its room, one
	// with its probe; `rates.maxProbes` bounds both.
	NativeData bool `koanf:"nativeData"`
}

// Tracing sends traces of publishes and plays to an OpenTelemetry collector.
type Tracing struct {
	// Address of an OTLP receiver for HTTP, such as `http://otel-collector:4318`. A path is taken as it is; without one it is `/v1/traces`.
	// A trace goes from a client's `publishStream` or `playStream` over the application's backend, Redis and LiveKit to `PUBLISHING` or
	// `PLAYING`. Empty: no traces.
	Endpoint string `koanf:"endpoint"`
	// Share of publishes and plays that are traced, 0 to 1.
	SampleRatio float64 `koanf:"sampleRatio"`
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
			LBPath: "/lb", LB: LoadBalancer{WS: 8080, WSS: 8443},
		},
		LiveKit: LiveKit{
			RoomEmptyTimeout: 10 * time.Second, RoomDepartureTimeout: 2 * time.Second,
			CallTimeout: 5 * time.Second, MaxConns: 512,
		},
		Redis: Redis{Lease: 8 * time.Second, RecordTTL: 24 * time.Hour, CallTimeout: 800 * time.Millisecond},
		Session: Session{
			PingInterval: 5 * time.Second, PingProbes: 10, HelloTimeout: 10 * time.Second,
			MaxMessageBytes: 1 << 20, MaxQueueBytes: 1 << 20, MaxQueueMessages: 1000,
			WriteTimeout: 5 * time.Second, MaxStreams: 64, KeepAliveGrace: 30 * time.Second,
		},
		Limits: Limits{
			Pending:           5000,
			Parked:            5000,
			MessagesPerSecond: 200, MessageBurst: 10000, BytesPerSecond: 256 << 10, ByteBurst: 8 << 20,
			JSONDepth: 100, NameBytes: 255, IDBytes: 128, LoginBytes: 1 << 10, CustomBytes: 64 << 10, PayloadBytes: 256 << 10,
			ClientLogsPerSecond: 20,
		},
		Media: Media{
			ICETimeout: 20 * time.Second, MediaTimeout: 20 * time.Second,
			SecondTrackWait: 2 * time.Second, PlayWait: 2 * time.Second, SilenceTimeout: time.Minute,
		},
		Recording: Recording{Template: string(translate.DefaultFileTemplate), StartTimeout: 4 * time.Second},
		Drain:     Drain{Notice: 5 * time.Second, Window: time.Minute, Pace: 10 * time.Second, Handover: 8 * time.Second},
		REST:      REST{Listen: ":8081", Auth: AuthBasic},
		Rates:     Rates{Source: RatesAuto, MaxProbes: 100},
		Snapshot:  Snapshot{Timeout: 3 * time.Second, MaxPixels: 1920 * 1080, MaxBytes: 4 << 20, MaxAtOnce: 4, PerMinute: 60},
		RoomAPI:   Rooms{MaxMembers: 100, PerSession: 16}, Tracing: Tracing{SampleRatio: 1},
		Log: Log{Level: "info", Format: "json"},
	}
}

// DefaultApplication is what an application gets that says nothing: rooms of its own kind, so
// that legacy streams do not meet native participants by accident.
func DefaultApplication() Application {
	return Application{
		Room: "wcs.{name}", Native: NativeOff, Codecs: translate.DefaultCodecs().Names(), Hooks: defaultHooks(), Record: RecordForbidden,
	}
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
		if app.Record == "" {
			app.Record = defaults.Record
		}
		if reflect.ValueOf(app.Hooks).IsZero() {
			app.Hooks = defaults.Hooks
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

// Node is the server's name in hooks (design.md §2). Without one that is set it is the beginning of the SHA-256 of
// the deployment's name, so that it stays the same when pods come and go.
func (c Config) Node() string {
	if c.NodeID != "" {
		return c.NodeID
	}
	sum := sha256.Sum256([]byte(c.Deployment))
	return hex.EncodeToString(sum[:16])
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
	if len(c.Listen.TrustedProxies) == 0 && c.Limits.ConnectionsPerAddress > 0 {
		w = append(w, "limits.connectionsPerAddress is set without listen.trustedProxies: all clients behind a proxy count as one")
	}
	if c.Redis.TLS.InsecureSkipVerify {
		w = append(w, "redis.tls.insecureSkipVerify is set: any server is taken for Redis")
	}
	return append(w, c.REST.warnings()...)
}
