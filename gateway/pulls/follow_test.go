package pulls

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

var playedTracks = []translate.Track{{SID: "TR_0", Kind: translate.Video}}

// follow has a player of the camera follow. after is how long that took.
func follow(t *testing.T, s *Service, p *Pull, left translate.Identity) (got joined, after time.Duration) {
	t.Helper()
	began := time.Now()
	got.publisher, got.err = s.Follow(t.Context(), p, left)
	return got, time.Since(began)
}

func TestPlayersFollowTheSourceToAnotherWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		p := w.playing(t, a)
		p.Played(translate.Following{Room: p.Room(), Identity: "player", SID: "PA_player", SDP: "offer", Tracks: playedTracks})
		w.store.SetWorkers(state.PullWorker{ID: "w1", Max: 10}, state.PullWorker{ID: "w2", Max: 10})
		for generation := int64(1); generation <= 2; generation++ {
			left := translate.Identity(pull.Identity(p.ID(), generation))
			time.Sleep(7 * time.Second) // the hold looks seldom
			w.room.leave()
			w.store.Die(p.ID())
			time.AfterFunc(time.Second, func() { w.work(p.ID(), fmt.Sprint("w", generation+1)) })
			got, after := follow(t, a, p, left)
			if got.err != nil || got.publisher.Identity == left || got.publisher.SID == "" {
				t.Fatalf("followed to %+v, %v", got.publisher, got.err)
			}
			if after > 1100*time.Millisecond {
				t.Errorf("after %v", after)
			}
			if len(w.room.followed) != int(generation) {
				t.Fatalf("moves %+v", w.room.followed)
			}
			to := w.room.followed[generation-1]
			if to.Identity != "player" || to.SDP != "offer" || to.SID != "PA_player" || to.Publisher != got.publisher.Identity || to.Tracks[0].SID != "TR_1" {
				t.Errorf("moved by %+v", to)
			}
		}
	})
}

func TestPlayersEndThatCannotFollow(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *pods, p *Pull)
		after  time.Duration
		info   string
	}{
		"no worker takes it": {func(*pods, *Pull) {}, followFor, ""},
		"its client cannot": {func(w *pods, p *Pull) {
			p.played.SDP = ""
			w.work(p.ID(), "w2")
		}, whyTimeout, ""},
		"other media": {func(w *pods, p *Pull) {
			p.played.Tracks = []translate.Track{{Kind: translate.Video, Mime: "video/VP8"}}
			w.work(p.ID(), "w2")
		}, lookEvery, ""},
		"other kinds": {func(w *pods, p *Pull) {
			p.played.Tracks = []translate.Track{{Kind: translate.Audio}}
			w.work(p.ID(), "w2")
		}, lookEvery, ""},
		"the source is lost":  {func(w *pods, p *Pull) { w.store.Report(p.ID(), "w1", string(pull.Failed), string(pull.Lost)) }, lookEvery, "RtspAgent shutdown"},
		"the player has left": {func(_ *pods, p *Pull) { p.holds.s.Leave(p) }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPods(t)
				a := w.pod(t, "a")
				p := w.playing(t, a)
				p.Played(translate.Following{SDP: "offer", Tracks: playedTracks})
				w.store.SetWorkers(state.PullWorker{ID: "w1", Max: 10}, state.PullWorker{ID: "w2", Max: 10})
				w.room.leave()
				if tt.info == "" {
					w.store.Die(p.ID())
				}
				tt.change(w, p)
				got, after := follow(t, a, p, translate.Identity(pull.Identity(p.ID(), 1)))
				switch {
				case got.err == nil:
					t.Errorf("followed to %+v", got.publisher)
				case tt.info != "" && info(t, got.err) != tt.info:
					t.Errorf("error %v", got.err)
				}
				if after > tt.after+time.Millisecond {
					t.Errorf("after %v, want at most %v", after, tt.after)
				}
				if len(w.room.followed) != 0 {
					t.Errorf("moves %+v", w.room.followed)
				}
			})
		})
	}
}
