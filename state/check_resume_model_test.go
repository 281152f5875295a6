package state

import (
	"slices"
	"strings"
)

// Invariants of resumable sessions.

// checkSessions: a replaced or ended registration does not return, and a registration that is not taken does
// not change.
func (w *world) checkSessions(t *task, before, now snapshot) {
	for key, was := range before.owned {
		is, ok := now.owned[key]
		if !strings.HasPrefix(key, "session:") || ok && is.entry == was.entry {
			continue
		}
		if ok || now.ended[key] != "" {
			w.check.past[was.entry] = true
		}
	}
	for key, is := range now.owned {
		if before.owned[key] != is && w.check.past[is.entry] && strings.HasPrefix(key, "session:") && !(t == nil && w.isPlain(is.entry)) {
			w.fail("%s is %v again", key, is)
		}
	}
	for _, v := range w.clients {
		s := v.holder
		is := now.owned["session:"+v.id]
		if is.entry == s.rec.registration().String() {
			s.seen, s.unsure = true, false
			continue
		}
		if s.refused() && strings.HasSuffix(is.entry, " "+v.id) && !w.check.everTaken[s.owner] && len(v.tried) == 0 {
			w.fail("%s has given way to %v", s, is)
		}
		if s.seen && !s.over && !s.expiring && !s.unsure && !w.check.everTaken[s.owner] && len(v.tried) == 0 {
			w.fail("%s is not registered any more: %v", s, is)
		}
	}
}

// refused reports whether the pod found another registration in place of its own.
func (s *modelSession) refused() bool {
	_, known := s.pod.sessions.known[s.rec.ID]
	return s.pod.kept[s.rec.ID] == s && !s.over && !s.expiring && !known
}

// isPlain: no pod can take the session, so a very late write does no harm.
func (w *world) isPlain(registration string) bool {
	for _, p := range w.pods {
		for _, s := range p.stays {
			if s.plain && s.rec.registration().String() == registration {
				return true
			}
		}
	}
	return false
}

// moves: a pod that took a session changes records of another.
func (w *world) moves(key string, p *modelPod, t *task, was owned, now snapshot) bool {
	if strings.HasPrefix(key, "session:") {
		is, ok := now.owned[key]
		return ok && strings.HasPrefix(is.owner, p.id+"/") && is.entry != was.entry
	}
	theirs := false
	for _, is := range now.owned {
		theirs = theirs || is.entry == was.entry && strings.HasPrefix(is.owner, p.id+"/")
	}
	for _, h := range w.holdings() {
		if h.session != nil && h.entry.String() == was.entry && theirs {
			return h.session.client.holder.pod == p || t == nil || w.removed[h.entry.identity]
		}
	}
	return false
}

// adoptedFrom: a player was written again just as another pod adopted it. Its previous owner checks again, if
// it lives.
func (w *world) adoptedFrom(key string, o owned) bool {
	return w.check.written[key] > 1 && slices.ContainsFunc(w.podOf(o.owner).holdings, func(h *holding) bool {
		return h.player && h.session != nil && !h.session.rightful() && h.entry.String() == o.entry
	})
}

// retaken: a pod could not adopt a stream and ended it, and the previous pod adopts it again, because its
// adoption was not answered. The first pod's steps to be able to release the stream conflict with the
// second's.
func (w *world) retaken(o owned) bool {
	return slices.ContainsFunc(w.holdings(), func(h *holding) bool {
		return h.from != nil && h.entry.String() == o.entry && w.removed[h.entry.identity]
	})
}

// checkToken: a token works once.
func (w *world) checkToken(v *modelClient, token TokenHash) {
	if v.used[token] {
		w.fail("the token %x of %s works twice", token[:claimBytes], v.id)
	}
	v.used[token] = true
}

// checkBelieves checks that no pod took a session that a pod ended.
func (w *world) checkBelieves(s *modelSession) {
	h := s.client.holder
	if h != s && !h.over && !h.expiring && !h.unsure && !s.unsure && !w.check.everTaken[h.owner] && len(s.client.tried) == 0 {
		w.fail("%s has ended the session that %s has", s, h)
	}
}

// endedInDoubt reports whether a pod ended the session because it could not know whether it had taken it.
func (w *world) endedInDoubt(v *modelClient) bool {
	return v.uncertain[w.check.last.ended["session:"+v.id]]
}

// remove is called when a pod makes LiveKit end the participant of its holding.
func (w *world) remove(h *holding) { w.checkRemoval(h.pod, h.entry, h) }

// removeOrphan is called when a pod ends the participant of a record that it released in place of another.
func (w *world) removeOrphan(p *modelPod, o Orphan) {
	if o.Player != nil {
		w.checkRemoval(p, entryOfPlayer(*o.Player), nil)
		return
	}
	w.checkRemoval(p, entryOfStream(*o.Stream), nil)
}

// checkRemoval: no pod ends a participant that another pod adopted and has.
func (w *world) checkRemoval(p *modelPod, e entry, mine *holding) {
	if p.gone || w.removed[e.identity] {
		return
	}
	w.removed[e.identity] = true
	for _, h := range w.holdings() {
		if h == mine || h.entry != e || !h.taken || h.phase != held || w.endedInDoubt(h.session.client) {
			continue
		}
		if h.session.rightful() && !h.session.unsure && !h.moved && !h.unsure && !h.pod.gone && !w.check.everTaken[h.owner] {
			w.fail("%s has ended the participant of %s", p.id, h)
		}
	}
}
