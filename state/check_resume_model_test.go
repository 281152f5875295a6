package state

import (
	"slices"
	"strings"
)

// What must hold of kept sessions.

// checkSessions: a registration that was replaced, or has ended, does not come back, and nothing happens to
// one that nobody takes.
func (w *world) checkSessions(t *task, before, now snapshot) {
	for key, was := range before.owned {
		is, ok := now.owned[key]
		if !strings.HasPrefix(key, "session:") || ok && is.entry == was.entry {
			continue
		}
		if ok || now.ended[key] {
			w.check.past[was.entry] = true
		}
	}
	for key, is := range now.owned {
		if before.owned[key] != is && w.check.past[is.entry] && strings.HasPrefix(key, "session:") && !(t == nil && w.isPlain(is.entry)) {
			w.fail("%s is %v again", key, is)
		}
	}
	for _, v := range w.visits {
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

// refused tells whether the pod has found that another registration stands in place of its own.
func (s *stay) refused() bool {
	_, known := s.pod.sessions.known[s.rec.ID]
	return s.pod.kept[s.rec.ID] == s && !s.over && !s.expiring && !known
}

// isPlain: nobody can take it, so it does no harm when it is written very late.
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

// moves: a pod that has taken a session changes what belongs to another.
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
		if h.stay != nil && h.entry.String() == was.entry && theirs {
			return h.stay.visit.holder.pod == p || t == nil || w.removed[h.entry.identity]
		}
	}
	return false
}

// adoptedFrom: a player that is written once more just as another pod adopts it. Whose it was looks again, if
// it lives.
func (w *world) adoptedFrom(key string, o owned) bool {
	return w.check.written[key] > 1 && slices.ContainsFunc(w.podOf(o.owner).holdings, func(h *holding) bool {
		return h.player && h.stay != nil && !h.stay.rightful() && h.entry.String() == o.entry
	})
}

// retaken: a stream that a pod could not adopt and has ended, and that the pod before adopts once more,
// because it was not answered. What the first does to be able to release it goes against the second.
func (w *world) retaken(o owned) bool {
	return slices.ContainsFunc(w.holdings(), func(h *holding) bool {
		return h.from != nil && h.entry.String() == o.entry && w.removed[h.entry.identity]
	})
}

// checkToken: it works once.
func (w *world) checkToken(v *visit, token TokenHash) {
	if v.used[token] {
		w.fail("the token %x of %s works twice", token[:claimBytes], v.id)
	}
	v.used[token] = true
}

// checkBelieves is told that a pod has ended a session: nobody may have taken it.
func (w *world) checkBelieves(s *stay) {
	h := s.visit.holder
	if h != s && !h.over && !h.expiring && !h.unsure && !s.unsure && !w.check.everTaken[h.owner] && len(s.visit.tried) == 0 {
		w.fail("%s has ended the session that %s has", s, h)
	}
}

// mediaIsOthers tells whether somebody has the media id of what was adopted. A dead pod's is free as soon as
// another has begun to take over from it, and the stream may be adopted even then.
func (w *world) mediaIsOthers(h *holding) bool {
	o, taken := w.check.last.owned["media:"+h.entry.media]
	return taken && o.entry != h.entry.String()
}

// remove is told that a pod has LiveKit end the participant of what it has.
func (w *world) remove(h *holding) { w.checkRemoval(h.pod, h.entry, h) }

// removeOrphan is told that a pod ends the participant of what it has released in place of another.
func (w *world) removeOrphan(p *modelPod, o Orphan) {
	if o.Player != nil {
		w.checkRemoval(p, entryOfPlayer(*o.Player), nil)
		return
	}
	w.checkRemoval(p, entryOfStream(*o.Stream), nil)
}

// checkRemoval: nobody ends what another has adopted and has.
func (w *world) checkRemoval(p *modelPod, e entry, mine *holding) {
	if p.gone || w.removed[e.identity] {
		return
	}
	w.removed[e.identity] = true
	for _, h := range w.holdings() {
		if h == mine || h.entry != e || !h.taken || h.phase != held {
			continue
		}
		if h.stay.rightful() && !h.stay.unsure && !h.moved && !h.unsure && !h.pod.gone && !w.check.everTaken[h.owner] {
			w.fail("%s has ended the participant of %s", p.id, h)
		}
	}
}
