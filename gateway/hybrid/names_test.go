package hybrid

import (
	"fmt"
	"testing"

	"wcsgateway/gateway/upstream"
	"wcsgateway/translate/wcs"
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

// A question about a name does not decide the side of its media id.
func TestQuestionThatWentUpstreamFixesNoSide(t *testing.T) {
	for _, question := range []wcs.Name{wcs.CmdAvailableStream, wcs.CmdSnapshot} {
		srv := newServer(t)
		s := newPod(t, srv.url, nil).session(false, nil)
		ask, publish := command(question, "id", "x"), command(wcs.CmdPublishStream, "id", "x")
		s.sends(ask)
		v := srv.welcome()
		v.want(ask)
		s.sends(publish) // before the answer
		s.wantServed(wcs.CmdPublishStream)
		s.set(func() { s.own["id"] = true })
		answer := `{"message":"availableStream","data":[{"id":"id","status":"true"}]}`
		if question == wcs.CmdSnapshot {
			answer = `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"id","type":"snapshotCompleted","info":"cGljdHVyZQ=="}]}`
		}
		v.send(answer)
		s.want(answer)
		s.wantHere(command(wcs.CmdUnPublishStream, "id", "x"))
		v.send(status("id", "x", wcs.StatusFailed, "")) // of no stream that the client has there
		v.send(`{"message":"setRemoteSDP","data":["id","v=0",true]}`)
		v.send(`{"message":"availableStream","data":[{"id":"id","status":"true"}]}`)
		s.set(func() { s.own["id"] = false })
		s.sends(ask)
		v.want(ask)
		v.send(answer)
		s.want(answer)   // and nothing else before
		s.sends(publish) // after the answer
		s.wantServed(wcs.CmdPublishStream)
		s.wantQuiet()
	}
}
