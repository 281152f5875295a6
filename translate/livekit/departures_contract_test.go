package livekit

import (
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

func testRemove(t *testing.T, s *stage) {
	id := publisher()
	peer, answer := s.publish(t, id, rig.PeerOptions{})
	up(t, peer)
	s.measured(t, id, 320, 240)
	s.await(t, translate.EventJoined, room(t), id) // otherwise the event can be "aborted" instead of "left"
	for range 3 {
		if err := s.sfu.Remove(deadline(t, patience), room(t), id); err != nil {
			t.Fatal(err)
		}
	}
	left := s.await(t, translate.EventLeft, room(t), id)
	if left.Reason != translate.EndRemoved || left.SID != answer.SID {
		t.Errorf("left webhook is %+v", left)
	}
	gone := s.awaitWithin(t, patience, "track gone webhook of the video", func(e translate.Event) bool {
		return e.Kind == translate.EventTrackGone && e.Identity == id && e.Track.Kind == translate.Video
	})
	if gone.Track.Width != 320 || gone.Track.Height != 240 {
		t.Errorf("track gone webhook lacks the size: %+v", gone)
	}
	_, err := s.sfu.Participant(deadline(t, patience), room(t), id)
	wantKind(t, err, translate.ErrKindNotFound)
	if err := s.sfu.Remove(deadline(t, patience), "no such room", id); err != nil {
		t.Errorf("removing from a missing room: %v", err)
	}
	list, err := s.sfu.Participants(deadline(t, patience), "no such room")
	if err != nil || len(list) != 0 {
		t.Errorf("missing room has %v, %v", list, err)
	}
}

func testReplaced(t *testing.T, s *stage) {
	id := publisher()
	peer, first := s.publish(t, id, rig.PeerOptions{})
	up(t, peer)
	s.await(t, translate.EventJoined, room(t), id)
	_, second := s.publish(t, id, rig.PeerOptions{})
	if first.SID == second.SID {
		t.Fatal("the second participant has the SID of the first")
	}
	left := s.await(t, translate.EventLeft, room(t), id)
	if left.Reason != translate.EndReplaced || left.SID != first.SID {
		t.Errorf("left webhook is %+v, want that of %s", left, first.SID)
	}
	if p := s.find(t, id); p.SID != second.SID {
		t.Errorf("listed participant %s, want %s", p.SID, second.SID)
	}
}

// LiveKit's own timeouts are 20 s and 300 s.
func testRoomEnds(t *testing.T, s *stage) {
	id := publisher()
	peer, _ := s.publish(t, id, rig.PeerOptions{Audio: true})
	up(t, peer)
	if err := s.sfu.Remove(deadline(t, patience), room(t), id); err != nil {
		t.Fatal(err)
	}
	s.await(t, translate.EventRoomEnded, room(t), "")
}

func testVanished(t *testing.T, s *stage) {
	id := publisher()
	peer, _ := s.publish(t, id, rig.PeerOptions{})
	up(t, peer)
	s.await(t, translate.EventJoined, room(t), id)
	peer.Close()
	if left := s.awaitLong(t, translate.EventLeft, id); left.Reason != translate.EndTimeout {
		t.Errorf("left webhook is %+v", left)
	}
}

// A client that has the port of one that vanished, and another when LiveKit has ended both.
func testPortAgain(t *testing.T, s *stage) {
	o, first, second := rig.PeerOptions{Port: rig.FreePort(t)}, publisher(), publisher()
	vanished, _ := s.publish(t, first, o)
	up(t, vanished)
	vanished.Close()
	peer := rig.NewPublisher(t, o)
	answer, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{Room: room(t), Identity: second, SDP: peer.Offer()})
	if err != nil {
		t.Fatal(err)
	}
	peer.SetAnswer(answer.SDP)
	if aborted := s.awaitLong(t, translate.EventAborted, second); aborted.Reason != translate.EndTimeout {
		t.Errorf("aborted webhook is %+v", aborted)
	}
	peer.Close()
	s.awaitLong(t, translate.EventLeft, first)
	third, _ := s.publish(t, publisher(), o)
	up(t, third)
}

func testNeverUp(t *testing.T, s *stage) {
	id := publisher()
	_, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{
		Room: room(t), Identity: id, SDP: rig.NewPublisher(t, rig.PeerOptions{}).Offer(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := s.find(t, id); p.SID == "" || p.Active {
		t.Errorf("participant without media is listed as %+v", p)
	}
	if aborted := s.awaitLong(t, translate.EventAborted, id); aborted.Reason != translate.EndTimeout {
		t.Errorf("aborted webhook is %+v", aborted)
	}
}
