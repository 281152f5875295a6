package session

import (
	"maps"
	"slices"
	"sync"

	"wcsgateway/translate"
)

// registry finds the streams of this pod for events from LiveKit and from other pods. It is an index of live
// objects.
type registry struct {
	mu         sync.Mutex
	byIdentity map[translate.Identity]*stream
	players    map[string]map[*stream]struct{}       // by stream name
	ending     map[string]chan struct{}              // names that this pod is releasing; closed when they are free
	waiting    map[string]map[chan struct{}]struct{} // plays that wait for a name; closed when it is PUBLISHING
}

func newRegistry() *registry {
	return &registry{
		byIdentity: make(map[translate.Identity]*stream),
		players:    make(map[string]map[*stream]struct{}),
		ending:     make(map[string]chan struct{}),
		waiting:    make(map[string]map[chan struct{}]struct{}),
	}
}

func (r *registry) add(st *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byIdentity[st.identity] = st
	if st.published {
		return
	}
	if r.players[st.name] == nil {
		r.players[st.name] = make(map[*stream]struct{})
	}
	r.players[st.name][st] = struct{}{}
}

func (r *registry) remove(st *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byIdentity[st.identity] == st { // not the stream of a session that was resumed on this pod
		delete(r.byIdentity, st.identity)
	}
	delete(r.players[st.name], st)
	if len(r.players[st.name]) == 0 {
		delete(r.players, st.name)
	}
}

// rename replaces the identity under which a stream is found.
func (r *registry) rename(old translate.Identity, st *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byIdentity, old)
	r.byIdentity[st.identity] = st
}

func (r *registry) find(id translate.Identity) *stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byIdentity[id]
}

func (r *registry) all() []*stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.AppendSeq(make([]*stream, 0, len(r.byIdentity)), maps.Values(r.byIdentity))
}

func (r *registry) playersOf(name string) []*stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.AppendSeq(make([]*stream, 0, len(r.players[name])), maps.Keys(r.players[name]))
}

// releasing records that the name's publisher on this pod has ended and that the name will be free soon.
func (r *registry) releasing(name string) (released func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := make(chan struct{})
	r.ending[name] = done
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(done)
		if r.ending[name] == done {
			delete(r.ending, name)
		}
	}
}

// release returns a channel that is closed when a name that this pod is releasing is free, nil if there is
// none.
func (r *registry) release(name string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending[name]
}

// awaitPublished returns a channel that is closed when the stream is PUBLISHING. Call it before
// looking the stream up, so that the event in between is not missed, and call stop afterwards.
func (r *registry) awaitPublished(name string) (published <-chan struct{}, stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := make(chan struct{})
	if r.waiting[name] == nil {
		r.waiting[name] = make(map[chan struct{}]struct{})
	}
	r.waiting[name][ch] = struct{}{}
	return ch, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting[name], ch)
		if len(r.waiting[name]) == 0 {
			delete(r.waiting, name)
		}
	}
}

func (r *registry) published(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ch := range r.waiting[name] {
		close(ch)
	}
	delete(r.waiting, name)
}
