package session

import (
	"time"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/gateway/socket"
)

// Config is the part of the configuration that concerns sessions. cmd/internal/config validates it and
// documents every value.
type Config struct {
	Deployment      string
	Pod             string // the tag of this process in identities and events (translate.NewPodTag)
	Version         string // the value of getVersion
	apps.Reloadable        // at the start
	NodeID          string // the name of this server in hooks: 32 letters and digits
	Recent          bool   // keep for operators: types and sizes of each session's last messages, the last failures and ends
	Conn            socket.Config
	Media           MediaConfig
	Snapshot        SnapshotConfig
	Egress          egress.Config
	Rooms           RoomsConfig
	Pulls           pulls.Config
	MaxStreams      int // published and played at a time by one session
	MaxProbes       int // at a time, for video rates
	// KeepAliveGrace is how long a session with keepAlive outlives its socket; 0: not at all.
	KeepAliveGrace time.Duration
	// Handover is how long detached sessions are held for other pods when the pod shuts down.
	Handover time.Duration
}

// MediaConfig holds the deadlines of streams.
type MediaConfig struct {
	ICETimeout      time.Duration // answer → ICE and DTLS up
	MediaTimeout    time.Duration // answer → the first track of a publisher
	SecondTrackWait time.Duration // first track → PUBLISHING without the other
	PlayWait        time.Duration // wait of a play for a stream that is not publishing yet
	SFUTimeout      time.Duration // one call to LiveKit that starts a stream
	StoreTimeout    time.Duration // one event to other pods, or the calls to Redis that write or adopt a stream
	SilenceTimeout  time.Duration // of a publisher that is up and sends nothing; 0: no limit
	RemoteMute      bool          // a publisher's mutes are applied in LiveKit as well
}

// RoomsConfig bounds the room API.
type RoomsConfig struct {
	MaxMembers int // of a room, on all pods
	PerSession int // rooms that a session can be in
}

// SnapshotConfig limits the cost of snapshots.
type SnapshotConfig struct {
	snapshot.Config
	PerMinute int // requests of one session, in the long run
}
