package hybrid

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wcsgateway/translate/wcs"
)

func call(name wcs.Name, id string) string {
	return fmt.Sprintf(`{"message":%q,"data":[{"callId":%q,"sdp":"v=0"}]}`, name, id)
}

func callStatus(name, id, status string) string {
	return fmt.Sprintf(`{"message":%q,"data":[{"callId":%q,"status":%q,"later":1}]}`, name, id, status)
}

// fallback opens a session that uses the upstream for what the gateway does not have. It has a SIP account.
func (p *pod) fallback() *session {
	s := p.session(false, func(a *App) { a.Fallback = true })
	s.do(func() { s.client.Established("/s", token) })
	return s
}

func TestSIPClientIsRegisteredAtOnceAndCalls(t *testing.T) {
	srv := newServer(t)
	s := newPod(t, srv.url, nil).fallback()
	v := srv.next()
	if hello := v.read(); !strings.Contains(hello, `"sipLogin":"100"`) || strings.Contains(hello, "secret-of-gateway") {
		t.Errorf("connection %s", hello)
	}
	v.send(`{"message":"getUserData","data":[{}]}`)
	registered := `{"message":"registered","data":[{"status":"REGISTERED"}]}`
	v.send(registered)
	s.want(registered)

	out := call(wcs.CmdCall, "out")
	s.sends(out)
	v.want(out)
	for _, frame := range []string{
		callStatus("notifyTryingResponse", "out", "TRYING"), callStatus("ring", "out", "RING"), `{"message":"setRemoteSDP","data":["out","v=0",true]}`,
		callStatus("talk", "out", "ESTABLISHED"), callStatus("notifyTransferEvent", "out", "ACCEPTED"),
	} {
		v.send(frame)
		s.want(frame)
	}
	for _, name := range []wcs.Name{wcs.CmdHold, wcs.CmdUnhold, wcs.CmdSendDTMF, wcs.CmdTransfer, wcs.CmdHangup} {
		s.sends(call(name, "out"))
		v.want(call(name, "out"))
	}
	if s.streams != 1 {
		t.Errorf("%d streams and calls", s.streams)
	}
	v.send(callStatus("finish", "out", "FINISH"))
	s.want("finish")
	s.wantHere(call(wcs.CmdHangup, "out"))

	for _, frame := range []string{`{"message":"setRemoteSDP","data":["in","v=0",false]}`, callStatus("notifyIncomingCall", "in", "RING")} {
		v.send(frame)
		s.want(frame)
	}
	s.sends(call(wcs.CmdAnswer, "in"))
	v.want(call(wcs.CmdAnswer, "in"))
	v.send(callStatus("finish", "in", "FAILED"))
	s.want("finish")
	if s.streams != 0 {
		t.Errorf("%d streams and calls", s.streams)
	}
}

func TestLostUpstreamEndsCallsAndRegistersAgain(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	p.clients.reopen = time.Millisecond
	s := p.fallback()
	v := srv.welcome()
	s.sends(call(wcs.CmdCall, "out"))
	v.read()
	_ = v.ws.Close()
	s.want(`"message":"finish"`, `"callId":"out"`, `"FAILED"`)
	v = srv.welcome() // without a command
	s.sends(call(wcs.CmdCall, "again"))
	v.want(call(wcs.CmdCall, "again"))
	s.do(func() { s.client.End() })
	v.wantClosed()
	if s.streams != 0 {
		t.Errorf("%d streams and calls", s.streams)
	}
}

func TestUnknownCommandsGoUpstream(t *testing.T) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(false, func(a *App) { a.Fallback = true })
	for _, name := range []wcs.Name{
		wcs.CmdPushLogs, wcs.CmdSessionDebug, wcs.CmdSubmitBugReport, wcs.CmdMetricsDesc, wcs.CmdMetricsBatch, wcs.CmdPing, wcs.CmdSendData,
		wcs.CmdHangup, "pauseStream",
	} {
		s.wantHere(command(name, "none", "x"))
	}
	s.sends(command(wcs.CmdPlayStream, "m", "rtsp://camera/1"))
	v := srv.welcome()
	v.read()
	for _, frame := range []string{command("pauseStream", "m", "x"), command("changeQuality", "m", "x"), `{"message":"later","data":[{"a":1}]}`, `{"message":"bare"}`} {
		s.sends(frame)
		v.want(frame)
	}
	p.session(false, nil).wantHere(`{"message":"later","data":[{"a":1}]}`)
	p.session(false, nil).wantHere(call(wcs.CmdCall, "c"))
}

func TestCallsAreBounded(t *testing.T) {
	srv := newServer(t)
	s := newPod(t, srv.url, nil).fallback()
	v := srv.welcome()
	for i := range maxCalls {
		s.sends(call(wcs.CmdCall, fmt.Sprint(i)))
		v.read()
	}
	s.sends(call(wcs.CmdCall, "more"))
	s.want(`"message":"finish"`, `"more"`, `"FAILED"`)
	v.send(callStatus("notifyIncomingCall", "in", "RING"))
	v.send(`{"message":"setRemoteSDP","data":["in","v=0",false]}`)
	v.send(`{"message":"webRTCMetricsTokenRefresh","data":[{}]}`)
	last := callStatus("ring", "0", "RING")
	v.send(last)
	s.want(last)
	s.set(func() { s.poor = true })
	s.sends(call(wcs.CmdCall, "poor"))
	s.want(`"message":"finish"`, `"poor"`)
}
