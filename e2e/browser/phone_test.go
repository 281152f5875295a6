package browser

import (
	"fmt"
	"strings"

	"github.com/gorilla/websocket"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// phone is the vendor's phone page, with a scripted server in place of WCS.
type phone struct {
	s      *scene
	page   *tab
	server *rig.ScriptedConn
}

// phoneExample registers the phone, calls, is called, and rejects a call.
func phoneExample(s *scene, gateway string, server *rig.ScriptedServer) {
	p := &phone{s: s, page: s.openPage("node_modules/websdk-" + newestSDK + "/examples/demo/sip/phone/phone.html")}
	p.awaitPage("$('#urlServer').val()")
	p.register(gateway, server)
	p.callOut()
	p.callIn()
	p.reject()
	p.click("#connectBtn") // disconnects
	for {
		if _, _, err := p.server.ReadMessage(); err != nil { // the close frame, which the read answers
			break
		}
	}
	_ = p.server.Close()
	p.shows("#regStatus", "DISCONNECTED")
}

func (p *phone) fill(selector, value string) {
	p.s.t.Helper()
	p.page.do("((selector, value) => { $(selector).val(value) })", selector, value)
}

func (p *phone) click(selector string) {
	p.s.t.Helper()
	p.page.do("((selector) => { $(selector).click() })", selector)
}

// awaitPage waits until an expression is true on the page.
func (p *phone) awaitPage(expression string) {
	p.s.t.Helper()
	p.page.do("(async () => { while (!(" + expression + ")) await new Promise((r) => setTimeout(r, 20)) })")
}

func (p *phone) shows(selector, text string) {
	p.s.t.Helper()
	p.awaitPage(fmt.Sprintf("$(%q).text().includes(%q)", selector, text))
}

func (p *phone) tell(text string, args ...any) {
	p.s.t.Helper()
	p.server.Send(websocket.TextMessage, fmt.Sprintf(text, args...))
}

// await returns the argument of the page's next command with a name, which must be about a call.
func (p *phone) await(name, callID string) map[string]any {
	p.s.t.Helper()
	arg := awaitCommand(p.s.t, p.server, name)
	if callID != "" && arg["callId"] != callID {
		p.s.t.Errorf("%s %v", name, arg)
	}
	return arg
}

func (p *phone) register(gateway string, server *rig.ScriptedServer) {
	for selector, value := range map[string]string{
		"#urlServer": gateway, "#sipLogin": "100", "#sipAuthenticationName": "100", "#sipPassword": "secret", "#sipDomain": "sip.example",
		"#sipOutboundProxy": "sip.example", "#sipPort": "5060",
	} {
		p.fill(selector, value)
	}
	p.click("#connectBtn")
	p.server = server.Accept(p.s.t)
	if hello := p.await("connection", ""); hello["sipLogin"] != "100" || hello["sipPassword"] != "secret" {
		p.s.t.Errorf("connection %v", hello)
	}
	p.tell(`{"message":"getUserData","data":[{"authToken":"/10.0.0.1:5/10.0.0.2:8443-x","sipLogin":"100","status":"ESTABLISHED"}]}`)
	p.shows("#regStatus", "ESTABLISHED")
	p.tell(`{"message":"registered","data":[{"status":"REGISTERED"}]}`)
	p.shows("#regStatus", "REGISTERED")
}

// callOut is a call of the page, which the page ends.
func (p *phone) callOut() {
	p.fill("#callee", "200")
	p.click("#callBtn")
	call := p.await("call", "")
	id, offer := fmt.Sprint(call["callId"]), fmt.Sprint(call["sdp"])
	if call["callee"] != "200" || !strings.HasPrefix(offer, "v=0") {
		p.s.t.Errorf("call %v", call)
	}
	p.status("notifyTryingResponse", id, "TRYING")
	p.status("ring", id, "RING")
	p.shows("#callStatus", "RING")
	p.server.Send(websocket.BinaryMessage, strings.Repeat("media", 10_000)) // the SDK ignores it
	far := rig.NewPhone(p.s.t)
	p.tell(`{"message":"setRemoteSDP","data":[%q,%q,true]}`, id, far.Answer(offer))
	p.status("talk", id, "ESTABLISHED")
	p.shows("#callStatus", "ESTABLISHED")
	p.wantAudio(far)
	p.holdAndGoOn(id)
	p.click("#callBtn") // hangs up
	p.await("hangup", id)
	p.status("finish", id, "FINISH")
	p.shows("#callStatus", "FINISH")
}

// callIn is a call that the page answers, and the far end ends.
func (p *phone) callIn() {
	const id = "in-1"
	far := rig.NewPhone(p.s.t)
	p.tell(`{"message":"setRemoteSDP","data":[%q,%q,false]}`, id, far.OfferAll())
	p.invite(id)
	p.click("#answerBtn")
	answer := p.await("answer", id)
	if answer["incoming"] != true {
		p.s.t.Errorf("answer %v", answer)
	}
	far.SetAnswer(fmt.Sprint(answer["sdp"]))
	p.status("talk", id, "ESTABLISHED")
	p.shows("#callStatus", "ESTABLISHED")
	p.wantAudio(far)
	p.holdAndGoOn(id)
	p.status("finish", id, "FINISH")
	p.shows("#callStatus", "FINISH")
}

// reject is a call that the page does not take.
func (p *phone) reject() {
	const id = "in-2"
	p.invite(id)
	p.click("#hangupBtn")
	p.await("hangup", id)
	p.status("finish", id, "FINISH")
	p.shows("#callStatus", "FINISH")
}

// invite sends the page a call.
func (p *phone) invite(id string) {
	p.s.t.Helper()
	p.tell(`{"message":"notifyIncomingCall","data":[{"callId":%q,"incoming":true,"status":"RING","caller":"300","callee":"100","hasAudio":true,"hasVideo":false}]}`, id)
	p.shows("#incomingCallAlert", "You have a new call from 300")
	p.status("ring", id, "RING")
	p.shows("#callStatus", "RING")
}

func (p *phone) status(message, id, status string) {
	p.s.t.Helper()
	p.tell(`{"message":%q,"data":[{"callId":%q,"status":%q}]}`, message, id, status)
}

// wantAudio waits until both ends of a call receive audio.
func (p *phone) wantAudio(far *rig.Peer) {
	p.s.t.Helper()
	rig.Eventually(p.s.t, patience, "the far end receives audio", func() bool { return far.Packets(translate.Audio) > 10 })
	p.awaitPage("document.querySelector('#remoteDisplay video')?.currentTime > 0")
}

// holdAndGoOn puts a call on hold and takes it back.
func (p *phone) holdAndGoOn(id string) {
	p.s.t.Helper()
	const ready = "!$('#holdBtn').prop('disabled')"
	p.awaitPage(ready)
	p.click("#holdBtn")
	p.await("hold", id)
	p.status("hold", id, "HOLD")
	p.shows("#holdBtn", "Unhold")
	p.awaitPage(ready)
	p.click("#holdBtn")
	p.await("unhold", id)
	p.status("talk", id, "ESTABLISHED")
	p.awaitPage(ready)
}
