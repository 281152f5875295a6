package session

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/ends"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// handleStop handles unPublishStream and stopStream. Clients repeat them for streams that have ended; that
// has no effect.
func handleStop(s *Session, ref wcs.StreamRef) error {
	st := s.streams[ref.MediaSessionID]
	if st == nil {
		return nil
	}
	st.notifyStop()
	st.end(endCause{status: st.stopped, info: st.stopInfo, reason: ends.Stopped, afterCleanup: true})
	return nil
}

// publisher is the role of a stream that a client publishes.
type publisher struct{}

func (publisher) start(ctx context.Context, st *stream) (got started, err error) {
	s := st.sess
	t := s.table
	checked, err := translate.CheckPublishOffer(st.req.SDP)
	if err != nil {
		return got, err // nothing was claimed
	}
	got.room = s.app.Room.Room(s.app.Key, st.name)
	var offer translate.EditedOffer
	fault := errPanic // unless the edit returns
	var editing sync.WaitGroup
	defer editing.Wait() // it reads the request
	editing.Go(func() {  // while Redis answers the claim
		defer t.Recovered()
		offer, fault = checked.Edit(translate.PublishEdit{Codecs: s.app.Codecs, KeepVideoOrientation: bool(st.req.CVOExtension)})
	})
	if s.app.Native.Plays() {
		if err := s.rejectNativeName(ctx, got.room); err != nil {
			return got, err
		}
	}
	got.claimed, err = claim(ctx, st, got.room)
	editing.Wait()
	if err = cmp.Or(err, fault); err != nil {
		return got, err
	}
	release, err := st.turn(ctx)
	if err != nil {
		return got, err
	}
	defer release()
	// A stop does not cancel the call: LiveKit would go on with half the request, and its participant could
	// appear after its removal.
	sfuCtx, cancel := t.timeout(t.Config.Media.SFUTimeout)
	defer cancel()
	since := time.Now()
	answer, err := t.SFU.Publish(st.trace.In(sfuCtx), translate.PublishOffer{Room: got.room, Identity: st.identity, MediaID: st.id, SDP: offer.SDP})
	got.sfuTime = time.Since(since)
	got.offered = !errors.Is(err, translate.ErrNotSent)
	if err != nil {
		return got, err
	}
	edit := translate.AnswerEdit{Fixes: offer.Fixes, TCPOnly: wantsTCP(st.req)}
	if !s.knowsBitrates && !bool(st.req.LocalMediaInfo) {
		edit.MinBitrate, edit.MaxBitrate = int(st.req.MinBitrate), int(st.req.MaxBitrate)
	}
	_, err = finishAnswer(st, &got, answer, edit)
	return got, err
}

// rejectNativeName rejects a name under which a native participant publishes.
func (s *Session) rejectNativeName(ctx context.Context, room translate.RoomName) error {
	ctx, cancel := context.WithTimeout(ctx, s.table.Config.Media.SFUTimeout)
	defer cancel()
	_, err := s.table.nativePublisher(ctx, room)
	switch {
	case err == nil:
		return state.ErrNameTaken
	case errors.Is(err, errNoStream):
		return nil
	}
	return err
}

// claim claims name and media id. It waits for a name that this pod is about to release: clients publish
// again under it as soon as their socket is closed. For a name whose publisher might be dead, it checks the
// publisher. claimed is true if something may be in Redis.
func claim(ctx context.Context, st *stream, room translate.RoomName) (claimed bool, err error) {
	t := st.sess.table
	rec := st.firstRecord(room)
	for displaced := false; ; {
		released := t.streams.release(st.name)
		claimed, err = claimOnce(ctx, st, rec)
		switch {
		case !errors.Is(err, state.ErrNameTaken):
			return claimed, err
		case released != nil:
			select {
			case <-released:
			case <-ctx.Done():
				return false, ctx.Err()
			}
		case displaced:
			return false, err
		default:
			if freed, cause := t.displace(ctx, st); cause != nil || !freed {
				return false, cmp.Or(cause, err)
			}
			displaced = true
		}
	}
}

func claimOnce(ctx context.Context, st *stream, rec state.Stream) (claimed bool, err error) {
	err = st.sess.table.Store.ClaimStream(ctx, rec)
	return !isAny(err, state.ErrNameTaken, state.ErrMediaIDTaken, state.ErrLeaseStale), err
}

// finishAnswer edits LiveKit's answer for the client.
func finishAnswer(st *stream, got *started, answer translate.Answer, edit translate.AnswerEdit) (translate.AnswerNotes, error) {
	sdp, notes, err := translate.EditAnswer(answer.SDP, edit)
	if err != nil {
		return notes, &translate.Error{Kind: translate.ErrKindUnavailable, Op: "read answer", Err: err}
	}
	if notes.NoTCPCandidate {
		st.sess.log(zerolog.WarnLevel).Str("media", st.id).
			Str("hint", "set rtc.tcp_port in LiveKit's configuration").Msg("LiveKit offers no TCP candidate")
	}
	got.sdp, got.kinds, got.candidates = sdp, notes.Kinds, notes.Candidates
	return notes, nil
}

// mediaReady reports whether media of every accepted m-line has arrived, or of one of two while the other is
// overdue.
func (publisher) mediaReady(st *stream) bool {
	_, audio := st.tracks[translate.Audio]
	_, video := st.tracks[translate.Video]
	switch {
	case audio == st.kinds.Audio && video == st.kinds.Video:
		return audio || video
	case !audio && !video:
		return false
	case !st.awaitingSecond:
		st.awaitingSecond = true
		st.after(st.sess.table.Config.Media.SecondTrackWait, func() {
			st.secondOverdue = true
			st.progress()
		})
	}
	return st.secondOverdue
}

// onMedia runs when the stream's record is written. Only then other pods can find the stream, and the client
// can have others play it.
func (publisher) onMedia(st *stream) {
	st.startEgresses()
	st.announce()
	st.updateRoom()
	st.startRates()
	st.relay.next() // mutes before PUBLISHING
}

// write writes the record and notifies the pods with players. A record that Redis lost is claimed again.
// Another pod can take such a claim in a later generation before the record is written: the next claim then
// reports that.
func (publisher) write(ctx context.Context, st *stream, rec state.Stream) error {
	t := st.sess.table
	pods, err := t.Store.PutStream(ctx, rec)
	for isAny(err, state.ErrLostOwnership, state.ErrNotFound) {
		if err = t.Store.ClaimStream(ctx, rec); err != nil {
			break
		}
		pods, err = t.Store.PutStream(ctx, rec)
	}
	if err != nil {
		pods = []string{t.Config.Pod} // the players of this pod get the change in any case
	}
	t.Bus.Notify(ctx, pods, state.Event{Kind: state.EventChanged, Name: rec.Name, Room: rec.Room, Stream: &rec, Data: st.writer.inFlight})
	return err
}

func (publisher) release(ctx context.Context, st *stream) error {
	t := st.sess.table
	pods, err := t.Store.ReleaseStream(ctx, state.Stream{Name: st.name, MediaID: st.id, Identity: string(st.identity), Generation: st.sess.generation})
	if err != nil {
		return unlessGone(err) // never claimed, or taken over by a pod that notified the players
	}
	// Players of this pod were notified at the end; this notifies later ones.
	ended := state.Event{Kind: state.EventEnded, Name: st.name, Stream: &state.Stream{Name: st.name, Identity: string(st.identity)}}
	if t.Bus.Notify(ctx, pods, ended) > 0 && !st.ending.handedOver { // of a handed-over stream, the end may have been on another pod
		t.Metrics.observeNotification(notifyTiming{stageAnnounce, st.ending.since})
	}
	return nil
}
