package session

import (
	"wcsgateway/gateway/reconcile"
	"wcsgateway/translate"
)

// Identity implements reconcile.Stream, as the methods below do.
func (st *stream) Identity() translate.Identity { return st.identity }

// Publisher returns the identity of a player's publisher. It does not change once the stream is polled.
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

// PublisherLeft ends the stream if it is a player of this publisher.
func (st *stream) PublisherLeft(publisher translate.Identity) {
	st.sess.loop.Post(func() { st.onPublisherEnded(publisher, notifyTiming{}) })
}
