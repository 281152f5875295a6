package livekit

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"wcsgateway/translate"
)

// Plays that LiveKit does not answer leave connections for the plays of another publisher, and for removals.
func TestHangingPlaysDoNotDelayOtherCalls(t *testing.T) {
	for _, way := range []PlayWay{PlayWHIP, PlaySignal} {
		t.Run(string(way), func(t *testing.T) { testHangingPlays(t, way) })
	}
}

func testHangingPlays(t *testing.T, way PlayWay) {
	const conns = 16
	arrived, end := make(chan struct{}, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == whipPath && r.Header.Get(clientInfoHeader) != "", r.URL.Path == signalPath:
			arrived <- struct{}{}
			<-end
		case strings.HasSuffix(r.URL.Path, "/UpdateParticipant"):
			w.Header().Set("Content-Type", "application/protobuf") // an empty participant
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"code": "not_found", "msg": "no such participant"}`)) // the client sees a failure
	}))
	t.Cleanup(server.Close)
	sfu, err := New(Config{URL: server.URL, Key: "k", Secret: testSecret, MaxConns: conns, Play: way}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	play := func(ctx context.Context, publisher translate.Identity) error {
		_, err := sfu.Play(ctx, translate.PlayOffer{
			Room: "r", Identity: player(), Publisher: publisher,
			Offer: func(translate.Participant) (string, []translate.Track, error) {
				return "v=0", []translate.Track{{Name: "video"}}, nil
			},
		})
		return err
	}
	_, plays := SplitConns(conns)
	const each = 10
	var calls sync.WaitGroup
	errs := make(chan error, each)
	for range each {
		calls.Go(func() { errs <- play(ctx, "gone") })
	}
	for range plays / 4 {
		<-arrived
	}
	calls.Go(func() { _ = play(ctx, "other") }) // its result does not matter
	<-arrived
	if err := sfu.Remove(t.Context(), "r", "x"); err != nil {
		t.Errorf("removal: %v", err)
	}
	if n := len(arrived); n != 0 {
		t.Errorf("%d more plays of one publisher than its share", n)
	}
	cancel()
	notSent := 0
	for range each {
		if errors.Is(<-errs, translate.ErrNotSent) {
			notSent++
		}
	}
	if notSent != each-plays/4 {
		t.Errorf("%d plays were not sent, want %d", notSent, each-plays/4)
	}
	close(end)
	calls.Wait()
	if len(sfu.playing.of) != 0 {
		t.Errorf("%d publishers have slots without calls", len(sfu.playing.of))
	}
}
