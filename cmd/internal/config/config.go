// Package config owns the configuration of the gateway: one YAML file and environment variables, read into
// one struct and validated as a whole. The packages that it configures take values and parse nothing. Only
// cmd uses it.
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

	"wcsgateway/gateway/apps"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/wcs"
)

// Config is the complete configuration. Its zero value is not usable: start from Load or Default.
type Config struct {
	// Name of this deployment: 1 to 32 characters of a-z, 0-9 and `-`. All Redis keys and LiveKit identities
	// contain it, so deployments with different names can share a Redis and a LiveKit.
	Deployment string `koanf:"deployment" pattern:"^[a-z0-9-]{1,32}$"`
	// Server version that is sent to clients. Empty: `5.2.0-` and the version of the build.
	Version string `koanf:"version"`
	// Server id in hook calls, 32 letters and digits; all pods of a deployment have the same. Empty: derived
	// from `deployment`.
	NodeID    string    `koanf:"nodeId" pattern:"^([A-Za-z0-9]{32})?$"`
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
	Pull      Pull      `koanf:"pull"`
	Drain     Drain     `koanf:"drain"`
	RoomAPI   Rooms     `koanf:"rooms"`
	REST      REST      `koanf:"rest"`
	Tracing   Tracing   `koanf:"tracing"`
	// Other WCS servers, by name: 1 to 32 characters of a-z, 0-9 and `-`, but not `here`. An application's
	// `route` sends clients to them. Reloaded without a restart.
	Upstreams map[string]Upstream `koanf:"upstreams"`
	// Applications by app key. A client with another app key is rejected. Empty: `defaultApp` and `roomApp`
	// with the default settings of an application.
	Applications map[string]Application `koanf:"applications"`
	Log          Log                    `koanf:"log"`

	builtInApps bool // no applications were configured
}

// Listen holds the addresses that the gateway listens on.
type Listen struct {
	// Address for WebSocket clients without TLS (`ws://`). Empty: no listener.
	Public string `koanf:"public" pattern:"^(.*:[0-9]+)?$"`
	// Address for WebSocket clients with TLS (`wss://`). Used only with a certificate.
	Secure string `koanf:"secure" pattern:"^(.*:[0-9]+)?$"`
	// Certificate and key of the address with TLS.
	TLS KeyPair `koanf:"tls"`
	// Address for the cluster only: LiveKit's webhooks, metrics and health.
	Internal string `koanf:"internal" pattern:"^(.*:[0-9]+)?$"`
	// Path that answers the SDK's `lbUrl`. Empty: none.
	LBPath string       `koanf:"lbPath" pattern:"^(/.*)?$"`
	LB     LoadBalancer `koanf:"lb"`
	Embed  Embed        `koanf:"embed"`
	// Pages that may connect, by their `Origin`; other pages get 403. Empty: all pages. Reloaded without a
	// restart.
	//
	// Forms: `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, `example.com` (any
	// scheme and port), `*`, and `null` (local files and sandboxed frames). A leading `!` rejects the pages
	// that match. The first matching entry decides; a page that matches no entry is rejected.
	// Clients that are not browsers send no `Origin`, or the gateway's own address (iOS, React Native). They
	// are accepted without an entry if that address is the `Host` of the request and an IP address, or a name
	// under which the client opened TLS to the gateway itself. Behind a proxy that ends TLS, list the name,
	// such as `https://wcs.example.com`.
	Origins []string `koanf:"origins"`
	// Networks of the proxies and load balancers in front, such as `10.0.0.0/8`. The client's address is
	// taken from `X-Forwarded-For` or the PROXY header of these networks only. Empty: none.
	TrustedProxies []string `koanf:"trustedProxies" pattern:"^[0-9a-fA-F.:]+/[0-9]+$"`
	// Trusted proxies start each connection with a PROXY header, version 1 or 2. A connection of theirs
	// without it is closed; connections from other addresses must not send one.
	ProxyProtocol bool `koanf:"proxyProtocol"`
}

// KeyPair names the PEM files of a certificate and its private key.
type KeyPair struct {
	// PEM file with the certificate chain.
	Cert string `koanf:"cert"`
	// PEM file with the private key.
	Key string `koanf:"key"`
}

// LoadBalancer configures the answer to the SDK's lbUrl (docs/wcs-protocol.md#lburl).
type LoadBalancer struct {
	// Host name of this deployment for clients. Empty: the host and port that `lbUrl` itself names.
	Server string `koanf:"server"`
	// Host name under which clients reach this pod itself. Set it only where each pod has its own address.
	// Empty: `lbUrl` is answered with `listen.lb.server`.
	//
	// When it is set, `lbUrl` is answered with one of two ready pods taken at random: the one that has fewer
	// sessions. While Redis is unreachable it is the pod that received the request.
	PodHost string `koanf:"podHost"`
	// Port for `ws://` clients, of `listen.lb.server` or of this pod.
	WS int `koanf:"ws" rule:"min=1,max=65535"`
	// Port for `wss://` clients, of `listen.lb.server` or of this pod.
	WSS int `koanf:"wss" rule:"min=1,max=65535"`
}

// Embed configures the player for frames (docs/app-developers.md#embedded-player).
type Embed struct {
	// Serve a page at `/embed_player` that plays one stream in a frame of another page, with WCS's parameters.
	Enabled bool `koanf:"enabled"`
	// Pages that may have the player in a frame, as in a Content-Security-Policy: `https://app.example.com`,
	// `https://*.example.com`, `http://localhost:*`, or `*` for all. Empty: pages of the player's own address.
	Frames []string `koanf:"frames" pattern:"^(\\*|https?://.+)$"`
	// Servers that the player's parameter `urlServer` may name besides the player's own host and port, such as
	// `wss://wcs.example.com:8443`. Empty: none.
	Servers []string `koanf:"servers" pattern:"^wss?://[^/]+$"`
	// Application of the player's sessions. It must be one of `applications`.
	AppKey string `koanf:"appKey"`
}

// LiveKit configures the connection to the media server.
type LiveKit struct {
	// Address of LiveKit, `http(s)://` or `ws(s)://`. Required.
	URL string `koanf:"url" pattern:"^(([hH][tT][tT][pP]|[wW][sS])[sS]?://.+)?$"`
	// API key. Required.
	APIKey string `koanf:"apiKey"`
	// Secret of the API key. Required.
	APISecret Secret `koanf:"apiSecret"`
	// Further API keys, with their secrets, that webhooks may be signed with. Needed while keys are rotated.
	WebhookKeys map[string]Secret `koanf:"webhookKeys"`
	// How long LiveKit keeps a room that no participant has joined. Rounded up to whole seconds; 0: LiveKit's
	// own setting.
	RoomEmptyTimeout time.Duration `koanf:"roomEmptyTimeout" rule:"min=0s"`
	// How long LiveKit keeps a room after its last participant left. Rounded up to whole seconds; 0:
	// LiveKit's own setting.
	RoomDepartureTimeout time.Duration `koanf:"roomDepartureTimeout" rule:"min=0s"`
	// Deadline of one call.
	CallTimeout time.Duration `koanf:"callTimeout" rule:"min=100ms"`
	// Connections to LiveKit, kept open when idle. Half of them are for plays, a quarter of these for one
	// publisher's. A call waits for a connection while all of its part are in use. Players that are starting by
	// signalling have as many connections in addition as there are for plays.
	MaxConns int `koanf:"maxConns" rule:"min=1"`
	// How players are started: `auto`, `signal` or `whip`. `auto` is by signalling, and by WHIP, which takes
	// 50 ms longer, where LiveKit is older than 1.13.2 or refuses signalling. `signal` does not look at
	// LiveKit's version, and takes WHIP only while all connections for signalling are in use.
	Play livekit.PlayWay `koanf:"play" rule:"one=auto|signal|whip"`
}

// SFU configures optional actions of LiveKit.
type SFU struct {
	// Mute a publisher's track in LiveKit when its app sends a mute event (`sendStreamEvent`), so that no
	// client receives it. `false`: only players and native clients are notified.
	//
	// LiveKit refuses to unmute the track unless its own setting `room.enable_remote_unmute` is true.
	RemoteMute bool `koanf:"remoteMute"`
}

// Redis configures the store that the pods of a deployment share.
type Redis struct {
	// Addresses, `host:port`: of a single Redis, of some nodes of a Cluster, or of the Sentinels. Required.
	Addrs []string `koanf:"addrs" pattern:":[0-9]+$"`
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
	DB int `koanf:"db" rule:"min=0"`
	// Redis is a Cluster. Several addresses without `redis.masterName` imply it.
	Cluster bool     `koanf:"cluster"`
	TLS     RedisTLS `koanf:"tls"`
	// How long a pod that no longer renews its lease is considered alive. At least 2s.
	Lease time.Duration `koanf:"lease" rule:"min=2s"`
	// Lifetime of all records. Records in use are renewed; the rest expire. At least ten times `redis.lease`.
	RecordTTL time.Duration `koanf:"recordTTL"`
	// Deadline of one call, and so the time until a request is rejected while Redis hangs. At most a quarter
	// of `redis.lease`, so that a lease can be renewed in time.
	CallTimeout time.Duration `koanf:"callTimeout" rule:"min=100ms"`
}

// RedisTLS configures TLS for Redis and its Sentinels.
type RedisTLS struct {
	// Connect to Redis with TLS.
	Enabled bool `koanf:"enabled"`
	// PEM file with the authorities that may sign the server's certificate. Empty: the system's.
	CA string `koanf:"ca"`
	// PEM file with the client certificate, if Redis requires one.
	Cert string `koanf:"cert"`
	// PEM file with the private key of the client certificate.
	Key string `koanf:"key"`
	// Name that the server's certificate must contain. Empty: the host of the address.
	ServerName string `koanf:"serverName"`
	// Accept any certificate. For tests only.
	InsecureSkipVerify bool `koanf:"insecureSkipVerify"`
}

// Session bounds the resources of one client.
type Session struct {
	// Time between pings to a client. Clients expect one every 5s unless their app sets another interval.
	PingInterval time.Duration `koanf:"pingInterval" rule:"min=100ms"`
	// Consecutive unanswered pings after which the socket is closed.
	PingProbes int `koanf:"pingProbes" rule:"min=1"`
	// Time that a client has for its `connection` command.
	HelloTimeout time.Duration `koanf:"helloTimeout" rule:"min=100ms"`
	// Largest message accepted from a client, in bytes. At least 65536.
	MaxMessageBytes int64 `koanf:"maxMessageBytes" rule:"min=65536"`
	// Bytes that may be queued for a slow client, for what it caused itself, before its socket is closed. At
	// least 65536. What other clients cause may use half of them: messages are dropped beyond that, states
	// (members of rooms, mutes) are sent later.
	MaxQueueBytes int `koanf:"maxQueueBytes" rule:"min=65536"`
	// Messages that may be queued for a slow client, as `session.maxQueueBytes`.
	MaxQueueMessages int `koanf:"maxQueueMessages" rule:"min=1"`
	// Deadline of writing one message. While messages that other clients caused can block it, only unanswered
	// pings close the socket.
	WriteTimeout time.Duration `koanf:"writeTimeout" rule:"min=100ms"`
	// Streams that one session may publish and play at the same time.
	MaxStreams int `koanf:"maxStreams" rule:"min=1"`
	// How long a session with `keepAlive` outlives its socket. Within that time its client can resume the
	// session and its streams on any pod. 0: not at all.
	KeepAliveGrace time.Duration `koanf:"keepAliveGrace" rule:"min=0s"`
}

// Limits bound the resources of all clients together and of one hostile client. They are reloaded without a
// restart; limits of a socket apply to new sockets.
type Limits struct {
	// Sockets of this pod. Further ones get 503. 0: the process's limit of open files, less 256.
	Connections int `koanf:"connections" rule:"min=0"`
	// Sockets of one client address (IPv6: of one /64 network) on this pod. Further ones get 429. 0: no
	// limit.
	//
	// The same number bounds the TCP connections of that address that have not finished their handshake, and
	// its sessions with `keepAlive` that have no socket. Leave it at 0 behind a proxy that is not in
	// `listen.trustedProxies`: all its clients would have one address.
	ConnectionsPerAddress int `koanf:"connectionsPerAddress" rule:"min=0"`
	// Sockets that have not sent their `connection` command, and as many TCP connections that have not
	// finished their handshake. For a further one, the oldest of the address that has most is closed.
	Pending int `koanf:"pending" rule:"min=1"`
	// Sessions with `keepAlive` of this pod that have no socket. For a further one, the oldest of the address
	// that has most ends; one with streams or rooms only if there is none without.
	Detached int `koanf:"detached" rule:"min=0"`
	// Messages, including control frames, that a client may send per second on average. A client that sends
	// more is closed. 0: no limit.
	MessagesPerSecond int `koanf:"messagesPerSecond" rule:"min=0"`
	// Messages that a client may send at once: SDKs with log push send their whole log, one message for each
	// line.
	//
	// All clients of a pod together share the reading of these bursts: 1,000 messages per second and
	// processor. A start of a stream counts as 10 of them.
	MessageBurst int `koanf:"messageBurst" rule:"min=1"`
	// Bytes that a client may send per second on average. A client that sends more is closed. 0: no limit.
	BytesPerSecond int64 `koanf:"bytesPerSecond" rule:"min=0"`
	// Bytes that a client may send at once. At least `session.maxMessageBytes`.
	//
	// All clients of a pod together share the reading of these bursts: 2 MiB per second and processor.
	ByteBurst int64 `koanf:"byteBurst"`
	// Streams (`publishStream`, `playStream`) that a session may start per second on average. A start that fails
	// or is stopped before its media is up counts twice. Further ones fail with `Too many requests at a time`.
	// 0: no limit.
	StartsPerSecond int `koanf:"startsPerSecond" rule:"min=0"`
	// Streams that a session may start at once.
	StartBurst int `koanf:"startBurst" rule:"min=1"`
	// Rooms that a session may join per second on average. 0: no limit. Leaving is not limited.
	JoinsPerSecond int `koanf:"joinsPerSecond" rule:"min=0"`
	// Rooms that a session may join at once.
	JoinBurst int `koanf:"joinBurst" rule:"min=1"`
	// How many times as many starts, joins, mutes, `availableStream` and `snapshot` as one session all sessions
	// of one client address (IPv6: of one /64 network) may make on this pod. 0: no limit.
	//
	// The default lets hundreds of users behind one address start at once. Set 0 behind a proxy that is not in
	// `listen.trustedProxies`: all its clients would have one address.
	AddressFactor int `koanf:"addressFactor" rule:"min=0"`
	// Calls to LiveKit that start a stream, under way at a time on this pod. Client addresses take turns, and
	// one has at most a quarter. 0: no limit.
	StartsUnderWay int `koanf:"startsUnderWay" rule:"min=0"`
	// Nesting of arrays and objects in a message.
	JSONDepth int `koanf:"jsonDepth" rule:"min=16"`
	// Longest stream name, in bytes. The name of its LiveKit room has at most 256 bytes, which is LiveKit's
	// limit.
	NameBytes int `koanf:"nameBytes" rule:"min=1"`
	// Longest `mediaSessionId` (of a stream: at most 128), `operationId` and `callId`, in bytes.
	IDBytes int `koanf:"idBytes" rule:"min=36"`
	// Longest `login` and `sipLogin`, in bytes of JSON.
	LoginBytes int `koanf:"loginBytes" rule:"min=1"`
	// Largest `custom`, in bytes of JSON.
	CustomBytes int `koanf:"customBytes" rule:"min=1"`
	// Largest `payload` of `sendData` and of the stream event `data`, in bytes of JSON.
	PayloadBytes int `koanf:"payloadBytes" rule:"min=1"`
	// Log lines per second that a client may push (`pushLogs`, `submitBugReport`, `sessionDebug`) on average,
	// and 200 at once. 0: none.
	//
	// They are logged at level `debug`. Further lines are dropped and counted.
	ClientLogsPerSecond int `koanf:"clientLogsPerSecond" rule:"min=0"`
}

// Media holds the deadlines of streams.
type Media struct {
	// Time from the answer until the media is connected. Then the stream fails with `Failed by ICE timeout`.
	ICETimeout time.Duration `koanf:"iceTimeout" rule:"min=100ms"`
	// Time from the answer until a publisher's first track. Then the stream fails with `Failed by RTP
	// activity`.
	MediaTimeout time.Duration `koanf:"mediaTimeout" rule:"min=100ms"`
	// Time to wait for a publisher's second track before the stream is PUBLISHING without it.
	SecondTrackWait time.Duration `koanf:"secondTrackWait" rule:"min=100ms"`
	// Time that a play waits for a stream that is not PUBLISHING yet.
	PlayWait time.Duration `koanf:"playWait" rule:"min=100ms"`
	// How long a connected publisher may send no media at all before it fails with `Failed by RTP activity`.
	// Needs a rate source; a muted track still sends. 0: no limit.
	SilenceTimeout time.Duration `koanf:"silenceTimeout" rule:"min=100ms,or=0"`
}

// Rates selects the source of the video rates that clients are sent each second.
type Rates struct {
	// Source of the video rates: `auto`, `client`, `probe` or `off`.
	//
	// `client`: the statistics of clients that can send them (SDK 2.0.266 and later); other clients receive
	// no rates. `probe`: always a probe, which is a hidden participant that receives the published stream
	// once. `auto`: the client's statistics where it can send them, else a probe. `off`: no rates.
	Source apps.RateSource `koanf:"source" rule:"one=auto|client|probe|off"`
	// Probes that one pod may run at the same time. Further streams have neither rates (unless their clients
	// send statistics) nor data of native participants.
	MaxProbes int `koanf:"maxProbes" rule:"min=0"`
}

// Snapshot bounds the command snapshot, which returns a PNG of the live picture of a stream. A hidden
// participant joins the stream's room for each.
type Snapshot struct {
	// Time to take a picture. Then the command fails with `No picture of the stream in time`.
	Timeout time.Duration `koanf:"timeout" rule:"min=100ms"`
	// Path of ffmpeg, which decodes H264, VP9 and AV1 streams. Empty: only VP8 streams have snapshots.
	FFmpeg string `koanf:"ffmpeg" pattern:"^(/.*)?$"`
	// Largest picture, width × height.
	MaxPixels int `koanf:"maxPixels" rule:"min=1"`
	// Largest PNG, in bytes. At most 16777216.
	//
	// Clients receive it twice as base64. These messages do not count for `session.maxQueueBytes`.
	MaxBytes int `koanf:"maxBytes" rule:"min=1,max=16777216"`
	// Pictures that one pod takes at the same time, a quarter of them for clients of one address. Further
	// requests wait, for `snapshot.timeout` at most.
	MaxAtOnce int `koanf:"maxAtOnce" rule:"min=1"`
	// Snapshots that one session may request per minute on average, and 10 at once. All sessions of one address:
	// `limits.addressFactor` times as many.
	PerMinute int `koanf:"perMinute" rule:"min=1"`
}

// Drain configures the shutdown after SIGTERM. A second signal ends the process at once.
type Drain struct {
	// How long a pod keeps serving, not ready, while load balancers remove it.
	Notice time.Duration `koanf:"notice" rule:"min=0s"`
	// How long it then waits for sessions with streams to end. Sessions without streams are closed.
	Window time.Duration `koanf:"window" rule:"min=0s"`
	// Time over which sockets are closed, so that not all clients reconnect at the same moment.
	Pace time.Duration `koanf:"pace" rule:"min=0s"`
	// How long sessions with `keepAlive` are held after the last socket is closed, so that other pods can
	// take them over.
	Handover time.Duration `koanf:"handover" rule:"min=0s"`
}

// Application holds the settings of one app key.
type Application struct {
	// LiveKit room of a stream. `{name}` stands for the stream's name and must appear once; `{app}` stands
	// for the app key.
	Room string `koanf:"room" pattern:"^(.*[{]name[}].*)?$"`
	// Whether native LiveKit participants share the rooms: `off`, `play` (WCS clients play native
	// publishers), `publish` (native participants play WCS publishers) or `both`.
	Native apps.Native `koanf:"native" rule:"one=|off|play|publish|both"`
	// Codecs that publishers may use: opus, red, PCMU, PCMA, VP8, H264, VP9, AV1, H265. A short list makes
	// publishing faster. Empty list: all that LiveKit accepts.
	Codecs []string `koanf:"codecs"`
	// Pages that may use the application, in the form of `listen.origins`, which is checked first. Other
	// pages are rejected with `Origin not allowed`. Empty: all pages.
	Origins []string `koanf:"origins"`
	// Sessions of the application on this pod. Further ones are rejected with `Too many sessions of this
	// application`. 0: no limit.
	MaxSessions int `koanf:"maxSessions" rule:"min=0"`
	// Other app keys whose streams its clients may play; streams of the rest are rejected with `Restricted
	// access`. Empty list: the streams of all applications, as in WCS.
	PlayFrom []string `koanf:"playFrom"`
	Hooks    Hooks    `koanf:"hooks"`
	// The SDK's room API (`roomApi`): `on` or `off`. Each application has its own rooms. Empty: `on` for the
	// app key `roomApp`, else `off`.
	Rooms string `koanf:"rooms" rule:"one=|on|off"`
	// Whether LiveKit's egress service records streams that clients publish with `record: true`: `allowed` or
	// `forbidden`. A forbidden recording does not stop the stream.
	Record string `koanf:"record" rule:"one=|forbidden|allowed"`
	// RTMP servers that clients may have their streams sent to (`rtmpUrl`): `live.example.com`,
	// `*.example.com` or `*`, with or without `:port`. Streams with another `rtmpUrl` are rejected. Empty:
	// none.
	RTMPHosts []string `koanf:"rtmpHosts"`
	// A client's `rtmpUrl` is complete. Otherwise `/rtmp_` and the stream's name are appended, as in WCS.
	RTMPFullURL bool `koanf:"rtmpFullUrl"`
	// Text of `FAILED` for a play of a stream that does not exist: `Session does not exist`, which apps
	// compare, or `Stream not found`.
	MissingStream string `koanf:"missingStream" rule:"one=|Session does not exist|Stream not found"`
	// Source of the video rates for clients of this application. Empty: `rates.source`.
	Rates apps.RateSource `koanf:"rates" rule:"one=|auto|client|probe|off"`
	// Forward data messages of native LiveKit participants in the room of a stream to the stream's players,
	// as stream event `data`.
	//
	// Text of at most `limits.payloadBytes` is forwarded, 20 messages per second. For each published stream a
	// hidden participant joins its room (the probe, if the stream has one); `rates.maxProbes` bounds both.
	NativeData bool    `koanf:"nativeData"`
	Pull       AppPull `koanf:"pull"`
	Route      Route   `koanf:"route"`
	Hybrid     Hybrid  `koanf:"hybrid"`
}

// Tracing configures traces of publishes and plays, sent to an OpenTelemetry collector.
type Tracing struct {
	// Address of an OTLP receiver for HTTP, such as `http://otel-collector:4318`. Empty: no traces.
	//
	// Without a path it is `/v1/traces`. A trace covers a `publishStream` or `playStream` of a client: the
	// hook, the calls to Redis and LiveKit, until `PUBLISHING` or `PLAYING`.
	Endpoint string `koanf:"endpoint" pattern:"^([hH][tT][tT][pP][sS]?://.+)?$"`
	// Share of publishes and plays that are traced, 0 to 1.
	SampleRatio float64 `koanf:"sampleRatio" rule:"min=0,max=1"`
}

// Log configures the log on standard error.
type Log struct {
	// `debug`, `info`, `warn` or `error`.
	Level string `koanf:"level" rule:"one=debug|info|warn|error"`
	// `json`, or `console` for reading in a terminal.
	Format string `koanf:"format" rule:"one=json|console"`
}

// Default returns the configuration without any settings. It lacks the settings without a sensible default
// (livekit.url, livekit.apiKey, livekit.apiSecret, redis.addrs) and those that Complete derives.
func Default() Config {
	return Config{
		Deployment: "default",
		Listen: Listen{
			Public: ":8080", Secure: ":8443", Internal: ":9090",
			LBPath: "/lb", LB: LoadBalancer{WS: 8080, WSS: 8443}, Embed: Embed{AppKey: "defaultApp"},
		},
		LiveKit: LiveKit{
			RoomEmptyTimeout: 10 * time.Second, RoomDepartureTimeout: 2 * time.Second,
			CallTimeout: 5 * time.Second, MaxConns: 512, Play: livekit.PlayAuto,
		},
		Redis: Redis{Lease: 8 * time.Second, RecordTTL: 24 * time.Hour, CallTimeout: 800 * time.Millisecond},
		Session: Session{
			PingInterval: 5 * time.Second, PingProbes: 10, HelloTimeout: 10 * time.Second,
			MaxMessageBytes: 1 << 20, MaxQueueBytes: 1 << 20, MaxQueueMessages: 1000,
			WriteTimeout: 5 * time.Second, MaxStreams: 64, KeepAliveGrace: 30 * time.Second,
		},
		Limits: Limits{
			Pending:           5000,
			Detached:          5000,
			MessagesPerSecond: 200, MessageBurst: 10000, BytesPerSecond: 256 << 10, ByteBurst: 8 << 20,
			StartsPerSecond: 5, StartBurst: 64, JoinsPerSecond: 2, JoinBurst: 32, AddressFactor: 32, StartsUnderWay: 64,
			JSONDepth: 100, NameBytes: 255, IDBytes: 128, LoginBytes: 128, CustomBytes: 64 << 10, PayloadBytes: 256 << 10,
			ClientLogsPerSecond: 20,
		},
		Media: Media{
			ICETimeout: 20 * time.Second, MediaTimeout: 20 * time.Second,
			SecondTrackWait: 2 * time.Second, PlayWait: 2 * time.Second, SilenceTimeout: time.Minute,
		},
		Recording: Recording{Template: string(translate.DefaultFileTemplate), StartTimeout: 4 * time.Second},
		Pull:      Pull{Linger: 30 * time.Second, Retry: 5 * time.Minute, MaxPerSession: 16, MaxPerApplication: 100, Max: 1000},
		Drain:     Drain{Notice: 5 * time.Second, Window: time.Minute, Pace: 10 * time.Second, Handover: 8 * time.Second},
		REST:      REST{Listen: ":8081", Auth: AuthBasic},
		Rates:     Rates{Source: apps.RatesAuto, MaxProbes: 100},
		Snapshot:  Snapshot{Timeout: 3 * time.Second, MaxPixels: 1920 * 1080, MaxBytes: 4 << 20, MaxAtOnce: 4, PerMinute: 60},
		RoomAPI:   Rooms{MaxMembers: 100, PerSession: 16}, Tracing: Tracing{SampleRatio: 1},
		Log: Log{Level: "info", Format: "json"},
	}
}

// DefaultApplication returns the settings of an application that sets nothing: the rooms of the gateway only,
// so that WCS streams do not meet native participants by accident.
func DefaultApplication() Application {
	return Application{
		Room: "wcs.{name}", Native: apps.NativeOff, Codecs: translate.DefaultCodecs().Names(), Hooks: defaultHooks(), Record: RecordForbidden,
		MissingStream: wcs.InfoSessionDoesNotExist, Route: Route{Default: RouteHere}, Pull: AppPull{RTSPTransport: TransportTCP},
		Hybrid: Hybrid{Default: RouteHere, SendData: RouteHere},
	}
}

// Complete derives the settings that depend on others: the built-in applications if none are configured, and
// the omitted settings of an application. Load calls it; code that builds a Config must call it.
func (c *Config) Complete() {
	if len(c.Applications) == 0 {
		c.builtInApps = true
		c.Applications = map[string]Application{"defaultApp": {}, "roomApp": {}} // the app keys of the SDK
	}
	defaults := DefaultApplication()
	for key, app := range c.Applications {
		if app.Room == "" {
			app.Room = defaults.Room
		}
		if app.Native == "" {
			app.Native = defaults.Native
		}
		if app.Codecs == nil { // an empty list disables trimming
			app.Codecs = defaults.Codecs
		}
		app.Record = cmp.Or(app.Record, defaults.Record)
		app.MissingStream = cmp.Or(app.MissingStream, defaults.MissingStream)
		app.Pull.RTSPTransport = cmp.Or(app.Pull.RTSPTransport, defaults.Pull.RTSPTransport)
		app.Route.Default = cmp.Or(app.Route.Default, defaults.Route.Default)
		app.Hybrid.Default = cmp.Or(app.Hybrid.Default, defaults.Hybrid.Default)
		app.Hybrid.SendData = cmp.Or(app.Hybrid.SendData, defaults.Hybrid.SendData)
		if reflect.ValueOf(app.Hooks).IsZero() {
			app.Hooks = defaults.Hooks
		}
		c.Applications[key] = app
	}
}

// RateSource returns the source of the video rates for an application.
func (c Config) RateSource(app Application) apps.RateSource {
	return cmp.Or(app.Rates, c.Rates.Source)
}

// ServerVersion returns the version that is sent to clients, given the version of this build.
func (c Config) ServerVersion(build string) string {
	if c.Version != "" {
		return c.Version
	}
	return "5.2.0-" + build
}

// Node returns the server id in hook calls. Its default is the beginning of the SHA-256 of the deployment's
// name, so that all pods have the same.
func (c Config) Node() string {
	if c.NodeID != "" {
		return c.NodeID
	}
	sum := sha256.Sum256([]byte(c.Deployment))
	return hex.EncodeToString(sum[:16])
}

// Rooms returns the room templates of all applications by app key.
func (c Config) Rooms() map[string]translate.RoomTemplate {
	rooms := make(map[string]translate.RoomTemplate, len(c.Applications))
	for key, app := range c.Applications {
		rooms[key] = translate.RoomTemplate(app.Room)
	}
	return rooms
}

// Warnings returns one sentence for each setting that is valid but unlikely to be intended in production.
func (c Config) Warnings() []string {
	var w []string
	if c.builtInApps {
		w = append(w, "no applications are configured: only defaultApp and roomApp are accepted")
	}
	if len(c.Listen.TrustedProxies) == 0 && c.Limits.ConnectionsPerAddress > 0 {
		w = append(w, "limits.connectionsPerAddress is set without listen.trustedProxies: all clients behind a proxy count as one")
	}
	if c.Redis.TLS.InsecureSkipVerify {
		w = append(w, "redis.tls.insecureSkipVerify is set: any server is accepted as Redis")
	}
	return append(w, c.REST.warnings()...)
}
