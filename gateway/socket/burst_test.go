package socket

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// fountain is a client that always has input.
type fountain struct{ net.Conn }

func (fountain) Read(b []byte) (int, error) { return len(b), nil }

// Flooding clients share one budget, however many they are; other clients are not throttled.
func TestFloodingClientsShareBudget(t *testing.T) {
	const perSecond, burst, frame = 20, 5000, 32 << 10 // a flood waits for less than excessTime
	limits := Limits{MessagesPerSecond: perSecond, MessageBurst: burst, BytesPerSecond: perSecond * frame, ByteBurst: burst * frame}
	processors := float64(runtime.GOMAXPROCS(0))
	for name, kind := range map[string]struct {
		once  func(*MeteredConn) error
		bound float64 // of once, a second
		ahead float64 // of once, before the budget is used up
		fault error
	}{
		"messages": {(*MeteredConn).CountMessage, burstMessages * processors, burstMessages * processors / 100, errTooManyMessages},
		"bytes": {func(g *MeteredConn) error {
			_, err := g.Read(make([]byte, frame))
			return err
		}, burstBytes / frame * processors, burstReadSize / frame, errTooManyBytes},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := NewAdmission(nil)
				const clients = 4
				each := int(kind.bound) / 2
				var work sync.WaitGroup
				begun := time.Now()
				for range clients {
					work.Go(func() {
						g := newMeteredConn(netip.Addr{}, &limits, x)
						g.Conn = fountain{}
						for range each {
							if err := kind.once(g); err != nil {
								t.Error(err)
							}
						}
						if g.cancel != nil {
							t.Error("a client that waits no more keeps a context")
						}
					})
				}
				calm := newMeteredConn(netip.Addr{}, &limits, x)
				calm.Conn = fountain{}
				for range 20 {
					since := time.Now()
					if err := kind.once(calm); err != nil || time.Since(since) != 0 {
						t.Errorf("a calm client waits %v (error %v)", time.Since(since), err)
					}
					<-time.After(time.Second / perSecond) // of the bubble's clock
				}
				work.Wait()
				if took, least := time.Since(begun).Seconds(), 0.9*(clients*float64(each)-kind.ahead)/kind.bound; took < least || took > 1.5*least {
					t.Errorf("%d of %d clients took %.2f s, want %.2f s or somewhat more", each, clients, took, least)
				}

				g := newMeteredConn(netip.Addr{}, &limits, x)
				g.Conn = fountain{}
				var err error
				for n := 0; err == nil && n < 2*burst; n++ {
					err = kind.once(g)
				}
				if !errors.Is(err, kind.fault) {
					t.Errorf("an endless flood: error %v", err)
				}
			})
		})
	}
}

// One address floods with many sockets. A client of another address waits for at most one of their turns for
// each of its own, and the floods end.
func TestFloodOfOneAddressLeavesEverySecondTurn(t *testing.T) {
	const floods, burst, frame = 400, 60, 4 << 10
	limits := Limits{MessagesPerSecond: 200, MessageBurst: 10_000, BytesPerSecond: 256 << 10, ByteBurst: 8 << 20}
	for name, kind := range map[string]struct {
		once  func(*MeteredConn, int) error
		flood int // size of one turn of a flooding socket
	}{
		"messages": {func(m *MeteredConn, _ int) error { return m.CountMessage() }, 1},
		"bytes": {func(m *MeteredConn, n int) error {
			_, err := m.Read(make([]byte, n))
			return err
		}, 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := NewAdmission(nil)
				newClient := func(address string) *MeteredConn {
					m := newMeteredConn(netip.MustParseAddr(address), &limits, x)
					m.Conn = fountain{}
					return m
				}
				var turns, excess atomic.Int64
				var work sync.WaitGroup
				begun := time.Now()
				for range floods {
					work.Go(func() {
						m := newClient("192.0.2.1")
						for time.Since(begun) < time.Minute {
							if err := kind.once(m, kind.flood); err != nil {
								if errors.Is(err, errExcess) {
									excess.Add(1)
								}
								return
							}
							turns.Add(1)
						}
					})
				}
				<-time.After(time.Second) // of the bubble's clock
				modest, before, waited := newClient("192.0.2.2"), turns.Load(), 0
				for range burst {
					since := turns.Load()
					if err := kind.once(modest, frame); err != nil {
						t.Errorf("the client is closed: %v", err)
						break
					}
					if turns.Load() > since {
						waited++
					}
				}
				if got := turns.Load() - before; got > 2*burst {
					t.Errorf("%d turns of the floods during %d of the client, want at most %d", got, burst, 2*burst)
				}
				if waited == 0 {
					t.Error("the client never waited: the test shows nothing")
				}
				work.Wait()
				if excess.Load() != floods {
					t.Errorf("%d of %d floods were closed for waiting all the time", excess.Load(), floods)
				}
				bound := x.budget.messages.bursts.rate.perSecond*time.Since(begun).Seconds() + floods*float64(limits.MessagesPerSecond)/burstThreshold*1.1
				if name == "messages" && float64(turns.Load()) > bound {
					t.Errorf("%d messages were read, want at most %.0f: their limits refill while they wait", turns.Load(), bound)
				}
			})
		})
	}
}

// In a burst, a message of a client that owes waits for as long as so many messages. The client is not closed
// for that, though others wait too.
func TestOwedWorkIsReadAtItsCost(t *testing.T) {
	const owes, messages = 4, 2000
	limits := Limits{MessagesPerSecond: 200, MessageBurst: 10_000}
	synctest.Test(t, func(t *testing.T) {
		x := NewAdmission(nil)
		bound := float64(burstMessages * runtime.GOMAXPROCS(0))
		var work sync.WaitGroup
		begun := time.Now()
		for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
			work.Go(func() {
				m := newMeteredConn(netip.MustParseAddr(address), &limits, x)
				c := New(nil, nil, m, nil)
				for range messages {
					if err := m.CountMessage(); err != nil {
						t.Error(err)
						return
					}
					c.Owe(owes)
				}
				if owed := m.owed.Load(); owed != owes {
					t.Errorf("%d owed, want only the last message's", owed)
				}
			})
		}
		work.Wait()
		if took, want := time.Since(begun).Seconds(), 2*messages*(1+owes)/bound; took < 0.9*want || took > 1.1*want {
			t.Errorf("%d messages took %.2f s, want about %.2f s", 2*messages, took, want)
		}
	})
}

// Clients below their limits are bounded, too, if they are many; an address with one client is not affected.
func TestManyCalmClientsShareTheirBudget(t *testing.T) {
	limits := Limits{MessagesPerSecond: 1000, MessageBurst: 10_000}
	synctest.Test(t, func(t *testing.T) {
		x := NewAdmission(nil)
		newClient := func(address string) *MeteredConn {
			return newMeteredConn(netip.MustParseAddr(address), &limits, x)
		}
		var read atomic.Int64
		var stop atomic.Bool
		var work sync.WaitGroup
		for range 400 * runtime.GOMAXPROCS(0) {
			work.Go(func() {
				m := newClient("192.0.2.1")
				for !stop.Load() && m.CountMessage() == nil {
					read.Add(1)
					<-time.After(time.Second / 100)
				}
			})
		}
		<-time.After(2 * time.Second)
		before, modest := read.Load(), newClient("192.0.2.2")
		for range 10 {
			if err := modest.CountMessage(); err != nil {
				t.Fatal(err)
			}
		}
		if got := read.Load() - before; got > 20 {
			t.Errorf("%d turns of the others during 10 of the client", got)
		}
		stop.Store(true)
		work.Wait()
		if bound := int64(calmMessages * runtime.GOMAXPROCS(0) * 25 / 10); read.Load() > bound {
			t.Errorf("%d messages read in 2 s, want at most %d", read.Load(), bound)
		}
	})
}

// A throttled read ends when its connection is closed.
func TestCloseEndsThrottledRead(t *testing.T) {
	const perSecond, burst = 1000, 1 << 20
	limits := Limits{MessagesPerSecond: perSecond, MessageBurst: burst, BytesPerSecond: perSecond, ByteBurst: burst}
	for name, once := range map[string]func(*MeteredConn) error{
		"messages": (*MeteredConn).CountMessage,
		"bytes": func(g *MeteredConn) error {
			_, err := g.Read(make([]byte, perSecond/2))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := NewAdmission(nil)
				flooding := func() *MeteredConn {
					g := newMeteredConn(netip.Addr{}, &limits, x)
					g.Conn = fountain{Conn: nopConn{}}
					g.messages.take(x.budget.now(), perSecond, tokenRate{perSecond, burst})
					g.bytes.take(x.budget.now(), perSecond, tokenRate{perSecond, burst})
					return g
				}
				x.budget.messages.bursts, x.budget.bytes.bursts = newTurns(x.budget.since, tokenRate{1, 1}), newTurns(x.budget.since, tokenRate{1, 1})
				if err := once(flooding()); err != nil {
					t.Fatal(err)
				}
				var waiting []*MeteredConn
				ended := make(chan error)
				const n = 10
				for range n {
					g := flooding()
					waiting = append(waiting, g)
					go func() { ended <- once(g) }()
					synctest.Wait() // they queue one after the other
				}
				since := time.Now()
				for _, g := range waiting[1:] {
					if err := g.Close(); err != nil {
						t.Fatal(err)
					}
					if err := <-ended; !errors.Is(err, context.Canceled) {
						t.Errorf("closed while throttled: error %v", err)
					}
				}
				if waited := time.Since(since); waited != 0 {
					t.Errorf("closed connections still waited %v", waited)
				}
				if err := <-ended; err != nil {
					t.Errorf("open connection: error %v", err)
				}
			})
		})
	}
}

// rate.Limiter is the reference.
func TestBucketIsTokenBucket(t *testing.T) {
	for _, r := range []tokenRate{{8, 20}, {200, 10_000}, {256 << 10, 8 << 20}} {
		var b bucket
		reference := rate.NewLimiter(rate.Limit(r.perSecond), int(r.burst))
		random := rand.New(rand.NewPCG(1, 2))
		began := time.Now()
		now := time.Duration(0)
		taken := 0
		for range 10_000 {
			n := random.IntN(int(r.burst)/2) + 1
			wait := b.take(now, n, r)
			if allowed := reference.AllowN(began.Add(now), n); allowed != (wait == 0) {
				t.Fatalf("%v: %d after %v: %v to wait, the reference allows %v", r, n, now, wait, allowed)
			}
			if wait == 0 {
				taken++
			} else if c := b; c.take(now+wait, n, r) != 0 {
				t.Fatalf("%v: %d are not there after the wait of %v", r, n, wait)
			}
			now += time.Duration(random.IntN(64)) * time.Duration(r.timeOf(r.burst/64))
		}
		if taken == 0 || taken == 10_000 {
			t.Errorf("%v: %d of 10000 taken: the test shows nothing", r, taken)
		}
	}
}

// nopConn is a connection that can be closed.
type nopConn struct{ net.Conn }

func (nopConn) Close() error { return nil }
