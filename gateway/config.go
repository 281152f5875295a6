package gateway

import (
	"time"

	"wcsgateway/gateway/origins"
	"wcsgateway/translate"
)

// Config is what the gateway is told. cmd/internal/config validates it and documents every value.
type Config struct {
	Deployment string
	Pod        string // the tag of this process in identities and events (translate.NewPodTag)
	Version    string // what getVersion says
	Live              // at the start
	Conn       ConnConfig
	Media      MediaConfig
	Drain      DrainConfig
	MaxStreams int // published and played at a time by one session
	// KeepAliveGrace is how long a session that asked for keepAlive outlives its socket; 0 for not at all.
	KeepAliveGrace time.Duration
	// Proxies are believed about where clients come from.
	Proxies Proxies
	// ProxyProtocol says that the listener asks those proxies for a PROXY header: until it is read, a TCP connection's address
	// is not its client's.
	ProxyProtocol bool
	LoadBalancer
}

// App is what an application key may do and how.
type App struct {
	Key    string
	Room   translate.RoomTemplate
	Native Native
	Codecs translate.CodecSet // of what it publishes
	// Origins are the pages that may use it, of those that may connect at all.
	Origins origins.List
	// MaxSessions bounds its sessions on this pod; 0 does not.
	MaxSessions int
}

// Native is whether legacy clients and native LiveKit participants meet in a room (design.md §2).
type Native string

// Modes of native interop.
const (
	NativeOff     Native = "off"
	NativePlay    Native = "play"    // legacy clients may play what a native participant publishes
	NativePublish Native = "publish" // what legacy clients publish is meant for native participants, too
	NativeBoth    Native = "both"
)

func (n Native) plays() bool { return n == NativePlay || n == NativeBoth }

// MediaConfig are the deadlines of a stream's start (design.md §9).
type MediaConfig struct {
	ICETimeout      time.Duration // answer → ICE and DTLS up
	MediaTimeout    time.Duration // answer → the first track of a publisher
	SecondTrackWait time.Duration // first track → PUBLISHING without the other
	PlayWait        time.Duration // how long a play waits for a stream that is not publishing yet
	SFUTimeout      time.Duration // one call to LiveKit that starts a stream
	StoreTimeout    time.Duration // one call to Redis
}

// LoadBalancer is the answer to the SDK's lbUrl (integration.md §3.1). Path "" turns it off.
type LoadBalancer struct {
	LBPath   string
	LBServer string
	LBWS     string // port
	LBWSS    string // port
}
