package socket

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fountain is a client that always has input.
type fountain struct{ net.Conn }

func (fountain) Read(b []byte) (int, error) { return len(b), nil }

// Flooding clients share one budget, however many they are; other clients are not throttled.
func TestFloodingClientsShareBudget(t *testing.T) {
	const perSecond, burst, frame = 20, 5000, 32 << 10
	limits := Limits{MessagesPerSecond: perSecond, MessageBurst: burst, BytesPerSecond: perSecond * frame, ByteBurst: burst * frame}
	processors := float64(runtime.GOMAXPROCS(0))
	for name, kind := range map[string]struct {
		once  func(*MeteredConn) error
		bound float64 // of once, a second
		fault error
	}{
		"messages": {(*MeteredConn).countMessage, burstMessages * processors, errTooManyMessages},
		"bytes": {func(g *MeteredConn) error {
			_, err := g.Read(make([]byte, frame))
			return err
		}, burstBytes / frame * processors, errTooManyBytes},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newBurstBudget()
				const clients, each = 4, 1000
				var work sync.WaitGroup
				begun := time.Now()
				for range clients {
					work.Go(func() {
						g := newMeteredConn(&limits, x)
						g.Conn = fountain{}
						for range each {
							if err := kind.once(g); err != nil {
								t.Error(err)
							}
						}
					})
				}
				calm := newMeteredConn(&limits, x)
				calm.Conn = fountain{}
				for range 20 {
					since := time.Now()
					if err := kind.once(calm); err != nil || time.Since(since) != 0 {
						t.Errorf("a calm client waits %v (error %v)", time.Since(since), err)
					}
					<-time.After(time.Second / perSecond) // of the bubble's clock
				}
				work.Wait()
				if took, least := time.Since(begun).Seconds(), 0.9*clients*each/kind.bound; took < least || took > 1.5*least {
					t.Errorf("%d of %d clients took %.2f s, want %.2f s or somewhat more", each, clients, took, least)
				}

				g := newMeteredConn(&limits, x)
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

// A throttled read ends when its connection is closed.
func TestCloseEndsThrottledRead(t *testing.T) {
	const perSecond, burst = 1000, 1 << 20
	limits := Limits{MessagesPerSecond: perSecond, MessageBurst: burst, BytesPerSecond: perSecond, ByteBurst: burst}
	for name, once := range map[string]func(*MeteredConn) error{
		"messages": (*MeteredConn).countMessage,
		"bytes": func(g *MeteredConn) error {
			_, err := g.Read(make([]byte, perSecond/2))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newBurstBudget()
				flooding := func() *MeteredConn {
					g := newMeteredConn(&limits, x)
					g.Slot.admission = NewAdmission(nil)
					g.Conn = fountain{Conn: nopConn{}}
					g.messages.AllowN(time.Now(), perSecond)
					g.bytes.AllowN(time.Now(), perSecond)
					return g
				}
				x.messages.SetLimit(1)
				x.bytes.SetLimit(1)
				x.bytes.SetBurst(1)
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

// nopConn is a connection that can be closed.
type nopConn struct{ net.Conn }

func (nopConn) Close() error { return nil }
