package hybrid

import (
	"fmt"
	"testing"

	"wcsgateway/gateway/upstream"
)

// fail lets writes of names fail from now on, or not any more. It returns the number of recorded names.
func (k *tokens) fail(failing bool) (recorded int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing = failing
	return len(k.names)
}

func TestNamesAreWrittenInPartsAndAgainAfterAFailure(t *testing.T) {
	p := newPod(t, newServer(t).url, nil)
	const n = 3*maxNames + 1
	each := func(f func(place)) {
		for i := range n {
			f(place{Upstream: "old", Name: fmt.Sprint(i)})
		}
	}
	pass := func(failing bool, recorded int) {
		t.Helper()
		p.kept.fail(failing)
		if p.clients.passNames(false) == failing {
			t.Errorf("failing %v: wrong result", failing)
		}
		if got := p.kept.fail(false); got != recorded {
			t.Errorf("%d names are recorded, want %d", got, recorded)
		}
	}
	each(func(at place) { p.clients.published.count(at, 1); p.clients.published.confirm(at) })
	pass(true, 0)
	pass(false, n)
	each(func(at place) { p.clients.published.count(at, -1) })
	pass(true, n)
	pass(false, 0)
	for i := range maxKept + 2 {
		p.clients.published.keep([]place{{Upstream: "old", Name: fmt.Sprint(i)}})
	}
	if kept := len(p.clients.published.changed); kept > maxKept {
		t.Errorf("%d names are kept, at most %d", kept, maxKept)
	}
}

func TestNameStaysPublishedWhenItsServerIsReplaced(t *testing.T) {
	p := newPod(t, newServer(t).url, nil)
	before := p.session(true, nil)
	p.clients.published.count(before.client.at("s"), 1)
	next, err := upstream.NewServer(upstream.ServerConfig{Name: "old", URL: "ws://other.example"})
	if err != nil {
		t.Fatal(err)
	}
	after := p.session(false, func(a *App) { a.Upstream = next })
	if !after.client.publishedThere("s") {
		t.Error("the name is free after a reload")
	}
}
