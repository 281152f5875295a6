package gateway

import (
	"strings"
	"testing"
	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/hooks"
	"wcsgateway/translate"
)

// Apps pass numbers as names, logins and ids. WCS takes them as text.
func TestNumbersAreAcceptedAsNames(t *testing.T) {
	w := newHookWorld(t, func(_ *hooks.Config, app *apps.App) { app.Rooms = true })
	w.policy(map[string]map[string]string{"publishStream": {"restPolicy": "OVERWRITE", "restOverwrite": "name"}})
	enter := func(pod string, login any) *rig.Client {
		c := w.dial(t, pod)
		c.Send("connection", map[string]any{"appKey": "defaultApp", "custom": map[string]any{"login": login}})
		c.Await("getUserData")
		return c
	}
	join := func(c *rig.Client, room any) {
		c.Send("sendData", map[string]any{"operationId": 77, "payload": map[string]any{"command": "join", "options": map[string]any{"name": room}}})
		if m := c.Await("DataStatusEvent"); !strings.Contains(m.Raw, `"operationId":"77","status":"ACCEPTED"`) {
			t.Fatalf("join %v: %s", room, m.Raw)
		}
	}
	number, text := enter(podA, 17), enter(podB, "18")
	join(text, "5")
	join(number, 5)
	text.AwaitMatch("the member of the same room", func(m rig.Message) bool { return strings.Contains(m.Raw, `"name":"JOINED","info":"17"`) })

	w.backend.On("publishStream", rig.Change(map[string]any{"name": 12346}))
	number.SendRaw(`{"message":"publishStream","data":[{"mediaSessionId":1,"name":12345,"custom":{"name":5},"sdp":` + string(asJSON(t, offerOf(t, "publish"))) + `}]}`)
	number.AwaitSDP("1")
	w.media(t, podA, translate.RolePublish)
	number.WantStatus("1", "PUBLISHING", "")
	text.AwaitMatch("the stream in the same room", func(m rig.Message) bool { return strings.Contains(m.Raw, `"info":{"login":"17","name":"12346"}`) })
	text.Send("availableStream", map[string]any{"mediaSessionId": "a", "name": 12346})
	if m := text.Await("availableStream"); !strings.Contains(m.Raw, `"status":"true"`) {
		t.Errorf("availableStream: %s", m.Raw)
	}
}
