package snapshot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// stillCamera returns a key frame of each publisher but those without key frames.
type stillCamera struct {
	frame   translate.KeyFrame
	without map[translate.Identity]bool

	mu   sync.Mutex
	shot map[translate.Identity]int
}

func (c *stillCamera) KeyFrame(ctx context.Context, target translate.ProbeTarget) (translate.KeyFrame, error) {
	c.mu.Lock()
	c.shot[target.Publisher]++
	c.mu.Unlock()
	if c.without[target.Publisher] {
		<-ctx.Done()
		return translate.KeyFrame{}, ctx.Err()
	}
	time.Sleep(100 * time.Millisecond)
	return c.frame, nil
}

func source(publisher string) Source { return Source{"room", translate.Identity(publisher)} }

// testService is a Service with four places and a camera for which the publishers named still-… have no key
// frames.
func testService(t *testing.T) (*Service, *stillCamera) {
	camera := &stillCamera{
		frame:   translate.KeyFrame{Mime: "video/VP8", Data: testdata(t, "small.vp8")},
		without: make(map[translate.Identity]bool), shot: make(map[translate.Identity]int),
	}
	for i := range 20 {
		camera.without[translate.Identity(fmt.Sprint("still-", i))] = true
	}
	return New(Deps{
		Config: Config{Timeout: 3 * time.Second, MaxAtOnce: 4, Decoder: limits()}, Camera: camera,
		Duration:    prometheus.NewHistogram(prometheus.HistogramOpts{}),
		NewIdentity: func() translate.Identity { return "hidden" }, Recovered: func() {}, Context: t.Context(),
	}), camera
}

var partyA, partyB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// A party that requests pictures of streams without key frames has a part of the places, and what it waits
// for delays no other party, not even for a picture of the same stream.
func TestStreamsWithoutKeyFramesLeavePlacesForOtherParties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, camera := testService(t)
		results := make(chan error, 100)
		ask := func(party netip.Addr, publisher string) {
			go func() {
				_, err := s.Take(t.Context(), party, source(publisher))
				results <- err
			}()
			synctest.Wait()
		}
		ask(partyA, "still-0")
		time.Sleep(time.Second)
		for i := range 19 {
			ask(partyA, fmt.Sprint("still-", 1+i))
		}
		ask(partyA, "good") // behind the others
		if n := len(camera.shot); n != 1 {
			t.Errorf("%d pictures of one party are being taken, want a quarter of 4", n)
		}
		since := time.Now()
		if _, err := s.Take(t.Context(), partyB, source("good")); err != nil {
			t.Error(err)
		}
		if took := time.Since(since); took != 100*time.Millisecond {
			t.Errorf("another party's picture took %v", took)
		}
		synctest.Wait()
		if len(results) != 1 || <-results != nil {
			t.Error("the picture is not shared with the earlier request for it")
		}
		late, busy := 0, 0
		for range 20 {
			switch err := <-results; {
			case errors.Is(err, ErrLate):
				late++
			case errors.Is(err, ErrBusy):
				busy++
			default:
				t.Error(err)
			}
		}
		if late != 2 || busy != 18 || time.Since(since) != 3*time.Second { // the second begins when the first fails
			t.Errorf("%d late and %d busy after %v, want 2 and 18 after 3s", late, busy, time.Since(since))
		}
		s.Close()
		if len(s.shots) != 0 {
			t.Errorf("%d pictures are still known", len(s.shots))
		}
	})
}

func TestConcurrentRequestsShareOnePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, camera := testService(t)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				party := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
				if png, err := s.Take(t.Context(), party, source("good")); err != nil || len(png) == 0 {
					t.Errorf("%d bytes, %v", len(png), err)
				}
			})
		}
		all.Wait()
		if n := camera.shot["good"]; n != 1 {
			t.Errorf("%d pictures for 50 requests at once", n)
		}
	})
}

func TestCloseWaitsForPicturesAndLetsNoneBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, camera := testService(t)
		first := make(chan error, 1)
		go func() {
			_, err := s.Take(t.Context(), partyA, source("good"))
			first <- err
		}()
		synctest.Wait()
		s.Close()
		if len(s.shots) != 0 || <-first != nil {
			t.Error("closed before the picture was taken")
		}
		if _, err := s.Take(t.Context(), partyB, source("other")); !errors.Is(err, ErrBusy) || camera.shot["other"] != 0 {
			t.Errorf("after the close: %v", err)
		}
	})
}

// Clients that do not receive their pictures leave room for those of other parties.
func TestUnsentPicturesOfOnePartyLeaveRoomForOthers(t *testing.T) {
	s, _ := testService(t)
	answer := wcs.Snapshot{PNG: make([]byte, 1<<20)}
	var dones []func()
	hold := func(party netip.Addr) (n int) {
		for {
			_, done, err := s.Encode(party, answer)
			if err != nil {
				return n
			}
			n++
			dones = append(dones, done)
		}
	}
	total := 0
	for i := range 6 {
		n := hold(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		if n == 0 {
			t.Errorf("party %d has no picture", i)
		}
		total += n
		t.Logf("party %d holds %d of %d", i, n, total)
	}
	for _, done := range dones {
		done()
	}
	if s.unsent.free != MaxUnsent || len(s.unsent.held) != 0 {
		t.Errorf("%d bytes free, %d parties after all are sent", s.unsent.free, len(s.unsent.held))
	}
	if _, _, err := s.Encode(partyA, wcs.Snapshot{PNG: make([]byte, MaxUnsent)}); !errors.Is(err, ErrBusy) {
		t.Errorf("more than fits: %v", err)
	}
}
