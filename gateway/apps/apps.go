// Package apps holds the applications of the deployment and the limits on their clients: the part of the
// configuration that can change while the gateway runs. It is pure data with its rules; every package of the
// gateway can use it.
package apps

import (
	"slices"
	"time"

	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/hybrid"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/rtmp"
	"wcsgateway/gateway/upstream"
	"wcsgateway/translate"
)

// App holds the rights and settings of an application key (docs/configuration.md).
type App struct {
	Key         string
	Room        translate.RoomTemplate
	Native      Native
	Codecs      translate.CodecSet // of the streams that its clients publish
	Rates       RateSource
	NativeData  bool         // data messages of native participants in a stream's room go to the stream's players
	Origins     origins.List // of the pages that can use it, among those that can connect
	MaxSessions int          // on this pod; 0: no limit
	PlayFrom    []string     // keys of other applications whose streams it is allowed to play; none: all
	Hooks       Hooks
	Rooms       bool       // it has the room API
	Record      bool       // its clients are allowed to have their streams recorded
	RTMPHosts   rtmp.Hosts // to which its clients are allowed to send their streams
	RTMPFullURL bool       // clients' RTMP addresses are complete: the stream's name is not appended
	// MissingStream is the info of FAILED for a play of a stream that does not exist: wcs.InfoSessionDoesNotExist
	// or wcs.InfoStreamNotFound. The zero value means the former.
	MissingStream string
	Route         upstream.Route // which server serves its clients
	Pull          pulls.App      // sources outside the deployment that its clients are allowed to play
	Hybrid        hybrid.App     // how the sessions that this gateway serves use another server
}

// MayPlay reports whether the application's clients are allowed to play a stream of the application owner.
func (a *App) MayPlay(owner string) bool {
	return len(a.PlayFrom) == 0 || owner == a.Key || slices.Contains(a.PlayFrom, owner)
}

// Hooks configures the calls to an application's backend. The zero value is that of an application without a
// backend.
type Hooks struct {
	Backend    *hooks.Backend
	FailClosed bool          // publishStream, playStream, snapshot and OnDataEvent fail with their call, in spite of restOnError
	KeepAlive  time.Duration // interval of a stream's StreamKeepAliveEvents; 0: none
}

// Native is the interop between WCS clients and native LiveKit participants in a room
// (docs/native-clients.md).
type Native string

// Modes of native interop.
const (
	NativeOff     Native = "off"
	NativePlay    Native = "play"    // WCS clients can play a native participant's stream
	NativePublish Native = "publish" // native participants can subscribe to the streams of WCS clients
	NativeBoth    Native = "both"
)

// Plays reports whether WCS clients can play the streams of native participants.
func (n Native) Plays() bool { return n == NativePlay || n == NativeBoth }

// RateSource is the source of the video rates that an application's clients get every second
// (docs/rates-and-snapshots.md#video-rates).
type RateSource string

// Sources of video rates. Any other value means RatesOff.
const (
	RatesAuto   RateSource = "auto"   // a client's own statistics if it sends them, else a probe
	RatesClient RateSource = "client" // a client's own statistics, or none
	RatesProbe  RateSource = "probe"  // a probe for every stream
	RatesOff    RateSource = "off"    // nothing is measured, no rates are sent
)

// UsesClients reports whether clients are asked for their statistics.
func (s RateSource) UsesClients() bool { return s == RatesAuto || s == RatesClient }

// UsesProbes reports whether probes measure streams.
func (s RateSource) UsesProbes() bool { return s == RatesAuto || s == RatesProbe }

// Reloadable is the part of the configuration that can change while the gateway runs.
type Reloadable struct {
	Apps    map[string]App
	Origins origins.List // of pages that can connect, whatever the application
	Limits  Limits
	// Upstreams are the other servers, by name. One that no application uses serves the sockets of the sessions
	// that it has.
	Upstreams map[string]*upstream.Server
	// MediaSockets serves the second sockets of clients with media providers that this gateway has not, of
	// sessions that are not known. nil: they are closed.
	MediaSockets *upstream.Server
}

// Settings is a Reloadable in use. It is never changed.
type Settings struct {
	Apps         map[string]*App // by the key that clients send, which for the application of a check is a secret
	Origins      origins.List
	Limits       Limits
	Upstreams    map[string]*upstream.Server
	MediaSockets *upstream.Server
	Routed       bool // sockets can be served by another server
	Hybrid       bool // sessions can have an upstream
}

// New returns the settings in use of a configuration.
func New(r Reloadable) *Settings {
	s := &Settings{Apps: make(map[string]*App, len(r.Apps)), Origins: r.Origins, Limits: r.Limits, Upstreams: r.Upstreams, MediaSockets: r.MediaSockets}
	s.Routed = r.MediaSockets != nil || len(r.Upstreams) > 0
	for key, app := range r.Apps {
		s.Apps[key] = &app
		s.Hybrid = s.Hybrid || app.Hybrid.Upstream != nil
		s.Routed = s.Routed || s.Hybrid || app.Route.Upstream()
	}
	return s
}
