package hybrid

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/upstream"
	"wcsgateway/translate/wcs"
)

// App says how the sessions of an application use an upstream. The zero value is for applications that do
// not.
type App struct {
	Upstream  *upstream.Server // nil: none
	Publishes upstream.Route   // the side of what a client publishes; it leads to Upstream or here
	SendData  bool             // sendData goes to the upstream
	Fallback  bool             // commands that this gateway does not have go to the upstream, with calls
}

// Metrics are the figures of clients with an upstream. All label sets are closed.
type Metrics struct {
	Links   *prometheus.GaugeVec   // app, upstream
	Streams *prometheus.GaugeVec   // app, upstream, kind
	Dropped *prometheus.CounterVec // app; messages of the upstream
}

// Deps are what Clients uses.
type Deps struct {
	Context         context.Context // of the links
	Links           *upstream.Links
	Tokens          Tokens
	Names           Names
	StoreTimeout    time.Duration // of a call of Names
	MaxStreams      int           // of one client and side
	MaxMessageBytes int           // of the upstream
	MaxQueueBytes   int           // that wait for the upstream
	MaxQueued       int           // messages that wait for the upstream
	Stall           time.Duration // after which an upstream that takes nothing, or does not ping any more, has failed
	Metrics         *Metrics
	Recovered       func() // recovers a panic; is deferred
	Log             zerolog.Logger
}

const (
	absentFor = time.Second // that a name is remembered which the upstream does not have
	maxAbsent = 10_000      // names that are remembered
)

// Clients is what the clients of a pod share. Its methods may be called from any goroutine.
type Clients struct {
	Deps
	reopen time.Duration                // before a SIP client's lost link is opened again; less than twice as long
	absent *lru.Cache[place, time.Time] // when that was found

	published *published
}

// New returns a Clients without clients.
func New(d Deps) *Clients {
	absent, err := lru.New[place, time.Time](maxAbsent)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Clients{Deps: d, reopen: reopenAfter, absent: absent, published: newPublished()}
}

// Session is what a Client uses of its session. All but Post, HasRoom and Knows are called on the session's
// loop.
type Session interface {
	// Post runs f on the session's loop.
	Post(f func())
	// Send sends a message to the client.
	Send(frame []byte)
	// HasRoom reports whether the client can take messages. If not, Client.Drained is called when it can.
	HasRoom() bool
	// Knows reports whether this gateway has a stream of that name, or cannot find out. It can take long.
	Knows(name string) bool
	// HasStream reports whether the session has a stream with that media id here.
	HasStream(mediaID string) bool
	// Serve executes a command here.
	Serve(c wcs.Command)
	// Charge reports whether the client may request something now.
	Charge(k quota.Kind) bool
	// CountStreams counts the streams and calls that the client has upstream.
	CountStreams(delta int)
}

// Origin is where a client came from.
type Origin struct {
	Handshake upstream.Handshake
	Party     netip.Addr // realip.LimitKey of its address
}

// Open returns the client of a session. It is nil if the application has no upstream, or from is nil. The
// link is opened when it is needed.
func (all *Clients) Open(key string, app App, c *wcs.Connection, from *Origin, s Session) *Client {
	if app.Upstream == nil || from == nil {
		return nil
	}
	client := upstream.Client{App: key, Connection: *c, Address: from.Handshake.Client, Party: from.Party}
	hello := maps.Clone(c.Sent)
	maps.DeleteFunc(hello, func(member string, _ json.RawMessage) bool {
		// The token is ours. A kept session would outlive the link with its streams. SIP accounts are for calls.
		return member == "authToken" || member == "keepAlive" || !app.Fallback && strings.HasPrefix(member, "sip")
	})
	return &Client{
		all: all, app: app, key: key, session: s, handshake: from.Handshake, hello: hello, version: client.Version(),
		publishes: app.Publishes.For(client) != nil, sip: app.Fallback && client.SIP(), calls: make(map[string]bool),
		held: make(map[string][]held), streams: make(map[string]stream), questions: make(map[question][]string), data: make(map[string]int),
	}
}

// missing reports whether the upstream has recently not had a name.
func (c *Client) missing(name string) bool {
	since, ok := c.all.absent.Get(c.at(name))
	return ok && time.Since(since) < absentFor
}

// remember remembers that the upstream does not have a name.
func (c *Client) remember(name string) {
	c.all.absent.Add(c.at(name), time.Now())
}

// forget forgets that the upstream did not have a name.
func (c *Client) forget(name string) { c.all.absent.Remove(c.at(name)) }

// publishedThere reports whether a client of this pod publishes a name upstream.
func (c *Client) publishedThere(name string) bool {
	return c.all.published.has(c.at(name))
}
