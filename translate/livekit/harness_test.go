package livekit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

const (
	deployment = "test"
	podTag     = "0123abcd"
	patience   = 20 * time.Second // for events that take milliseconds on an idle machine
	longTime   = 40 * time.Second // for events that take LiveKit 15 s
	shortTime  = 2 * time.Second  // for events that must not occur
)

// atATime is how many tests run together unless -parallel sets another number: those of LiveKit's timeouts
// mostly wait.
const atATime = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atATime) // fails only for a flag that is not there
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		// The SDK's client keeps its connections in the default transport.
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		os.Exit(code)
	}))
}

// stage is a LiveKit, an SFU that calls it, and the webhooks received from it.
type stage struct {
	lk  *rig.LiveKit
	sfu *SFU
	*webhooks
}

type webhooks struct {
	mu       sync.Mutex
	events   []translate.Event
	refusals []error
}

// newStage starts a LiveKit for a test and its subtests.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{webhooks: &webhooks{}}
	receiver := httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(receiver.Close)
	s.lk = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: receiver.URL})
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.refusals) != 0 {
			t.Errorf("webhooks rejected: %v", s.refusals)
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sfu = newSFU(t, s.lk, nil)
	return s
}

// by returns a stage with the same LiveKit, whose SFU plays in one way.
func (s *stage) by(t *testing.T, way PlayWay) *stage {
	t.Helper()
	return &stage{lk: s.lk, webhooks: s.webhooks, sfu: newSFU(t, s.lk, func(c *Config) { c.Play = way })}
}

// eachWay runs a test with each way of playing.
func eachWay(t *testing.T, s *stage, test func(*testing.T, *stage)) {
	t.Helper()
	for _, way := range []PlayWay{PlayWHIP, PlaySignal} {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			test(t, s.by(t, way))
		})
	}
}

func newSFU(t testing.TB, lk *rig.LiveKit, change func(*Config)) *SFU {
	t.Helper()
	cfg := Config{
		URL: lk.URL, Key: lk.Key, Secret: lk.Secret,
		EmptyTimeout: time.Second, DepartureTimeout: time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	sfu, err := New(cfg, Deps{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	return sfu
}

func (s *stage) receive(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok, err := s.sfu.Webhook(w, r)
	switch {
	case err != nil:
		s.refusals = append(s.refusals, err)
		w.WriteHeader(http.StatusUnauthorized)
	case ok:
		s.events = append(s.events, e)
	}
}

// await waits for a webhook about a participant, or about a room if id is empty.
func (s *stage) await(t *testing.T, kind translate.EventKind, room translate.RoomName, id translate.Identity) translate.Event {
	t.Helper()
	return s.awaitWithin(t, patience, eventNames[kind]+" webhook of "+string(room), func(e translate.Event) bool {
		return e.Kind == kind && e.Room == room && e.Identity == id
	})
}

func (s *stage) awaitLong(t *testing.T, kind translate.EventKind, id translate.Identity) translate.Event {
	t.Helper()
	return s.awaitWithin(t, longTime, eventNames[kind]+" webhook", func(e translate.Event) bool {
		return e.Kind == kind && e.Room == room(t) && e.Identity == id
	})
}

func (s *stage) awaitWithin(t *testing.T, d time.Duration, what string, match func(translate.Event) bool) translate.Event {
	t.Helper()
	var found translate.Event
	rig.Eventually(t, d, what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.events, match)
		if i >= 0 {
			found = s.events[i]
		}
		return i >= 0
	})
	return found
}

var eventNames = map[translate.EventKind]string{
	translate.EventJoined: "joined", translate.EventLeft: "left", translate.EventAborted: "aborted",
	translate.EventTrack: "track", translate.EventTrackGone: "track gone",
	translate.EventRoomStarted: "room started", translate.EventRoomEnded: "room ended",
}

// room returns the name of the test's own room.
func room(t *testing.T) translate.RoomName { return translate.RoomName("wcs." + t.Name()) }

func publisher() translate.Identity {
	return translate.NewIdentity(deployment, translate.RolePublish, podTag)
}

func player() translate.Identity {
	return translate.NewIdentity(deployment, translate.RolePlay, podTag)
}

func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// publish starts a publisher and waits until its tracks exist.
func (s *stage) publish(t *testing.T, id translate.Identity, o rig.PeerOptions) (*rig.Peer, translate.Answer) {
	t.Helper()
	peer := rig.NewPublisher(t, o)
	answer, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{
		Room: room(t), Identity: id, MediaID: "media-1", SDP: peer.Offer(),
	})
	if err != nil {
		t.Fatal(err)
	}
	peer.SetAnswer(answer.SDP)
	want := 2
	if o.Audio != o.Video {
		want = 1
	}
	rig.Eventually(t, patience, "publisher is up with its tracks", func() bool {
		p := s.ask(t, id)
		return p.Active && len(p.Tracks) == want
	})
	return peer, answer
}

// play starts a player of a publisher's tracks.
func (s *stage) play(t *testing.T, pub translate.Identity, o rig.PeerOptions) (*rig.Peer, translate.Identity, translate.Answer) {
	t.Helper()
	peer := rig.NewPlayer(t, o)
	id, answer := s.started(t, pub, peer.Offer())
	peer.SetAnswer(answer.SDP)
	s.playerUp(t, peer, id)
	return peer, id, answer
}

// started starts a player as the gateway does: under another identity if LiveKit has not bound its tracks in
// time.
func (s *stage) started(t *testing.T, pub translate.Identity, sdp string) (id translate.Identity, answer translate.Answer) {
	t.Helper()
	for attempt := range signalAttempts {
		id = player()
		offer := s.playOffer(t, id, pub, sdp)
		offer.Attempt = attempt
		var err error
		if answer, err = s.sfu.Play(deadline(t, patience), offer); err == nil {
			return id, answer
		}
		if !errors.Is(err, translate.ErrPlayAgain) || attempt == signalAttempts-1 {
			t.Fatal(err)
		}
	}
	return id, answer
}

// playerUp waits until LiveKit reports that a player is up, and reports it to the SFU as the gateway does.
func (s *stage) playerUp(t *testing.T, peer *rig.Peer, id translate.Identity) {
	t.Helper()
	up(t, peer)
	rig.Eventually(t, patience, "LiveKit reports the player up", func() bool { return s.find(t, id).Active })
	s.sfu.PlayerUp(id)
}

// playOffer returns the offer of a player of all tracks of a publisher.
func (s *stage) playOffer(t *testing.T, id, pub translate.Identity, sdp string) translate.PlayOffer {
	t.Helper()
	return translate.PlayOffer{Room: room(t), Identity: id, MediaID: "media-2", Publisher: pub, Offer: allTracks(sdp)}
}

// allTracks returns the function that plays all tracks of a publisher.
func allTracks(sdp string) func(translate.Participant) (string, []translate.Track, error) {
	return func(publisher translate.Participant) (string, []translate.Track, error) {
		return sdp, publisher.Tracks, nil
	}
}

func (s *stage) flows(t *testing.T, peer *rig.Peer, kinds ...translate.Kind) {
	t.Helper()
	for _, kind := range kinds {
		rig.Eventually(t, patience, string(kind)+" packets arrive", func() bool { return peer.Packets(kind) > 10 })
	}
}

// measured waits until LiveKit has measured the participant's video.
func (s *stage) measured(t *testing.T, id translate.Identity, width, height int) translate.Participant {
	t.Helper()
	var p translate.Participant
	rig.Eventually(t, patience, fmt.Sprintf("video of %dx%d", width, height), func() bool {
		p = s.ask(t, id)
		video := trackOf(p, translate.Video)
		return video.Width == width && video.Height == height
	})
	return p
}

func trackOf(p translate.Participant, kind translate.Kind) translate.Track {
	for _, track := range p.Tracks {
		if track.Kind == kind {
			return track
		}
	}
	return translate.Track{}
}

// ask returns a participant from its node.
func (s *stage) ask(t *testing.T, id translate.Identity) translate.Participant {
	t.Helper()
	p, err := s.sfu.Participant(deadline(t, patience), room(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// find returns a listed participant, zero if it is not listed.
func (s *stage) find(t *testing.T, id translate.Identity) translate.Participant {
	t.Helper()
	list, err := s.sfu.Participants(deadline(t, patience), room(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Identity == id {
			return p
		}
	}
	return translate.Participant{}
}

// up waits until the peer's connection is up.
func up(t *testing.T, peer *rig.Peer) {
	t.Helper()
	select {
	case <-peer.Up():
	case <-time.After(patience):
		t.Fatalf("after %v the peer is %v", patience, peer.State())
	}
}

// wantKind requires an error of a kind.
func wantKind(t *testing.T, err error, kind translate.ErrorKind) {
	t.Helper()
	if translate.KindOf(err) != kind {
		t.Fatalf("error is %v, want one of kind %v", err, kind)
	}
}
