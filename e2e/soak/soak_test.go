// Package soak plays a stream for a long time while its publisher mutes, unpublishes and publishes tracks,
// and checks that no player is lost. make soak runs it; the other tests do not. See
// docs/livekit-notes.md#players.
//
//	go test -v -timeout 70m ./e2e/soak -args -for 1h
package soak

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

var (
	length  = flag.Duration("for", 0, "for how long players are watched; 0 skips the test")
	players = flag.Int("players", 50, "number of players")
)

const (
	phase    = 15 * time.Second // between two changes of the publisher's video
	patience = 20 * time.Second // for the audio of each player to go on
)

// TestPlayersOutliveChangesOfTracks is the soak. The publisher is native, since a WCS client cannot unpublish
// one track. Its audio goes on all the time, and each player must receive it in each phase.
func TestPlayersOutliveChangesOfTracks(t *testing.T) {
	if *length == 0 {
		t.Skip("-for is not set")
	}
	stage := rig.NewStage(t, map[string]string{"WCS_APPLICATIONS": `{native: {room: "native.{name}", native: both}}`}, "")
	pub := newPublisher(t, stage.LiveKit)
	watched := startPlayers(t, stage.Gateway.URL)
	began := time.Now()
	for round := 1; time.Since(began) < *length; round++ {
		for _, step := range []struct {
			what string
			do   func(*testing.T)
		}{
			{"muted", func(*testing.T) { pub.video.SetMuted(true) }},
			{"unmuted", func(*testing.T) { pub.video.SetMuted(false) }},
			{"unpublished", pub.unpublish},
			{"published again", pub.publishVideo},
		} {
			step.do(t)
			watched.wantAudio(t, fmt.Sprintf("round %d, video %s", round, step.what))
			time.Sleep(phase) // the soak itself: nothing is awaited
			watched.wantAudio(t, fmt.Sprintf("round %d, %v after video %s", round, phase, step.what))
		}
		t.Logf("%v: round %d, %d players, %d lost", time.Since(began).Round(time.Second), round, *players, watched.lost.Load())
	}
	if n := watched.lost.Load(); n > 0 {
		t.Errorf("%d of %d players were lost", n, *players)
	}
}

// publisher is a participant with LiveKit's own SDK.
type publisher struct {
	room  *lksdk.Room
	video *lksdk.LocalTrackPublication
	stop  chan struct{} // closed when the test ends
}

func newPublisher(t *testing.T, lk *rig.LiveKit) *publisher {
	t.Helper()
	room, err := lksdk.ConnectToRoom(lk.URL, lksdk.ConnectInfo{
		APIKey: lk.Key, APISecret: lk.Secret, RoomName: "native.soak", ParticipantIdentity: "soak",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{room: room, stop: make(chan struct{})}
	t.Cleanup(func() {
		close(p.stop)
		room.Disconnect()
	})
	p.publish(t, webrtc.MimeTypeOpus, 20*time.Millisecond, []byte{0xf8, 0xff, 0xfe})
	p.publishVideo(t)
	return p
}

func (p *publisher) publishVideo(t *testing.T) {
	t.Helper()
	p.video = p.publish(t, webrtc.MimeTypeVP8, 40*time.Millisecond, rig.VP8Frame(320, 240))
}

func (p *publisher) unpublish(t *testing.T) {
	t.Helper()
	if err := p.room.LocalParticipant.UnpublishTrack(p.video.SID()); err != nil {
		t.Fatal(err)
	}
}

func (p *publisher) publish(t *testing.T, mime string, every time.Duration, data []byte) *lksdk.LocalTrackPublication {
	t.Helper()
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: mime})
	if err != nil {
		t.Fatal(err)
	}
	publication, err := p.room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: mime})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				_ = track.WriteSample(media.Sample{Data: data, Duration: every}, nil) // not bound yet, or unpublished
			}
		}
	}()
	return publication
}

type watch struct {
	peers []*rig.Peer
	lost  atomic.Int64 // players with a terminal status
}

// startPlayers starts all players. The loss of one is counted and logged.
func startPlayers(t *testing.T, url string) *watch {
	t.Helper()
	w := &watch{peers: make([]*rig.Peer, *players)}
	for i := range w.peers {
		w.peers[i] = rig.NewPlayer(t, rig.PeerOptions{})
		id, c := fmt.Sprintf("soak-%d", i), rig.Connect(t, url, "native")
		c.Observe(func(m rig.Message) {
			var s struct{ Status, Info string }
			if m.Name == "notifyStreamStatusEvent" {
				m.Arg(t, 0, &s)
			}
			if s.Status == "FAILED" || s.Status == "STOPPED" {
				w.lost.Add(1)
				t.Logf("player %d: %s %s", i, s.Status, s.Info)
			}
		})
		if i == 0 { // LiveKit and the gateway know of the publisher within a second
			rig.Eventually(t, patience, "the stream is available", func() bool {
				c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "soak"})
				var a struct{ Status string }
				c.Await("availableStream").Arg(t, 0, &a)
				return a.Status == "true"
			})
		}
		c.Play(id, "soak", w.peers[i])
	}
	return w
}

// wantAudio waits until each player has received audio from now on.
func (w *watch) wantAudio(t *testing.T, when string) {
	t.Helper()
	before := make([]int, len(w.peers))
	for i, p := range w.peers {
		before[i] = p.Packets(translate.Audio)
	}
	for i, p := range w.peers {
		rig.Eventually(t, patience, fmt.Sprintf("%s: audio of player %d", when, i), func() bool { return p.Packets(translate.Audio) > before[i] })
	}
}
