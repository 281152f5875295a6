package source

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/pull"
)

// A web server that sends a part of a film and then nothing, with its connection up.
func TestFrozenWebServerIsReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "film.ts")
	record(t, file, 6, rig.CameraH264, rig.CameraAAC)
	film, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var frozen atomic.Bool
	frozen.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(film[:len(film)/2]) // the reader may be gone
		if frozen.Load() {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(film[len(film)/2:])
	}))
	t.Cleanup(server.Close)
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	r.stall.other = 5 * time.Second // ffmpeg needs some of it on a loaded machine
	s := begin(t, r, room, server.URL+"/film.ts", nil)
	s.await(pull.Running)
	s.await(pull.Interrupted)
	frozen.Store(false)
	s.await(pull.Running)
	s.wantFault(pull.Ended)
	if video, _ := s.room.counts(); video < 100 || s.room.reorders > 0 {
		t.Errorf("%d frames after the server returned, %d out of order", video, s.room.reorders)
	}
}

// A live playlist that does not grow is lost, although its last segments can be read again and again.
func TestFrozenPlaylistIsLost(t *testing.T) {
	t.Parallel()
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	dir := t.TempDir()
	encoder := rig.StartPlaylist(t, filepath.Join(dir, "live.m3u8"), 2)
	server, _ := web(t, dir)
	r.stall.other = 3 * time.Second
	s := begin(t, r, room, withPassword(server, "pass%20word")+"/live.m3u8", func(j *Job) { j.Retry = 12 * time.Second })
	s.await(pull.Running)
	encoder.Pause()
	s.wantFault(pull.Lost)
	if room.restarts == 0 {
		t.Error("the last segments were not read again")
	}
}

// The reader ends by itself, before its watch, when it gets no packets.
func TestSilenceOfACameraIsNamed(t *testing.T) {
	for err, want := range map[error]string{
		liberrors.ErrClientTCPTimeout{}: "no packets",
		liberrors.ErrClientUDPTimeout{}: "no packets",
		os.ErrDeadlineExceeded:          "no packets",
		io.EOF:                          "connection ended",
	} {
		var fault *pull.Error
		if got := rtspLoss(err); !errors.As(got, &fault) || fault.Fault != pull.Lost || fault.Detail != want {
			t.Errorf("%v: error is %v, want %s", err, got, want)
		}
	}
}
