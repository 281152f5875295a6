package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
)

// fail returns policies under which failures of the methods count.
func fail(methods ...string) map[string]map[string]string {
	all := make(map[string]map[string]string)
	for _, m := range methods {
		all[m] = map[string]string{"restOnError": "FAIL"}
	}
	return all
}

// failing holds answers that count as failures, with the texts that clients get under FAIL.
var failing = map[string]struct {
	reply rig.Reply
	info  string
}{
	"403":     {rig.Refuse(http.StatusForbidden), "Forbidden"},
	"500":     {rig.Refuse(http.StatusInternalServerError), "Internal Server Error"},
	"garbage": {rig.Say("no JSON"), "Application server has given a bad answer"},
	"cut off": {cutOff, "Application server is not available"},
}

// A failed hook rejects a client's request under FAIL, and has no effect under LOG.
func TestFailedDirectHookRejectsRequestUnderFail(t *testing.T) {
	for what, f := range failing {
		for _, mode := range []string{"FAIL", "LOG", "failClosed"} {
			t.Run(what+" "+mode, func(t *testing.T) {
				w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Hooks.FailClosed = mode == "failClosed" })
				if mode == "FAIL" {
					w.policy(fail("publishStream", "playStream", "OnDataEvent"))
				}
				pub, _ := w.up(t, podA, podB)
				for _, m := range []string{"publishStream", "playStream", "OnDataEvent"} {
					w.backend.On(m, f.reply)
				}
				c := w.connect(t, podA)
				publishAV(t, c, "pub-2", "s2")
				playAV(t, c, "play-2", "s")
				c.Send("sendData", map[string]any{"operationId": "op", "payload": 1})
				data := c.Await("DataStatusEvent").Raw
				if mode == "LOG" {
					c.AwaitSDP("pub-2")
					c.AwaitSDP("play-2")
					if !strings.Contains(data, `"ACCEPTED"`) {
						t.Errorf("sendData: %s", data)
					}
					return
				}
				for _, id := range []string{"pub-2", "play-2"} {
					c.WantStatus(id, "FAILED", f.info)
					h := w.backend.AwaitMatch("FAILED of "+id, func(h rig.Hook) bool {
						return h.Method == "StreamStatusEvent" && h.Text("status") == "FAILED" && h.Text("mediaSessionId") == id
					})
					if h.Text("info") != f.info {
						t.Errorf("StreamStatusEvent: %s", h.Raw)
					}
				}
				if !strings.Contains(data, `"FAILED"`) || !strings.Contains(data, f.info) {
					t.Errorf("sendData: %s", data)
				}
				wantGolden(t, sameInfo(t, w.backend.AwaitStatus("DataStatusEvent", "FAILED"), f.info))
				m := w.pods[podA].metrics.HookVetoes
				for _, method := range []string{"publishStream", "playStream", "OnDataEvent"} {
					if n := testutil.ToFloat64(m.WithLabelValues(method)); n != 1 {
						t.Errorf("%v rejections by hooks of %s", n, method)
					}
				}
				pub.Close()
			})
		}
	}
}

// sameInfo checks the info and replaces it with that of a 403, for the golden file.
func sameInfo(t *testing.T, h rig.Hook, info string) rig.Hook {
	t.Helper()
	if h.Text("info") != info {
		t.Errorf("%s: %s", h.Method, h.Raw)
	}
	h.Raw = []byte(strings.ReplaceAll(string(h.Raw), info, "Forbidden"))
	return h
}

// Events cannot be refused: under FAIL the client gets an ErrorEvent, and the stream continues.
func TestFailedEventHookSendsErrorEventUnderFail(t *testing.T) {
	for what, f := range failing {
		for _, mode := range []string{"FAIL", "LOG"} {
			t.Run(what+" "+mode, func(t *testing.T) {
				w := newHookWorld(t, nil)
				if mode == "FAIL" {
					w.policy(fail("StreamStatusEvent", "ErrorEvent", "unPublishStream"))
				}
				for _, m := range []string{"StreamStatusEvent", "ErrorEvent", "unPublishStream"} {
					w.backend.On(m, f.reply)
				}
				c := w.connect(t, podA)
				publishAV(t, c, "pub", "s")
				c.AwaitSDP("pub")
				w.media(t, podA, translate.RolePublish)
				c.WantStatus("pub", "PUBLISHING", "")
				w.backend.Await("StreamStatusEvent")
				if mode == "FAIL" {
					var e struct{ APIMethod, Status, Info string }
					c.Await("fail").Arg(t, 0, &e)
					if e.APIMethod != "ErrorEvent" || e.Info != "StreamStatusEvent: "+f.info {
						t.Errorf("%+v", e)
					}
					wantGolden(t, sameInfo(t, w.backend.Await("ErrorEvent"), "StreamStatusEvent: "+f.info))
				}
				c.Unpublish("pub", "s")
				c.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop") // despite the answer to unPublishStream
				w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED")
				c.Close()
				w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
				if mode == "LOG" && (c.Count("fail") > 0 || w.backend.Count("ErrorEvent") > 0) {
					t.Errorf("notified under LOG: %s, %v", c.Names(), w.backend.Order())
				}
			})
		}
	}
}

// A renamed stream has its new name for the client, LiveKit, Redis and the backend.
func TestBackendRenamesStream(t *testing.T) {
	w := newHookWorld(t, nil)
	overwrite := map[string]string{"restPolicy": "OVERWRITE", "restOverwrite": "name,maxBitrate,mediaSessionId,sdp,hasVideo", "restExclude": "sdp,localMediaInfo"}
	w.policy(map[string]map[string]string{"publishStream": overwrite, "playStream": overwrite})
	w.backend.On("publishStream", rig.Change(map[string]any{"name": "b", "maxBitrate": 700, "mediaSessionId": "x", "sdp": "", "hasVideo": false, "record": true}))
	w.backend.On("playStream", func(rw http.ResponseWriter, h rig.Hook) {
		if h.Text("name") == "door" {
			rig.Change(map[string]any{"name": "b"})(rw, h)
			return
		}
		rig.Echo(rw, h)
	})
	pub, play := w.connect(t, podA), w.connect(t, podB)
	publishAV(t, pub, "pub", "a")
	pub.AwaitSDP("pub")
	h := w.backend.Await("publishStream")
	if _, there := h.Body["sdp"]; there || h.Text("name") != "a" {
		t.Errorf("publishStream: %s", h.Raw)
	}
	if room, _ := w.sfu.only(t, translate.RolePublish); room != "wcs.b" {
		t.Errorf("room %s", room)
	}
	if names := w.store.Names(); !slices.Equal(names, []string{"b"}) {
		t.Errorf("names in Redis %v", names)
	}
	w.media(t, podB, translate.RolePublish)
	if st := pub.WantStatus("pub", "PUBLISHING", ""); st.Name != "b" {
		t.Errorf("PUBLISHING %+v", st)
	}
	if h := w.backend.AwaitStatus("StreamStatusEvent", "PUBLISHING"); h.Text("name") != "b" || string(h.Body["maxBitrate"]) != "700" || string(h.Body["record"]) != "false" {
		t.Errorf("PUBLISHING: %s", h.Raw)
	}
	playAV(t, play, "none", "a")
	play.WantStatus("none", "FAILED", "Session does not exist")
	playAV(t, play, "play", "door") // also renamed
	play.AwaitSDP("play")
	w.media(t, podA, translate.RolePlay)
	if st := play.WantStatus("play", "PLAYING", ""); st.Name != "b" {
		t.Errorf("PLAYING %+v", st)
	}
	pub.Unpublish("pub", "a")
	if st := pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop"); st.Name != "b" {
		t.Errorf("UNPUBLISHED %+v", st)
	}
	if h := w.backend.Await("unPublishStream"); h.Text("name") != "b" {
		t.Errorf("unPublishStream: %s", h.Raw)
	}
	play.WantStatus("play", "FAILED", "Stopped by publisher stop")
	w.wantClean(t)
}

// A message that the backend and the gateway would read differently reaches neither.
func TestMessageWithAmbiguousMembersIsRejected(t *testing.T) {
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Rooms = true })
	w.policy(map[string]map[string]string{"OnDataEvent": {"restOnError": "FAIL"}})
	named := func(member string) func(rig.Message) bool {
		return func(m rig.Message) bool {
			return strings.Contains(m.Raw, "Bad request") && strings.Contains(m.Raw, `ambiguous member \"`+member+`\"`)
		}
	}
	c := rig.Dial(t, w.urls[podA])
	c.SendRaw(`{"message":"connection","data":[{"appKey":"defaultApp","custom":{"login":"mallory","LOGIN":"admin"}}]}`)
	c.AwaitMatch("the rejection of a login", named("LOGIN"))
	if n := w.backend.Count("connect"); n != 0 {
		t.Errorf("the backend was called %d times", n)
	}
	mallory := rig.LoginAs(w.dial(t, podA), "defaultApp", "mallory")
	offer := string(asJSON(t, offerOf(t, "publish")))
	for _, tt := range []struct{ member, message string }{
		{"NAME", `{"message":"sendData","data":[{"operationId":"1","payload":{"command":"join","options":{"name":"lobby","NAME":"secret"}}}]}`},
		{"COMMAND", `{"message":"sendData","data":[{"operationId":"2","payload":{"command":"leave","COMMAND":"join","options":{"name":"secret"}}}]}`},
		{"CUSTOM", `{"message":"publishStream","data":[{"mediaSessionId":"x","name":"s","custom":{"name":"lobby"},"CUSTOM":{"name":"secret"},"sdp":` + offer + `}]}`},
		{"mediaSessionId", `{"message":"publishStream","data":[{"mediaSessionId":"x","name":"s","MediaSessionID":"y","mediaSessionId":"x","sdp":` + offer + `}]}`},
	} {
		mallory.SendRaw(tt.message)
		mallory.AwaitMatch("the rejection of "+tt.member, named(tt.member))
	}
	mallory.Join("lobby")
	if n, streams := w.backend.Count("OnDataEvent")+w.backend.Count("publishStream"), w.store.Names(); n != 1 || len(streams) != 0 {
		t.Errorf("the backend was called %d times, streams %v; want the last join only", n, streams)
	}
}

// The backend is sent the login that the user has in rooms, and a number that readers write differently is no
// room's name.
func TestBackendReadsTextAsTheGatewayDoes(t *testing.T) {
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Rooms = true })
	c := w.dial(t, podA)
	c.SendRaw(`{"message":"connection","data":[{"appKey":"defaultApp","custom":{"login":"a\ud800"}}]}`)
	c.Await("getUserData")
	if h := w.backend.Await("connect"); !strings.Contains(string(h.Raw), `"custom":{"login":"a\ufffd"}`) {
		t.Errorf("connect: %s", h.Raw)
	}
	c.SendRaw(`{"message":"sendData","data":[{"operationId":"1","payload":{"command":"join","options":{"name":1e2}}}]}`)
	c.AwaitMatch("the rejection", func(m rig.Message) bool {
		return strings.Contains(m.Raw, "Bad request") && strings.Contains(m.Raw, "options of join")
	})
	(&rig.RoomUser{Client: c}).Join("lobby")
	rig.LoginAs(w.dial(t, podA), "defaultApp", "other").Join("lobby", "a\ufffd")
}

// A member in another case neither replaces a member of the gateway nor has an effect.
func TestMemberInAnotherCaseHasNoEffect(t *testing.T) {
	w := newHookWorld(t, nil)
	c := rig.Dial(t, w.urls[podA])
	c.SendRaw(`{"message":"connection","data":[{"appKey":"defaultApp","SESSIONID":"forged","Origin":"forged","AuthToken":"secret"}]}`)
	c.Await("getUserData")
	if h := w.backend.Await("connect"); strings.Contains(string(h.Raw), "forged") || strings.Contains(string(h.Raw), "secret") {
		t.Errorf("connect: %s", h.Raw)
	}
	c.SendRaw(`{"message":"publishStream","data":[{"mediaSessionId":"pub","Name":"asked","sdp":` + string(asJSON(t, offerOf(t, "publish"))) + `}]}`)
	c.WantStatus("pub", "FAILED", "Bad stream name: it is empty, too long, or has control characters or a .. segment")
	if names := w.store.Names(); len(names) != 0 {
		t.Errorf("published as %v", names)
	}
}

// An answer that other readers would take differently is not an answer.
func TestAnswerWithAmbiguousMembersIsRejected(t *testing.T) {
	w := newHookWorld(t, nil)
	w.policy(map[string]map[string]string{"publishStream": {"restPolicy": "OVERWRITE", "restOverwrite": "name", "restOnError": "FAIL"}})
	w.backend.On("publishStream", rig.Say(`{"name":"a","Name":"b"}`))
	c := w.connect(t, podA)
	publishAV(t, c, "pub", "a")
	c.WantStatus("pub", "FAILED", "Application server has given a bad answer")
	w.wantClean(t)
}

// The stream fails if the new name is invalid; it does not keep its old name.
func TestRenameToInvalidNameFailsStream(t *testing.T) {
	for _, name := range []any{"", "line\nbreak", strings.Repeat("x", 300), []any{7}, map[string]any{}} {
		w := newHookWorld(t, nil)
		w.policy(map[string]map[string]string{"publishStream": {"restPolicy": "OVERWRITE", "restOverwrite": "name"}})
		w.backend.On("publishStream", rig.Change(map[string]any{"name": name}))
		c := w.connect(t, podA)
		publishAV(t, c, "pub", "a")
		c.WantStatus("pub", "FAILED", "Application server has given a bad answer")
		w.wantClean(t)
	}
}

// Excluded members are not sent to the client, except those that its SDK needs.
func TestClientExcludeOmitsMembers(t *testing.T) {
	w := newHookWorld(t, nil)
	w.policy(map[string]map[string]string{
		"publishStream":     {"clientExclude": "name,mediaSessionId,status", "restPolicy": "OVERWRITE", "restOverwrite": "name"},
		"StreamStatusEvent": {"clientExclude": "audioCodec, info"},
		"DataStatusEvent":   {"clientExclude": "operationId,info"},
	})
	w.backend.On("publishStream", rig.Change(map[string]any{"name": "hidden"}))
	c := w.connect(t, podA)
	c.AcceptUnknown()
	publishAV(t, c, "pub", "a")
	c.AwaitSDP("pub")
	w.media(t, podA, translate.RolePublish)
	for _, status := range []string{"PUBLISHING", "UNPUBLISHED"} {
		m := c.Await("notifyStreamStatusEvent")
		c.Unpublish("pub", "a")
		for _, part := range []string{`"mediaSessionId":"pub"`, `"status":"` + status + `"`, `"videoCodec":"VP8"`} {
			if !strings.Contains(m.Raw, part) {
				t.Errorf("no %s in %s", part, m.Raw)
			}
		}
		for _, part := range []string{"hidden", "audioCodec", "info\""} {
			if strings.Contains(m.Raw, part) {
				t.Errorf("%s in %s", part, m.Raw)
			}
		}
	}
	if h := w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED"); h.Text("name") != "hidden" || h.Text("info") != "Stopped by publisher stop" {
		t.Errorf("backend: %s", h.Raw)
	}
	c.Send("sendData", map[string]any{"operationId": "op", "payload": 1})
	if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, `"operationId":"op"`) {
		t.Errorf("sendData: %s", m.Raw)
	}
}

// A method that configuration or policy exclude is not called, and the request continues.
func TestExcludedMethodsAreNotCalled(t *testing.T) {
	w := newHookWorld(t, func(c *hooks.Config, _ *apps.App) {
		c.Methods = []hooks.Method{hooks.Connect, hooks.PublishStream, hooks.StreamStatusEvent, hooks.OnDataEvent}
	})
	w.policy(map[string]map[string]string{"publishStream": {"restPolicy": "DISABLED"}, "OnDataEvent": {"restPolicy": "DISABLE"}})
	c := w.connect(t, podA)
	publishAV(t, c, "pub", "s")
	c.AwaitSDP("pub")
	c.Unpublish("pub", "s")
	c.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED")
	c.Send("sendData", map[string]any{"operationId": "op"})
	if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, "No application server takes data") {
		t.Errorf("sendData: %s", m.Raw)
	}
	if got := w.backend.Order(); !slices.Equal(got, []string{"connect", "StreamStatusEvent UNPUBLISHED"}) {
		t.Errorf("calls %q", got)
	}

	silent := newHookWorld(t, func(c *hooks.Config, _ *apps.App) { c.Methods = []hooks.Method{hooks.ConnectionStatusEvent} })
	silent.sampleClient(t, podA).Await("getUserData")
	if h := silent.backend.Await("ConnectionStatusEvent"); h.Text("status") != "ESTABLISHED" || h.Text("origin") != testOrigin {
		t.Errorf("without connect: %s", h.Raw)
	}
}

func TestSendDataFailsWithoutBackend(t *testing.T) {
	c := newWorld(t, nil).connect(t, podA)
	c.Send("sendData", map[string]any{"operationId": "op", "payload": 1})
	if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, `"status":"FAILED"`) || !strings.Contains(m.Raw, "No application server takes data") {
		t.Errorf("sendData: %s", m.Raw)
	}
}

// The client stops the stream, or the session ends, before the backend answers the start.
func TestStopBeforeBackendAnswersUndoesStart(t *testing.T) {
	for _, kind := range []string{"publishStream", "playStream"} {
		for _, how := range []string{"stop", "close"} {
			t.Run(kind+" "+how, func(t *testing.T) {
				w := newHookWorld(t, nil)
				hold := make(chan struct{})
				w.backend.On(kind, rig.Hold(hold, rig.Echo))
				c := w.connect(t, podA)
				status, info := "UNPUBLISHED", "Stopped by publisher stop"
				if kind == "publishStream" {
					publishAV(t, c, "early", "s")
				} else {
					playAV(t, c, "early", "s")
					status, info = "STOPPED", "Stopped by user"
				}
				w.backend.Await(kind)
				if how == "stop" {
					c.Stop("early", "s")
					c.WantStatus("early", status, info)
					publishAV(t, c, "early", "s2") // the id is free again; its call waits behind the held one
					c.Unpublish("early", "s2")
					c.WantStatus("early", "UNPUBLISHED", "Stopped by publisher stop")
				}
				c.Close()
				rig.Eventually(t, 20*time.Second, "connection closed", func() bool { return testutil.ToFloat64(w.pods[podA].metrics.Connections) == 0 })
				close(hold)
				if how == "close" {
					info = "Stopped by session disconnect"
				}
				if h := w.backend.AwaitStatus("StreamStatusEvent", status); h.Text("info") != info {
					t.Errorf("%s", h.Raw)
				}
				w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
				if order := w.backend.Order(); order[len(order)-1] != "ConnectionStatusEvent DISCONNECTED" {
					t.Errorf("calls %q", order)
				}
				w.sfu.set(func() {
					if len(w.sfu.published)+len(w.sfu.played) > 0 {
						t.Error("LiveKit was called")
					}
				})
				w.wantClean(t)
			})
		}
	}
}

// The backend receives the ends of streams before the end of their session.
func TestStreamEndsPrecedeSessionEnd(t *testing.T) {
	w := newHookWorld(t, nil)
	pub, play := w.up(t, podA, podB)
	play.Close()
	if h := w.backend.AwaitStatus("StreamStatusEvent", "STOPPED"); h.Text("info") != "Stopped by session disconnect" || h.Text("mediaSessionId") != "play" {
		t.Errorf("%s", h.Raw)
	}
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	w.stop(podA) // also when the pod shuts down
	_ = pub.AwaitClosed()
	if h := w.backend.AwaitStatus("StreamStatusEvent", "UNPUBLISHED"); h.Text("info") != "Stopped by session disconnect" {
		t.Errorf("%s", h.Raw)
	}
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	w.wantClean(t)
}

// A slow backend receives the ends of all streams of a session.
func TestBackendReceivesEndsOfManyStreams(t *testing.T) {
	w := newHookWorld(t, nil)
	hold := make(chan struct{})
	w.backend.On("playStream", rig.Hold(hold, rig.Echo))
	c := w.connect(t, podA)
	n := w.pods[podA].cfg.MaxStreams
	for round := range 2 {
		for i := range n {
			id := fmt.Sprintf("play-%d-%d", round, i)
			playAV(t, c, id, "s")
			if round == 0 {
				c.Stop(id, "s")
				c.WantStatus(id, "STOPPED", "Stopped by user")
			}
		}
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	c.Await("availableStream") // all commands are processed
	c.Close()
	rig.Eventually(t, 20*time.Second, "connection closed", func() bool { return testutil.ToFloat64(w.pods[podA].metrics.Connections) == 0 })
	close(hold)
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	for method, want := range map[string]int{"playStream": 2 * n, "stopStream": n, "StreamStatusEvent": 2 * n} {
		if got := w.backend.Count(method); got != want {
			t.Errorf("%d calls of %s, want %d", got, method, want)
		}
	}
	w.wantClean(t)
}

// A backend that does not answer only delays the sessions of its application. Calls of one session are
// sequential.
func TestSlowBackendDelaysOnlyItsApplication(t *testing.T) {
	w := newHookWorld(t, func(c *hooks.Config, _ *apps.App) { c.MaxInFlight = 2 })
	w.policy(fail("OnDataEvent"))
	hold := make(chan struct{})
	w.backend.On("OnDataEvent", rig.Hold(hold, rig.Echo))
	slow, other := w.connect(t, podA), rig.Connect(t, w.urls[podA], "native")
	const asked = hooks.MaxClientCalls + 6
	for i := range asked {
		slow.Send("sendData", map[string]any{"operationId": fmt.Sprint(i), "payload": i})
	}
	for i := hooks.MaxClientCalls; i < asked; i++ {
		m := slow.Await("DataStatusEvent")
		if !strings.Contains(m.Raw, fmt.Sprintf(`"operationId":"%d"`, i)) || !strings.Contains(m.Raw, "Application server is busy") {
			t.Errorf("call beyond the limit: %s", m.Raw)
		}
	}
	publishAV(t, other, "pub", "s")
	other.AwaitSDP("pub")
	slow.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	slow.Await("availableStream") // the session itself is not blocked
	rig.Eventually(t, 20*time.Second, "the first call reaches the backend", func() bool { return w.backend.Count("OnDataEvent") > 0 })
	if n := w.backend.Count("OnDataEvent"); n != 1 {
		t.Errorf("%d concurrent calls of one session, want 1", n)
	}
	close(hold)
	for i := range hooks.MaxClientCalls {
		m := slow.Await("DataStatusEvent")
		if !strings.Contains(m.Raw, fmt.Sprintf(`"operationId":"%d","status":"ACCEPTED"`, i)) {
			t.Errorf("answer %d: %s", i, m.Raw)
		}
	}
}

// StreamKeepAliveEvent is repeated. Under FAIL a refusal ends the stream, a missing answer does not.
func TestStreamKeepAliveRefusalEndsStream(t *testing.T) {
	const interval = 20 * time.Millisecond
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Hooks.KeepAlive = interval })
	w.policy(fail("StreamKeepAliveEvent"))
	pub, play := w.up(t, podA, podB)
	for range 3 {
		h := w.backend.AwaitStatus("StreamKeepAliveEvent", "PUBLISHING")
		wantGolden(t, h)
		w.backend.AwaitStatus("StreamKeepAliveEvent", "PLAYING")
	}
	w.backend.On("StreamKeepAliveEvent", rig.Say("garbage"))
	pub.Await("fail")
	pub.Await("fail")
	w.backend.On("StreamKeepAliveEvent", func(rw http.ResponseWriter, h rig.Hook) {
		if h.Text("status") == "PLAYING" {
			rig.Refuse(http.StatusForbidden)(rw, h)
			return
		}
		rig.Echo(rw, h)
	})
	play.WantStatus("play", "FAILED", "Terminated by keep-alive")
	w.backend.AwaitStatus("StreamStatusEvent", "FAILED")
	w.backend.On("StreamKeepAliveEvent", rig.Refuse(http.StatusForbidden))
	pub.WantStatus("pub", "FAILED", "Terminated by keep-alive")
	w.wantClean(t)
	n := w.backend.Count("StreamKeepAliveEvent")
	pub.Send("sendData", map[string]any{"operationId": "op"}) // its call is queued after the last one
	pub.Await("DataStatusEvent")
	if again := w.backend.Count("StreamKeepAliveEvent"); again != n {
		t.Errorf("%d calls after the end", again-n)
	}
}

// Without FAIL no answer to StreamKeepAliveEvent ends a stream.
func TestStreamKeepAliveEndsNoStreamUnderLog(t *testing.T) {
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Hooks.KeepAlive = 20 * time.Millisecond })
	w.backend.On("StreamKeepAliveEvent", rig.Refuse(http.StatusForbidden))
	pub, _ := w.up(t, podA, podB)
	for range 3 {
		w.backend.AwaitStatus("StreamKeepAliveEvent", "PUBLISHING")
		w.backend.AwaitStatus("StreamKeepAliveEvent", "PLAYING")
	}
	if n := pub.Count("notifyStreamStatusEvent") + pub.Count("fail"); n != 0 {
		t.Errorf("client got: %s", pub.Names())
	}
}

func TestHookCallsAreCountedByClassOfError(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	for class, err := range map[string]error{
		"ok": nil, "refused": &hooks.Refusal{Status: 403}, "busy": hooks.ErrBusy, "bad_answer": fmt.Errorf("x: %w", hooks.ErrBadResponse),
		"unavailable": hooks.ErrUnavailable, "given_up": errors.Join(hooks.ErrUnavailable, context.Canceled),
	} {
		before := testutil.CollectAndCount(m.HookCalls)
		m.HookCall(hooks.Connect, time.Second, err)
		if testutil.CollectAndCount(m.HookCalls) != before+1 || !m.HookCalls.DeleteLabelValues("connect", class) {
			t.Errorf("%v is not of class %s", err, class)
		}
	}
}

// A client that floods a slow backend cannot suppress the events of its session's end.
func TestBackendReceivesSessionEndAfterFlood(t *testing.T) {
	w := newHookWorld(t, nil)
	hold := make(chan struct{})
	w.backend.On("OnDataEvent", rig.Hold(hold, rig.Echo))
	c := w.connect(t, podA)
	for i := range 4 * (hooks.MaxClientCalls + w.pods[podA].cfg.MaxStreams) {
		c.Send("sendData", map[string]any{"operationId": fmt.Sprint(i), "payload": i})
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	c.Await("availableStream") // all commands are processed
	c.Close()
	rig.Eventually(t, 20*time.Second, "connection closed", func() bool { return testutil.ToFloat64(w.pods[podA].metrics.Connections) == 0 })
	close(hold)
	w.backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
}

// Calls with large bodies are dropped while a client's queued calls exceed the limit.
func TestBytesOfQueuedCallsAreBounded(t *testing.T) {
	w := newHookWorld(t, nil)
	hold := make(chan struct{})
	w.backend.On("OnDataEvent", rig.Hold(hold, rig.Echo))
	payload := strings.Repeat("x", 250<<10)
	c := w.connect(t, podA)
	for i := range 12 {
		c.Send("sendData", map[string]any{"operationId": fmt.Sprint(i), "payload": payload})
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
	c.Await("availableStream")
	close(hold)
	for range 12 {
		c.Await("DataStatusEvent")
	}
	if n := w.backend.Count("OnDataEvent"); n != 4 {
		t.Errorf("%d calls were made, want those that fit into 1 MiB: 4", n)
	}
}
