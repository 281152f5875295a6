package session

import (
	"wcsgateway/gateway/reconcile"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// onEvent takes what a webhook tells about the stream's own participant.
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
		st.lost(e.Reason)
	case translate.EventEgress:
		st.egresses.OnWebhook(e.Egress)
	case translate.EventTrackGone, translate.EventRoomStarted, translate.EventRoomEnded: // an end of the participant follows, or it is found out by asking
	}
	st.progress()
}

// onObserved takes the result of a poll of LiveKit. It contains all that webhooks report, and sizes.
func (st *stream) onObserved(o reconcile.Observation) {
	switch {
	case st.ending != nil:
		return
	case !o.SelfPresent && !st.joined:
		st.lost(translate.EndTimeout) // LiveKit gives up on a participant whose ICE or DTLS does not come up
		return
	case !o.SelfPresent:
		st.lost(translate.EndUnknown)
		return
	case !st.published && !o.PublisherPresent, !st.published && st.publisher.Native() && len(st.played(o.Publisher.Tracks)) == 0:
		st.publisherGone(st.publisher, notifyTiming{})
		return
	}
	st.joined = st.joined || o.Self.Active
	if st.published {
		st.learnFromSFU(o.Self.Tracks)
	} else {
		st.learnFromSFU(st.played(o.Publisher.Tracks))
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

// played is what of the publisher's tracks the player has.
func (st *stream) played(tracks []translate.Track) (mine []translate.Track) {
	for _, t := range tracks {
		if st.tracks[t.Kind].Name == t.Name {
			mine = append(mine, t)
		}
	}
	return mine
}

// learn takes over what is new about the tracks. A webhook's track has no size yet: it does not undo one that is known.
func (st *stream) learn(tracks []translate.Track) {
	resized, changed := false, false
	for _, t := range tracks {
		old, known := st.tracks[t.Kind]
		if known && (t.Width == 0 || t.Height == 0) {
			t.Width, t.Height = old.Width, old.Height
		}
		if known && t == old {
			continue
		}
		changed = true
		resized = resized || t.Width != old.Width || t.Height != old.Height
		st.tracks[t.Kind] = t
	}
	switch {
	case st.phase != phaseUp:
	case st.published && changed:
		st.writer.save(nil)
	case !st.published && resized:
		st.tellFormat()
	}
}

// lost ends the stream because LiveKit let its participant go.
func (st *stream) lost(r translate.EndReason) {
	c := classUpstream
	if r == translate.EndTimeout { // the client's network, as a rule
		c = classClient
	}
	st.end(ending{status: wcs.StatusFailed, info: translate.InfoForEnd(r, st.joined || st.phase == phaseUp), class: c})
}

// publisherChanged tells a player what is new about its stream.
func (st *stream) publisherChanged(pod string, rec state.Stream, said []state.StreamNotice) {
	if st.phase < phaseConnecting { // onStarted goes on, when it knows whose player it is
		st.pendingUpdate = rec
		return
	}
	if st.ending != nil || rec.Identity != string(st.publisher) {
		return
	}
	st.publisherPod = pod
	st.onPublisherNotice(said, rec)
	var tracks []translate.Track
	for _, t := range rec.Tracks {
		old := st.tracks[translate.Kind(t.Kind)]
		if old.Name == t.Name {
			old.Width, old.Height = t.Width, t.Height
			tracks = append(tracks, old)
		}
	}
	st.learn(tracks)
}

// publisherGone ends a player whose stream has ended. It may be repeated.
func (st *stream) publisherGone(publisher translate.Identity, timing notifyTiming) {
	if st.published || st.publisher != publisher || st.publisher == "" {
		return
	}
	st.end(ending{status: wcs.StatusFailed, info: wcs.InfoStoppedByPublisherStop, class: classOK, timing: timing})
}
