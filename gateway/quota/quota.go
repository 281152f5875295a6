// Package quota limits what clients can request over time: token buckets for one client and for all clients
// of one address, and Turns, by which addresses make their calls to LiveKit and Redis. It owns these buckets.
// Sessions and rooms call it.
package quota

import (
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Kind is a kind of requests with its own buckets.
type Kind int

// The kinds of requests. All but Data reach Redis, LiveKit or other pods, and are limited for each address as
// well.
const (
	Starts    Kind = iota // publishStream and playStream
	Joins                 // of rooms; leaves are free, because there are not more of them
	Mutes                 // changes of a publisher's mutes
	Lookups               // availableStream
	Snapshots             // snapshot
	Data                  // sendData, and data of a stream
	kinds
)

// SnapshotBurst is the number of snapshots that one client can request at once.
const SnapshotBurst = 10

// Rate is a token bucket. Without PerSecond there is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

func (r Rate) limiter() *rate.Limiter {
	if r.PerSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
}

// Limits are the buckets of new clients.
type Limits struct {
	Starts, Joins Rate
	// AddressFactor is how many times the requests of one client all clients of an address can make, of each
	// kind but Data. 0: no limit.
	AddressFactor int
	// StartsUnderWay bounds Turns. 0: no limit.
	StartsUnderWay int
}

// The buckets without a setting. They are above what apps need (docs/security.md).
var fixed = map[Kind]Rate{Mutes: {2, 20}, Data: {100, 500}, Lookups: {50, 200}}

// maxParties bounds the addresses that are known. The one that requested least recently is forgotten, and
// begins with full buckets.
const maxParties = 1 << 14

// Table holds the buckets of addresses. Its methods may be called from any goroutine.
type Table struct {
	snapshots Rate
	parties   *lru.Cache[party, *rate.Limiter]
}

type party struct {
	address netip.Addr
	kind    Kind
}

// New returns a Table without addresses. One client can request a number of snapshots per minute.
func New(snapshotsPerMinute int) *Table {
	parties, err := lru.New[party, *rate.Limiter](maxParties)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Table{
		snapshots: Rate{float64(snapshotsPerMinute) / 60, min(SnapshotBurst, snapshotsPerMinute)}, parties: parties,
	}
}

// Client is the buckets of one client. Its methods must not be called concurrently.
type Client struct {
	table   *Table
	address netip.Addr
	limits  *Limits
	own     [kinds]*rate.Limiter // nil before the first request
}

// Client returns full buckets for a client with the given realip.LimitKey. Clients without a valid one have
// no limit for their address. The limits must not change afterwards.
func (t *Table) Client(address netip.Addr, l *Limits) Client {
	return Client{table: t, address: address, limits: l}
}

// rateOf returns the bucket of one client.
func (c *Client) rateOf(k Kind) Rate {
	switch k {
	case Starts:
		return c.limits.Starts
	case Joins:
		return c.limits.Joins
	case Snapshots:
		return c.table.snapshots
	case Mutes, Lookups, Data, kinds:
	}
	return fixed[k]
}

func (c *Client) bucket(k Kind) *rate.Limiter {
	if c.own[k] == nil {
		c.own[k] = c.rateOf(k).limiter()
	}
	return c.own[k]
}

// shared returns the bucket of the client's address, nil if there is none.
func (c *Client) shared(k Kind) *rate.Limiter {
	r := c.rateOf(k)
	if k == Data || !c.address.IsValid() || c.limits.AddressFactor == 0 || r.PerSecond == 0 {
		return nil
	}
	key := party{c.address, k}
	b, known := c.table.parties.Get(key)
	if !known {
		b = Rate{r.PerSecond * float64(c.limits.AddressFactor), r.Burst * c.limits.AddressFactor}.limiter()
		if other, was, _ := c.table.parties.PeekOrAdd(key, b); was {
			b = other
		}
	}
	return b
}

// Allow takes a token of the client and of its address, and reports whether both had one.
func (c *Client) Allow(k Kind) bool {
	if !c.bucket(k).Allow() {
		return false
	}
	b := c.shared(k)
	return b == nil || b.Allow()
}

// Exhausted reports whether Allow would refuse. It takes no token.
func (c *Client) Exhausted(k Kind) bool {
	b := c.shared(k)
	return empty(c.bucket(k)) || b != nil && empty(b)
}

func empty(b *rate.Limiter) bool { return b.Limit() != rate.Inf && b.Tokens() < 1 }

// Charge takes another token for a request that was allowed, whether or not there is one. A client is charged
// once for each allowed request, so that what is missing is bounded by its burst.
func (c *Client) Charge(k Kind) {
	c.bucket(k).Reserve()
	if b := c.shared(k); b != nil {
		b.Reserve()
	}
}

// Delay takes a token of the client and of its address, and returns the time until the client can use both.
// The caller has at most one request that waits.
func (c *Client) Delay(k Kind) time.Duration {
	delay := c.bucket(k).Reserve().Delay()
	if b := c.shared(k); b != nil {
		delay = max(delay, b.Reserve().Delay())
	}
	return delay
}
