package natives

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wcsgateway/translate"
)

// slowSFU lists a room as it was a moment before the answer.
type slowSFU struct {
	left  atomic.Bool
	lists atomic.Int32
}

func (s *slowSFU) Participants(context.Context, translate.RoomName) (list []translate.Participant, err error) {
	s.lists.Add(1)
	if !s.left.Load() {
		list = append(list, translate.Participant{Identity: "star", Active: true, Tracks: []translate.Track{{SID: "TR_1"}}})
	}
	time.Sleep(100 * time.Millisecond)
	return list, nil
}

func (s *slowSFU) Participant(_ context.Context, _ translate.RoomName, id translate.Identity) (translate.Participant, error) {
	return translate.Participant{Identity: id, Active: true, Tracks: []translate.Track{{SID: "TR_1"}}}, nil
}

// What is known about a room is not used after a change of it, nor is a look that began before.
func TestListRequestedBeforeChangeIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sfu := &slowSFU{}
		f := New(t.Context(), sfu)
		ask := func() error {
			_, err := f.Publisher(t.Context(), "room")
			return err
		}
		early := make(chan error, 1)
		go func() { early <- ask() }()
		time.Sleep(50 * time.Millisecond)
		sfu.left.Store(true)
		f.Forget("room")
		time.Sleep(time.Millisecond)
		late := make(chan error, 1)
		go func() { late <- ask() }()
		if err := <-early; err != nil {
			t.Errorf("a look before the change: %v", err)
		}
		if err := <-late; !errors.Is(err, ErrNone) {
			t.Errorf("a look after the change: %v", err)
		}
		if err := ask(); !errors.Is(err, ErrNone) || sfu.lists.Load() != 2 {
			t.Errorf("the answer is not kept: %v, %d lists", err, sfu.lists.Load())
		}
		f.Forget("room")
		if err := ask(); !errors.Is(err, ErrNone) || sfu.lists.Load() != 3 {
			t.Errorf("the answer is kept after a change: %v, %d lists", err, sfu.lists.Load())
		}
	})
}
