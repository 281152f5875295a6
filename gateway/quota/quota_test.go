package quota

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var one, two = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func TestClientsOfOneAddressShareItsBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(60)
		l := Limits{Starts: Rate{5, 64}, AddressFactor: 2}
		client := func(address netip.Addr) *Client {
			c := table.Client(address, &l)
			return &c
		}
		count := func(c *Client, k Kind) (n int) {
			for range 10000 {
				switch exhausted := c.Exhausted(k); {
				case c.Allow(k) == exhausted:
					t.Fatalf("kind %d after %d requests: Exhausted is %v", k, n, exhausted)
				case !exhausted:
					n++
				}
			}
			return n
		}
		a, b, c, other := client(one), client(one), client(one), client(two)
		for name, got := range map[string][2]int{
			"a client":                         {count(a, Starts), 64},
			"a second client of the address":   {count(b, Starts), 64},
			"a third one, above the address's": {count(c, Starts), 0},
			"a client of another address":      {count(other, Starts), 64},
			"a kind without a limit":           {count(a, Joins), 10000},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: %d, want %d", name, got[0], got[1])
			}
		}
		time.Sleep(2 * time.Second)
		if n := count(a, Starts); n != 10 {
			t.Errorf("%d after 2 s, want 10", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for range 64 {
			a.Allow(Starts)
		}
		for range 64 { // all fail
			a.Charge(Starts)
		}
		time.Sleep(12 * time.Second)
		if n := count(a, Starts); n != 0 {
			t.Errorf("%d while failed ones are missing, want 0", n)
		}
		time.Sleep(2 * time.Second)
		if n := count(a, Starts); n == 0 {
			t.Error("none after what failed ones cost is there again")
		}
		nobody := client(netip.Addr{})
		if n := count(nobody, Starts); n != 64 {
			t.Errorf("%d without an address, want 64", n)
		}
	})
}

// What reaches Redis, LiveKit or other pods is limited for an address: a client that opens many sockets
// cannot request more of it.
func TestAddressHasABucketOfEachKindButData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(60)
		l := Limits{Starts: Rate{5, 64}, Joins: Rate{2, 32}, AddressFactor: 3}
		most := map[Kind]int{Starts: 64, Joins: 32, Mutes: 20, Lookups: 200, Snapshots: 10, Data: 500}
		for k := range kinds {
			allowed := func(clients int, address netip.Addr) (n int) {
				for range clients {
					c := table.Client(address, &l)
					for range 1000 {
						if c.Allow(k) {
							n++
						}
					}
				}
				return n
			}
			want := 3 * most[k]
			if k == Data {
				want = 5 * most[k]
			}
			if n := allowed(5, one); n != want {
				t.Errorf("kind %d: five clients of one address may make %d requests, want %d", k, n, want)
			}
			if n := allowed(1, two); n != most[k] {
				t.Errorf("kind %d: a client of another address may make %d requests, want %d", k, n, most[k])
			}
		}
	})
}

func TestMutesWaitForTheBucketOfTheirAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(60)
		l := Limits{AddressFactor: 2} // 40 mutes at once, then 4 a second
		for i := range 40 {
			c := table.Client(one, &l)
			if delay := c.Delay(Mutes); delay != 0 {
				t.Errorf("mute %d waits %v", i, delay)
			}
		}
		c, other := table.Client(one, &l), table.Client(two, &l)
		if delay := c.Delay(Mutes); delay != time.Second/4 {
			t.Errorf("a mute above the address's burst waits %v", delay)
		}
		if delay := other.Delay(Mutes); delay != 0 {
			t.Errorf("a mute of another address waits %v", delay)
		}
	})
}

func TestTurnsAreFairBetweenParties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(8)
		var mu sync.Mutex
		var order []netip.Addr
		call := func(address netip.Addr) {
			release, err := turns.Acquire(t.Context(), address)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, address)
			mu.Unlock()
			time.Sleep(time.Second)
			release()
		}
		for range 1000 {
			go call(one)
		}
		synctest.Wait()
		if len(order) != 2 {
			t.Errorf("one party has %d calls under way, want a quarter of 8", len(order))
		}
		go call(two)
		synctest.Wait()
		if last := order[len(order)-1]; len(order) != 3 || last != two {
			t.Errorf("the other party waits behind %d calls", len(order))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := turns.Acquire(ctx, one); err == nil {
			t.Error("a turn before the 998 that wait")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(order) != 1001 || len(turns.parties) != 0 || turns.used != 0 {
			t.Errorf("%d calls, %d parties and %d places left", len(order), len(turns.parties), turns.used)
		}
	})
}
