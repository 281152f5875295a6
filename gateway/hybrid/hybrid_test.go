package hybrid

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/gateway/upstream"
	"wcsgateway/translate/wcs"
)

func TestUpstreamGetsConnectionWithoutOurTokenAndUnchangedCommands(t *testing.T) {
	srv := newServer(t)
	s := newPod(t, srv.url, nil).session(true, nil)
	publish := command(wcs.CmdPublishStream, "p", "room one")
	s.sends(publish)
	v := srv.next()
	hello := v.read()
	for _, absent := range []string{"secret-of-gateway", "keepAlive", "sipLogin"} {
		if strings.Contains(hello, absent) {
			t.Errorf("the upstream gets %s in %s", absent, hello)
		}
	}
	if want := `{"message":"connection","data":[{"appKey":"a","custom":{"x":1}}]}`; hello != want {
		t.Errorf("connection %s, want %s", hello, want)
	}
	for header, want := range map[string]string{"X-Forwarded-For": "192.0.2.7", "Origin": "https://page.example", "User-Agent": "Browser", upstream.ViaHeader: "new"} {
		if got := v.request.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if v.request.RequestURI != "/path?q=1" {
		t.Errorf("target %s", v.request.RequestURI)
	}
	v.send(`{"message":"ping","data":[]}`)
	v.send(`{"message":"getUserData","data":[{"authToken":"secret-of-upstream","webRTCMetricsServerDescription":{"x":1}}]}`)
	got := []string{v.read(), v.read()}
	if got[0] != `{"message":"pong","data":[null]}` {
		got[0], got[1] = got[1], got[0]
	}
	if got[0] != `{"message":"pong","data":[null]}` || got[1] != publish {
		t.Errorf("the upstream gets %q", got)
	}
	answer := `{"message":"setRemoteSDP","data":["p","v=0",true]}`
	v.send(answer)
	s.want(answer)
	event := `{"message":"notifyStreamEvent", "data":[{"mediaSessionId":"p","type":"later","payload":{"a":[1]}}]}`
	v.send(event)
	s.want(event)
	stop := command(wcs.CmdUnPublishStream, "p", "room one")
	s.sends(stop)
	v.want(stop)
	s.wantQuiet()
}

func TestPlayPrefersStreamOfThisGateway(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(false, nil)
	s.set(func() { s.names["ours"] = true })
	for _, name := range []wcs.Name{wcs.CmdPlayStream, wcs.CmdAvailableStream, wcs.CmdSnapshot} {
		s.sends(command(name, "m", "ours"))
		s.wantServed(name)
	}
	if len(srv.came) > 0 {
		t.Error("a link was opened for a stream of this gateway")
	}
	s.wantHere(command(wcs.CmdStopStream, "m", "ours"))
	play := command(wcs.CmdPlayStream, "m2", "theirs")
	s.sends(play)
	v := srv.welcome()
	v.want(play)
	for _, frame := range []string{
		`{"message":"notifyAudioCodec","data":["m2",{"name":"opus"}]}`, `{"message":"setRemoteSDP","data":["m2","v=0",true]}`,
		status("m2", "theirs", wcs.StatusPlaying, ""), `{"message":"notifyVideoFormat","data":[{"mediaSessionId":"m2","streamerVideoWidth":1}]}`,
		`{"message":"outboundVideoRate","data":[{"mediaSessionId":"m2","videoRate":5}]}`,
	} {
		v.send(frame)
		s.want(frame)
	}
	if s.streams != 1 {
		t.Errorf("%d streams", s.streams)
	}
	event := `{"message":"sendStreamEvent","data":[{"mediaSessionId":"m2","type":"data","payload":1}]}`
	s.sends(event)
	v.want(event)
	stop := command(wcs.CmdStopStream, "m2", "theirs")
	s.sends(stop)
	v.want(stop)
	end := status("m2", "theirs", wcs.StatusStopped, "Stopped by user")
	v.send(end)
	s.want(end)
	s.wantHere(stop)
	if s.streams != 0 {
		t.Errorf("%d streams after the end", s.streams)
	}
	v.send(end)                                                                         // is about nothing
	p.wantFigure("dropped messages", p.clients.Metrics.Dropped.WithLabelValues("a"), 2) // with getVersion
	s.wantQuiet()
}

func TestCommandsWaitForLookInOrder(t *testing.T) {
	srv := newServer(t)
	s := newPod(t, srv.url, nil).session(true, nil)
	block := make(chan struct{})
	s.set(func() { s.block = block; s.names["here"] = true })
	play, stop := command(wcs.CmdPlayStream, "m", "there"), command(wcs.CmdStopStream, "m", "there")
	again := command(wcs.CmdPublishStream, "m", "there")
	s.sends(play)
	s.sends(stop)
	s.sends(again) // the stream has not ended
	s.sends(command(wcs.CmdPlayStream, "h", "here"))
	s.sends(command(wcs.CmdStopStream, "h", "here"))
	close(block)
	v := srv.welcome()
	v.want(play)
	v.want(stop)
	s.want(`"m"`, wcs.InfoMediaSessionIDAlreadyInUse)
	s.wantServed(wcs.CmdPlayStream)
	s.wantServed(wcs.CmdStopStream)
}

func TestNamePublishedOnOtherSideIsRejected(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	there, here := p.session(true, nil), p.session(false, nil)
	there.set(func() { there.names["ours"] = true })
	there.sends(command(wcs.CmdPublishStream, "a", "ours"))
	there.want(`"a"`, `"FAILED"`, wcs.InfoStreamNameAlreadyInUse)

	publish := command(wcs.CmdPublishStream, "b", "theirs")
	there.sends(publish)
	v := srv.welcome()
	v.want(publish)
	here.sends(command(wcs.CmdPublishStream, "c", "theirs"))
	here.want(`"c"`, `"FAILED"`, wcs.InfoStreamNameAlreadyInUse, `"published":true`)
	here.sends(command(wcs.CmdPublishStream, "d", "another"))
	here.wantServed(wcs.CmdPublishStream)
	v.send(status("b", "theirs", wcs.StatusUnpublished, ""))
	there.want("UNPUBLISHED")
	here.sends(command(wcs.CmdPublishStream, "c", "theirs"))
	here.wantServed(wcs.CmdPublishStream)
	if len(p.clients.published.clients) != 0 {
		t.Errorf("published names are kept: %v", p.clients.published)
	}
}

func TestAbsentNameIsRememberedForOneSecond(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s, other := p.session(false, nil), p.session(false, nil)
	ask := command(wcs.CmdAvailableStream, "q", "none")
	s.sends(ask)
	v := srv.welcome()
	v.want(ask)
	answer := `{"message":"availableStream","data":[{"id":"q","status":"false","info":"Stream not found"}]}`
	v.send(answer)
	s.want(answer)
	for range 100 {
		s.wantHere(ask)
		other.wantHere(command(wcs.CmdPlayStream, "m", "none"))
	}
	if n := len(s.lookedAt()) + len(other.lookedAt()); n != 1 {
		t.Errorf("%d looks", n)
	}
	at := place{Upstream: p.server.Name(), Name: "none"}
	p.clients.absent.Add(at, time.Now().Add(-absentFor))
	s.sends(ask)
	v.want(ask)
	v.send(`{"message":"availableStream","data":[{"id":"q","status":"false","info":"Restricted access"}]}`)
	s.want("Restricted")
	s.sends(ask) // it was not said to be absent
	v.want(ask)
	v.send(`{"message":"availableStream","data":[{"id":"q","status":"true"}]}`)
	s.want(`"true"`)

	play := command(wcs.CmdPlayStream, "m", "gone")
	s.sends(play)
	v.want(play)
	v.send(status("m", "gone", wcs.StatusFailed, wcs.InfoSessionDoesNotExist))
	s.want(wcs.InfoSessionDoesNotExist)
	s.wantHere(play)
	publisher := p.session(true, nil)
	publisher.sends(command(wcs.CmdPublishStream, "p", "gone"))
	at2 := srv.welcome()
	at2.read()
	at2.send(status("p", "gone", wcs.StatusPublishing, ""))
	publisher.want("PUBLISHING")
	s.sends(play)
	v.want(play)
	for i := range maxAbsent + 10 {
		s.client.remember(fmt.Sprint(i))
	}
	if n := p.clients.absent.Len(); n != maxAbsent {
		t.Errorf("%d names are remembered", n)
	}
}

func TestLostUpstreamEndsItsStreamsAndIsOpenedAgain(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(true, func(a *App) { a.SendData = true })
	s.sends(command(wcs.CmdPublishStream, "p", "one"))
	v := srv.welcome()
	v.read()
	v.send(status("p", "one", wcs.StatusPublishing, ""))
	s.want("PUBLISHING")
	s.sends(command(wcs.CmdAvailableStream, "q", "two"))
	v.read()
	s.sends(command(wcs.CmdSnapshot, "s", "two"))
	v.read()
	s.sends(`{"message":"sendData","data":[{"operationId":"op","payload":1}]}`)
	v.read()
	_ = v.ws.Close()
	got := map[string]bool{}
	for range 4 {
		got[<-s.got] = true
	}
	all := fmt.Sprint(got)
	for _, want := range []string{`"mediaSessionId":"p"`, `"FAILED"`, `"id":"q","status":"false"`, "snapshotFailed", `"operationId":"op"`, "Upstream server is not available"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
	if s.streams != 0 {
		t.Errorf("%d streams", s.streams)
	}
	p.wantFigure("links", p.clients.Metrics.Links.WithLabelValues("a", "old"), 0)
	again := command(wcs.CmdPublishStream, "p", "one")
	s.sends(again)
	srv.welcome().want(again)
}

func TestUpstreamThatDoesNotAcceptClientFailsItsCommands(t *testing.T) {
	for name, act := range map[string]func(*visitor){
		"no getUserData": func(*visitor) {},
		"refusal":        func(v *visitor) { v.send(`{"message":"fail","data":[{"apiMethod":"ConnectionStatusEvent"}]}`) },
		"garbage":        func(v *visitor) { v.send(`}{`); v.send(`{"message":5}`); _ = v.ws.Close() },
		"end in a frame": func(v *visitor) { _, _ = v.ws.NetConn().Write([]byte{0x81, 0x7e, 0x10}); _ = v.ws.NetConn().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t)
			p := newPod(t, srv.url, func(_ *Deps, c *upstream.ServerConfig) { c.ConnectTimeout = 200 * time.Millisecond })
			s := p.session(false, nil)
			s.sends(command(wcs.CmdPlayStream, "m", "x"))
			act(srv.next())
			s.want(`"m"`, `"FAILED"`, "Upstream server is not available")
			s.sends(command(wcs.CmdPlayStream, "m", "x")) // at once: no further link
			s.want(`"m"`, "Upstream server is not available")
			if len(srv.came) > 0 {
				t.Error("a second link is opened at once")
			}
		})
	}
	p := newPod(t, "ws://127.0.0.1:1", nil)
	s := p.session(false, nil)
	s.sends(command(wcs.CmdAvailableStream, "m", "x"))
	s.want(`"id":"m"`, "Upstream server is not available")
}

func TestFullUpstreamRefusesLinks(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, func(_ *Deps, c *upstream.ServerConfig) { c.MaxLinks = 1 })
	first, second := p.session(false, nil), p.session(false, nil)
	first.sends(command(wcs.CmdPlayStream, "m", "x"))
	v := srv.welcome()
	second.sends(command(wcs.CmdPlayStream, "m", "x"))
	second.want("Upstream server is busy")
	first.do(func() { first.client.End() })
	v.wantClosed()
}

func TestUpstreamIsNotReadWhileClientIsSlow(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(false, nil)
	s.sends(command(wcs.CmdPlayStream, "m", "x"))
	v := srv.welcome()
	v.read()
	s.set(func() { s.full = true })
	event := `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"m","payload":"` + strings.Repeat("x", 60<<10) + `"}]}`
	blocked := make(chan error, 1)
	const events = 500 // more than the buffers of TCP take
	go func() {
		for range events {
			if err := v.ws.WriteMessage(websocket.TextMessage, []byte(event)); err != nil {
				blocked <- err
				return
			}
		}
		blocked <- nil
	}()
	s.wantQuiet()
	select {
	case err := <-blocked:
		t.Fatalf("the upstream has sent everything: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	s.wantQuiet()
	s.set(func() { s.full = false })
	s.do(s.client.Drained)
	for range events {
		s.want(event)
	}
	if err := <-blocked; err != nil {
		t.Error(err)
	}
}

func TestUnrequestedMessagesOfUpstreamAreDropped(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(false, nil)
	s.sends(command(wcs.CmdPlayStream, "m", "x"))
	v := srv.welcome()
	v.read()
	_ = v.ws.WriteMessage(websocket.BinaryMessage, []byte("media"))
	dropped := []string{
		status("other", "x", wcs.StatusFailed, ""), `{"message":"availableStream","data":[{"id":"m","status":"true"}]}`, `{"message":"OnDataEvent","data":[{"operationId":"1"}]}`,
		`{"message":"DataStatusEvent","data":[{"operationId":"1","status":"ACCEPTED"}]}`, `{"message":"webRTCMetricsDescriptionUpdate","data":[{}]}`, `{"message":"webRTCMetricsTokenRefresh","data":[{"mediaSessionId":"m"}]}`, `{"message":"webRTCMetricsDescriptionUpdate","data":["m"]}`,
		`{"message":"setRemoteSDP","data":["other","v=0",true]}`, `{"message":"finish","data":[{"callId":"c"}]}`, `[]`, `{"message":"later"}`, `{"message":"registered","data":[{}]}`,
		`{"message":"notifyStreamEvent","data":[{"mediaSessionId":"m","payload":"` + strings.Repeat("x", 65<<10) + `"}]}`, strings.Repeat("[", 5000),
		`{"message":"notifyStreamEvent","data":[{"mediaSessionId":"m","type":"snapshotCompleted"}]}`, `{"message":"fail","data":[{"apiMethod":"ConnectionStatusEvent"}]}`,
	}
	for _, frame := range dropped {
		v.send(frame)
	}
	last := status("m", "x", wcs.StatusPlaying, "")
	v.send(last)
	s.want(last)
	p.wantFigure("dropped messages", p.clients.Metrics.Dropped.WithLabelValues("a"), float64(len(dropped)+2)) // with getVersion and the binary one
}

func TestPendingCommandsOfClientAreBounded(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, func(d *Deps, _ *upstream.ServerConfig) { d.MaxQueued = 4 })
	s := p.session(true, nil)
	block := make(chan struct{})
	s.set(func() { s.block = block })
	for i := range maxHeld {
		s.sends(command(wcs.CmdAvailableStream, fmt.Sprint("q", i), fmt.Sprint(i)))
	}
	s.wantQuiet()
	s.sends(command(wcs.CmdPlayStream, "more", "more"))
	s.want(`"more"`, infoTooManyRequests)
	if n := len(s.lookedAt()); n > maxLooks {
		t.Errorf("%d looks at a time", n)
	}
	close(block) // the upstream accepts no client yet, so its queue overflows
	for range maxHeld {
		s.want("availableStream", "Upstream server is not available")
	}
	s.do(func() {
		if c := s.client; c.waiting+c.bytes+c.asked+len(c.held)+len(c.looks)+len(c.questions) != 0 {
			t.Errorf("commands are kept: %+v", c)
		}
	})

	long := strings.Repeat("x", maxName+1)
	s.wantHere(command(wcs.CmdPlayStream, "m", long))
	s.wantHere(command(wcs.CmdPlayStream, long, "n"))
	s.sends(fmt.Sprintf(`{"message":"playStream","data":[{"mediaSessionId":"huge","name":"n","sdp":%q}]}`, strings.Repeat("x", p.clients.MaxQueueBytes)))
	s.want(`"huge"`, infoTooManyRequests)

	roomy := newPod(t, srv.url, nil)
	s = roomy.session(true, func(a *App) { a.SendData = true })
	for i := range roomy.clients.MaxStreams + 1 {
		s.sends(command(wcs.CmdPublishStream, fmt.Sprint(i), fmt.Sprint("name", i)))
		roomy.eventually("looks end", func() (none bool) { s.do(func() { none = s.client.waiting == 0 }); return none })
	}
	s.want(infoTooManyStreams)
	s.set(func() { s.poor = true })
	s.sends(command(wcs.CmdPlayStream, "poor", "x"))
	s.want(`"poor"`, infoTooManyRequests)
	s.sends(`{"message":"sendData","data":[{"operationId":"op"}]}`)
	s.want(`"op"`, infoTooManyRequests)
}

func TestSilentUpstreamThatPingedHasFailed(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, func(d *Deps, _ *upstream.ServerConfig) { d.Stall = 100 * time.Millisecond })
	s := p.session(false, nil)
	s.sends(command(wcs.CmdPlayStream, "m", "x"))
	v := srv.welcome()
	v.read()
	v.send(`{"message":"ping","data":[]}`)
	v.want(`{"message":"pong","data":[null]}`)
	s.want(`"m"`, "Upstream server is not available")
	v.wantClosed()
}

func TestDataGoesToConfiguredServerOnly(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	data := `{"message":"sendData","data":[{"operationId":"op","payload":{"a":1}}]}`
	p.session(true, nil).wantHere(data)
	s := p.session(false, func(a *App) { a.SendData = true })
	s.sends(data)
	v := srv.welcome()
	v.want(data)
	accepted := `{"message":"DataStatusEvent","data":[{"operationId":"op","status":"ACCEPTED"}]}`
	v.send(accepted)
	s.want(accepted)
	for range 2 {
		s.sends(data)
		v.want(data)
	}
	for range 2 { // one answer for each
		v.send(accepted)
		s.want(accepted)
	}
	v.send(accepted)
	pushed := `{"message":"OnDataEvent","data":[{"operationId":"x","payload":{}}]}`
	v.send(pushed)
	s.want(pushed)
	inRoom := `{"message":"publishStream","data":[{"mediaSessionId":"m","name":"n","custom":{"name":"room"}}]}`
	s.sends(inRoom)
	v.want(inRoom)
	other := p.session(true, nil)
	other.sends(strings.Replace(inRoom, `"n"`, `"n2"`, 1))
	other.wantServed(wcs.CmdPublishStream)
}

func TestSnapshotIsForwardedInOneMessageOrTwo(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(false, nil)
	ask := command(wcs.CmdSnapshot, "m", "n")
	s.sends(ask)
	v := srv.welcome()
	v.want(ask)
	event := `{"message":"notifyStreamEvent","data":[{"mediaSessionId":"m","type":"snapshotCompleted","payload":{"snapshot":"iVBO"}}]}`
	complete := `{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"m","status":"SNAPSHOT_COMPLETE","info":"iVBO"}]}`
	last := `{"message":"fail","data":[{"apiMethod":"snapshot"}]}` // is passed on after all others were looked at
	for _, frame := range []string{event, complete, complete, event, last} {
		v.send(frame)
	}
	s.want(event)
	s.want(complete)
	s.want(last)
	s.sends(ask)
	v.want(ask)
	v.send(complete)
	s.want(complete)
	s.sends(ask)
	v.want(ask)
	v.send(complete)
	s.want(complete)
	v.send(event)
	s.want(event)
}

func TestEndedSessionClosesItsLink(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(true, nil)
	s.sends(command(wcs.CmdPublishStream, "m", "n"))
	v := srv.welcome()
	v.read()
	var ended []Ended
	s.do(func() { ended = s.client.End() })
	if len(ended) != 1 || ended[0].MediaID != "m" || ended[0].Name != "n" || !ended[0].Published {
		t.Errorf("ended %+v", ended)
	}
	v.wantClosed()
	s.wantHere(command(wcs.CmdPublishStream, "m2", "n"))
	p.clients.Links.Wait()
	s.wantQuiet()
	p.wantFigure("streams", p.clients.Metrics.Streams.WithLabelValues("a", "old", "publish"), 0)
}

// Two pods share what is recorded.
func TestNameThatAnotherPodPublishesUpstreamIsRejected(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	q := newPod(t, srv.url, func(d *Deps, _ *upstream.ServerConfig) { d.Names = p.kept })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.clients.Run(ctx)
	}()
	recorded := func(name string) bool { p.kept.mu.Lock(); defer p.kept.mu.Unlock(); return p.kept.names[name] }
	there, here := p.session(true, nil), q.session(false, nil)
	publish := command(wcs.CmdPublishStream, "a", "one")
	there.sends(publish)
	v := srv.welcome()
	v.want(publish)
	there.sends(command(wcs.CmdPublishStream, "b", "refused"))
	v.read()
	v.send(status("b", "refused", wcs.StatusFailed, wcs.InfoStreamNameAlreadyInUse)) // another client has it
	there.want(wcs.InfoStreamNameAlreadyInUse)
	v.send(status("a", "one", wcs.StatusPublishing, ""))
	there.want("PUBLISHING")
	p.eventually("the name is recorded", func() bool { return recorded("one") })
	if recorded("refused") {
		t.Error("a name that was refused is recorded")
	}
	here.sends(command(wcs.CmdPublishStream, "c", "one"))
	here.want(`"c"`, `"FAILED"`, wcs.InfoStreamNameAlreadyInUse)
	here.sends(command(wcs.CmdPublishStream, "d", "refused"), command(wcs.CmdUnPublishStream, "d", "refused")) // waits for its stream
	here.wantServed(wcs.CmdPublishStream)
	here.wantServed(wcs.CmdUnPublishStream)

	v.send(status("a", "one", wcs.StatusUnpublished, ""))
	there.want("UNPUBLISHED")
	p.eventually("the name is not recorded any more", func() bool { return !recorded("one") })
	here.sends(command(wcs.CmdPublishStream, "e", "one"))
	here.wantServed(wcs.CmdPublishStream)

	there.sends(publish)
	v.want(publish)
	v.send(status("a", "one", wcs.StatusPublishing, ""))
	there.want("PUBLISHING")
	p.eventually("the name is recorded again", func() bool { return recorded("one") })
	p.kept.mu.Lock()
	delete(p.kept.names, "one") // as after a restart of Redis
	p.kept.mu.Unlock()
	p.clients.passNames(true)
	if !recorded("one") {
		t.Error("the name is not renewed")
	}
	there.do(func() { there.client.End() })
	stop()
	<-ended
	if recorded("one") {
		t.Error("the name outlives its pod")
	}
}
