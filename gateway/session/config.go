package session

import (
	"slices"
	"time"

	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/rtmp"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate"
)

// Config is the part of the configuration that concerns sessions. cmd/internal/config validates it and
// documents every value.
type Config struct {
	Deployment string
	Pod        string // the tag of this process in identities and events (translate.NewPodTag)
	Version    string // the value of getVersion
	Reloadable        // at the start
	NodeID     string // the name of this server in hooks: 32 letters and digits
	Recent     bool   // keep the types and sizes of each session's last messages for operators
	Conn       socket.Config
	Media      MediaConfig
	Rates      RatesConfig
	Snapshot   SnapshotConfig
	Egress     egress.Config
	Rooms      RoomsConfig
	MaxStreams int // published and played at a time by one session
	// KeepAliveGrace is how long a session with keepAlive outlives its socket; 0: not at all.
	KeepAliveGrace time.Duration
	// Handover is how long detached sessions are held for other pods when the pod shuts down.
	Handover time.Duration
}

// App is what an application key may do and how.
type App struct {
	Key    string
	Room   translate.RoomTemplate
	Native Native
	Codecs translate.CodecSet // of what it publishes
	Rates  RateSource
	// NativeData: what native participants send to the room of a stream as data is for the stream's players.
	NativeData bool
	// Origins are the pages that may use it, of those that may connect at all.
	Origins origins.List
	// MaxSessions bounds its sessions on this pod; 0 does not.
	MaxSessions int
	PlayFrom    []string // keys of the applications whose streams it may play besides its own; none: all
	Hooks       Hooks
	// Rooms says that the application has the room API.
	Rooms       bool
	Record      bool       // its clients may have their streams recorded
	RTMPHosts   rtmp.Hosts // to which its clients may have their streams sent
	RTMPFullURL bool       // clients' RTMP addresses are complete: the stream's name is not added
}

// mayPlay tells whether the application's clients may play a stream of another's.
func (a *App) mayPlay(owner string) bool {
	return len(a.PlayFrom) == 0 || owner == a.Key || slices.Contains(a.PlayFrom, owner)
}

// Hooks are the calls to an application's backend. The zero value is that of an application without one.
type Hooks struct {
	Backend    *hooks.Backend
	FailClosed bool          // publishStream, playStream, snapshot and OnDataEvent fail with their call, whatever restOnError says
	KeepAlive  time.Duration // between two StreamKeepAliveEvents of a stream; 0: there are none
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
	RemoteMute      bool          // what a publisher says it has muted is muted in LiveKit, too
}
