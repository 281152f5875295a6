package gateway

import (
	"time"

	"wcsgateway/translate"
)

// Config is what the gateway is told. cmd/internal/config validates it and documents every value.
type Config struct {
	Deployment string
	Pod        string // the tag of this process in identities and events (translate.NewPodTag)
	Version    string // what getVersion says
	Apps       map[string]App
	Conn       ConnConfig
	Media      MediaConfig
	Rates      RatesConfig
	Drain      DrainConfig
	MaxStreams int // published and played at a time by one session
	LoadBalancer
}

// App is what an application key may do and how.
type App struct {
	Key    string
	Room   translate.RoomTemplate
	Native Native
	Codecs translate.CodecSet // of what it publishes
	Rates  RateSource
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

// MediaConfig are the deadlines of streams (design.md §9).
type MediaConfig struct {
	ICETimeout      time.Duration // answer → ICE and DTLS up
	MediaTimeout    time.Duration // answer → the first track of a publisher
	SecondTrackWait time.Duration // first track → PUBLISHING without the other
	PlayWait        time.Duration // how long a play waits for a stream that is not publishing yet
	SFUTimeout      time.Duration // one call to LiveKit that starts a stream
	StoreTimeout    time.Duration // one call to Redis
	SilenceTimeout  time.Duration // of a publisher that is up and sends nothing; 0: for ever
}

// LoadBalancer is the answer to the SDK's lbUrl (integration.md §3.1). Path "" turns it off.
type LoadBalancer struct {
	LBPath   string
	LBServer string
	LBWS     string // port
	LBWSS    string // port
}
