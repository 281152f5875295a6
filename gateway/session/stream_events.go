package session

import (
	"fmt"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/reconcile"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// onEvent handles a webhook about the stream's own participant.
func (st *stream) onEvent(e translate.Event) {
	if st.ending != nil {
		return
	}
	switch e.Kind {
	case translate.EventJoined:
		st.joined = true
	case translate.EventTrack:
		if st.published {
			st.joined = true
			st.learnFromSFU([]translate.Track{e.Track})
		}
	case translate.EventLeft, translate.EventAborted:
		// LiveKit's own repetition replaces a participant (docs/livekit-notes.md#whip). The start of a player
		// returns why it ended its participant.
		if e.Reason != translate.EndReplaced && (st.published || st.phase != phaseStarting) {
			st.lost(e.Reason)
		}
	case translate.EventEgress:
		st.egresses.OnWebhook(e.Egress)
	case translate.EventTrackGone, translate.EventRoomStarted, translate.EventRoomEnded: // the end of the participant follows, or polling finds it
	}
	st.progress()
}

// onObserved takes the result of a poll of LiveKit. It contains all that webhooks report, and sizes.
func (st *stream) onObserved(o reconcile.Observation) {
	switch {
	case st.ending != nil:
		return
	case !o.SelfPresent && !st.joined:
		st.lost(translate.EndTimeout) // LiveKit drops participants whose ICE or DTLS does not come up
		return
	case !o.SelfPresent:
		st.lost(translate.EndAbsent)
		return
	case !st.published && !o.PublisherPresent, !st.published && st.publisher.Native() && len(st.played(o.Publisher)) == 0:
		st.onPublisherEnded(o.Asked, notifyTiming{})
		return
	}
	st.joined = st.joined || o.Self.Active
	if st.published {
		st.learnFromSFU(o.Self.Tracks)
	} else {
		st.learnFromSFU(st.played(o.Publisher))
	}
	st.progress()
	if !st.published {
		st.applyMutes(o.PublisherMutes)
	} else if st.relay.mutes != st.mutes.Changes || o.Self.Mutes.Changes < st.mutes.Changes {
		st.relay.mutes = o.Self.Mutes.Changes
		st.relay.next()
	}
	if st.writer.unsaved && !st.writer.saving && st.phase == phaseUp {
		st.writer.save(nil)
	}
}

// played returns the native publisher's tracks that the player plays: none if the publisher has reconnected.
func (st *stream) played(publisher translate.Participant) (mine []translate.Track) {
	if publisher.SID != st.publisherSID {
		return nil
	}
	for _, t := range publisher.Tracks {
		if st.tracks[t.Kind].Name == t.Name {
			mine = append(mine, t)
		}
	}
	return mine
}

// updateTracks applies changes of the tracks, except for known sizes with keepSizes. A webhook's track has no
// size yet; a known size is kept.
func (st *stream) updateTracks(tracks []translate.Track, keepSizes bool) {
	changed := false
	for _, t := range tracks {
		old, known := st.tracks[t.Kind]
		if known && (keepSizes || t.Width == 0 || t.Height == 0) {
			t.Width, t.Height = old.Width, old.Height
		}
		if known && t == old {
			continue
		}
		changed = true
		st.tracks[t.Kind] = t
	}
	if st.published && changed && st.phase == phaseUp {
		st.writer.save(nil)
	}
	st.showFormat()
}

// lost ends the stream because its participant left LiveKit.
func (st *stream) lost(r translate.EndReason) {
	reason, info := ends.ByLiveKit(r, st.joined || st.phase == phaseUp)
	st.end(endCause{status: wcs.StatusFailed, info: info, reason: reason, err: fmt.Errorf("participant ended by LiveKit: %s", r)})
}

// onPublisherChanged applies a changed record of the player's stream, and the publisher's events.
func (st *stream) onPublisherChanged(pod string, rec state.Stream, data [][]byte) {
	if st.phase < phaseConnecting { // onStarted applies it
		st.pendingUpdate = rec
		return
	}
	if st.ending != nil || rec.Identity != string(st.publisher) {
		return
	}
	st.publisherPod = pod
	st.applyMutes(mutesOf(rec))
	st.onPublisherData(data)
	var tracks []translate.Track
	for _, t := range rec.Tracks {
		old := st.tracks[translate.Kind(t.Kind)]
		if old.Name == t.Name {
			old.Width, old.Height = t.Width, t.Height
			tracks = append(tracks, old)
		}
	}
	st.updateTracks(tracks, false)
}

// onPublisherEnded ends a player of a stream that ended, or has it follow its source. It can be repeated.
func (st *stream) onPublisherEnded(publisher translate.Identity, timing notifyTiming) {
	if st.published || st.publisher != publisher || st.publisher == "" || st.following {
		return
	}
	if publisher.Native() {
		st.sess.table.Natives.Forget(st.room)
	}
	e := endCause{status: wcs.StatusFailed, info: wcs.InfoStoppedByPublisherStop, reason: ends.PublisherEnded, timing: timing}
	if st.pull != nil {
		st.pullEnded(e)
		return
	}
	st.end(e)
}

// Identity implements reconcile.Stream, as the methods below do.
func (st *stream) Identity() translate.Identity { return st.identity }

// Publisher returns the identity of a player's publisher.
func (st *stream) Publisher() translate.Identity { return st.publisher }

// Published reports whether this is a publisher's stream.
func (st *stream) Published() bool { return st.published }

// Up reports whether the stream's media is up.
func (st *stream) Up() bool { return st.settled.Load() }

// Observe posts the result of a poll to the loop.
func (st *stream) Observe(o reconcile.Observation) {
	st.sess.loop.Post(func() { st.onObserved(o) })
}

// Lost ends the stream because its participant is gone.
func (st *stream) Lost(r translate.EndReason) { st.sess.loop.Post(func() { st.lost(r) }) }

// PublisherLeft ends the stream if it is a player of this native publisher's connection.
func (st *stream) PublisherLeft(publisher translate.Identity, sid string) {
	st.sess.loop.Post(func() {
		if sid == st.publisherSID {
			st.onPublisherEnded(publisher, notifyTiming{})
		}
	})
}
