package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/rtmp"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
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

// mayPlay reports whether the application's clients are allowed to play a stream of the application owner.
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
	SilenceTimeout  time.Duration // of a publisher that is up and sends nothing; 0: no limit
	RemoteMute      bool          // what a publisher says it has muted is muted in LiveKit, too
}

// Reloadable is the part of the configuration that can change while the gateway runs.
type Reloadable struct {
	Apps    map[string]App
	Origins origins.List // of pages that can connect, whatever the application
	Limits  Limits
}

// Settings is a Reloadable in use. It is never changed.
type Settings struct {
	Apps    map[string]*App // by app key
	Origins origins.List
	Limits  Limits
}

// Reload replaces applications, origins and limits. Existing sessions keep the application that they began
// with.
func (t *Table) Reload(r Reloadable) {
	s := &Settings{Apps: make(map[string]*App, len(r.Apps)), Origins: r.Origins, Limits: r.Limits}
	for key, app := range r.Apps {
		s.Apps[key] = &app
	}
	t.settings.Store(s)
}

// Settings returns the present settings.
func (t *Table) Settings() *Settings { return t.settings.Load() }

// Limits bound what clients can cost. 0 is no limit where a limit is optional (docs/configuration.md). They
// can change while the gateway runs: the rates of a socket are taken when it opens, all other limits apply at
// once.
type Limits struct {
	socket.Limits

	Detached int // sessions with keepAlive without a socket

	JSONDepth    int // nesting of a message
	NameBytes    int // of a stream
	IDBytes      int // of mediaSessionId (of a stream at most 128), operationId, callId
	LoginBytes   int
	CustomBytes  int
	PayloadBytes int

	ClientLogsPerSecond int // lines that a client pushes for the log; 0: none
}

// Faults of a command that a limit refuses.
var (
	errTooDeep    = errors.New("message is nested too deeply")
	errBadID      = errors.New("id is too long or has control characters")
	errLoginSize  = errors.New("login is too long")
	errCustomSize = errors.New("custom is too big")
	errDataSize   = errors.New("payload is too big")
)

// checkID checks an id of the client's that is only handed back to it.
func (l *Limits) checkID(id string) error {
	if over(len(id), l.IDBytes) || hasControls(id) {
		return errBadID
	}
	return nil
}

func (l *Limits) checkConnection(c wcs.Connection) error {
	switch {
	case over(c.LoginBytes(), l.LoginBytes):
		return errLoginSize
	case over(len(c.Sent["custom"]), l.CustomBytes):
		return errCustomSize
	}
	return nil
}

func (l *Limits) checkCustom(custom wcs.Size) error {
	if over(int(custom), l.CustomBytes) {
		return errCustomSize
	}
	return nil
}

func (l *Limits) checkPayload(payload json.RawMessage) error {
	switch {
	case over(len(payload), l.PayloadBytes):
		return errDataSize
	case !utf8.Valid(payload): // it goes to others' sockets, which would break
		return fmt.Errorf("%w: payload is not UTF-8", wcs.ErrMalformed)
	}
	return nil
}

// checkName: a name goes into logs, Redis keys, LiveKit's rooms and, in other systems, file names. WCS names
// may be URLs, so slashes are fine; what is refused can only mislead: control and bidirectional override
// characters, and `..` segments.
func (l *Limits) checkName(name string) error {
	if name == "" || over(len(name), l.NameBytes) || !utf8.ValidString(name) || hasControls(name) {
		return ErrBadName
	}
	for segment := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == ".." {
			return ErrBadName
		}
	}
	return nil
}

// hasControls finds what changes how the text around it is shown: control characters, line and paragraph
// separators, bidirectional embeddings, overrides and isolates.
func hasControls(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	})
}

func over(n, limit int) bool { return limit > 0 && n > limit }

// CheckPayload validates the data message of a native participant like that of a client.
func (t *Table) CheckPayload(payload json.RawMessage) error {
	return t.Settings().Limits.checkPayload(payload)
}
