package attacks

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// guessedToken checks that a token other than the victim's does not open the victim's session.
func guessedToken(t *testing.T, s *scene) {
	for _, token := range []string{
		"guess", "", "/127.0.0.1:1/0123456789abcdef/" + strings.Repeat("0", 64), strings.Repeat("x", 10_000), "wcs:*", "\x00",
	} {
		c := rig.DialWith(t, dialer(attacker), s.Gateway.URL)
		c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "keepAlive": true, "authToken": token})
		var user struct{ AuthToken string }
		m := c.AwaitMatch("an answer", func(m rig.Message) bool { return m.Name == "getUserData" || m.Name == "fail" })
		if m.Name == "fail" {
			continue
		}
		m.Arg(t, 0, &user)
		if user.AuthToken == token || !strings.HasPrefix(user.AuthToken, "/"+attacker+":") {
			t.Errorf("token %.40q opened the session %.40s", token, user.AuthToken)
		}
		c.Unpublish(victimMediaID, victimStream)
		c.Close()
	}
}

// hijack knows everything about the victim's stream, but does not own its session.
func hijack(t *testing.T, s *scene) {
	audience := rig.Connect(t, s.Gateway.URL, "defaultApp")
	audience.Play("victims-audience", victimStream, rig.NewPlayer(t, rig.PeerOptions{}))
	audience.AwaitMatch("size of the picture", func(m rig.Message) bool { return m.Name == "notifyStreamEvent" && strings.Contains(m.Raw, "resize") })
	unknown := s.metric(t, `wcs_client_stats_total{result="unknown"}`)
	c := s.connect(t, attacker)
	publisher, player := rig.NewPublisher(t, rig.PeerOptions{}).Offer(), rig.NewPlayer(t, rig.PeerOptions{}).Offer()
	for range 20 {
		c.Unpublish(victimMediaID, victimStream)
		c.Stop(victimMediaID, victimStream)
		c.Send("sendStreamEvent", map[string]any{"mediaSessionId": victimMediaID, "type": "videoMuted"})
		c.Send("webRTCMetricsClientDescription", victimStats)
		c.Send("webRTCMetricsBatch", victimBatch)
	}
	c.Send("publishStream", rig.StreamRequest(victimMediaID, "another", publisher, true, nil))
	c.WantStatus(victimMediaID, "FAILED", "MediaSessionId is already in use")
	c.Send("playStream", rig.StreamRequest(victimMediaID, victimStream, player, false, nil))
	c.WantStatus(victimMediaID, "FAILED", "MediaSessionId is already in use")
	c.Send("publishStream", rig.StreamRequest("another-id", victimStream, publisher, true, nil))
	c.WantStatus("another-id", "FAILED", "Stream name is already in use")
	for range 20 { // one may watch the stream, and nothing else
		c.Send("snapshot", map[string]any{"mediaSessionId": victimMediaID, "name": victimStream})
	}
	rig.Eventually(t, patience, "statistics of another's stream are not taken", func() bool {
		return s.metric(t, `wcs_client_stats_total{result="unknown"}`) >= unknown+2*20
	})
	audience.Send("sendData", map[string]any{"operationId": "told", "payload": 1})
	audience.Await("DataStatusEvent") // everything that was sent before has arrived
	if n := audience.Count("notifyStreamEvent") + audience.Count("notifyStreamStatusEvent"); n > 0 {
		t.Errorf("the victim's player received: %s", audience.Names())
	}
	audience.Stop("victims-audience", victimStream)
	audience.WantStatus("victims-audience", "STOPPED", "Stopped by user")
	audience.Close()
}

// forbiddenPlay plays through an application whose playFrom excludes the victim's application.
func forbiddenPlay(t *testing.T, s *scene) {
	c := rig.Connect(t, s.Gateway.URL, "closed")
	offer := rig.NewPlayer(t, rig.PeerOptions{}).Offer()
	for i := range 20 {
		id := fmt.Sprintf("forbidden-%d", i)
		c.Send("playStream", rig.StreamRequest(id, victimStream, offer, false, nil))
		c.WantStatus(id, "FAILED", "Restricted access")
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "forbidden", "name": victimStream})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, "Restricted access") {
		t.Errorf("availableStream: %s", m.Raw)
	}
	c.Close()
}

// forgedWebhooks report that the victim left.
func forgedWebhooks(t *testing.T, s *scene) {
	list := slices.DeleteFunc(s.LiveKit.Participants(t, "wcs."+victimStream), func(p *lkproto.ParticipantInfo) bool {
		_, role, _, _ := translate.Identity(p.GetIdentity()).Parse()
		return role == translate.RoleProbe || role == translate.RoleSnapshot // these measure the victim's rate or take a picture
	})
	if len(list) != 1 {
		t.Fatalf("%d participants in the victim's room", len(list))
	}
	left := func(identity, sid string) string {
		b, err := json.Marshal(map[string]any{
			"event": "participant_left", "id": "EV_forged", "room": map[string]any{"name": "wcs." + victimStream},
			"participant": map[string]any{"identity": identity, "sid": sid, "disconnectReason": "PARTICIPANT_REMOVED"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	forged := left(list[0].GetIdentity(), list[0].GetSid())
	for what, token := range map[string]string{
		"nothing": "", "nonsense": "x", "a guessed secret": sign(t, s.LiveKit.Key, strings.Repeat("g", 32), forged),
		"another key":        sign(t, "APIother", s.LiveKit.Secret, forged),
		"for another body":   sign(t, s.LiveKit.Key, s.LiveKit.Secret, left("x", "y")),
		"of no algorithm":    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJkZXZrZXkifQ.",
		"much too long body": sign(t, s.LiveKit.Key, s.LiveKit.Secret, strings.Repeat(" ", 2<<20)),
	} {
		body := forged
		if strings.Contains(what, "too long") {
			body = strings.Repeat(" ", 2<<20)
		}
		if status := s.post(t, token, body); status != http.StatusUnauthorized {
			t.Errorf("signed with %s: %d", what, status)
		}
	}

	// Genuine webhooks, recorded and replayed: identities are used once, so the webhooks are stale.
	c := s.connect(t, attacker)
	c.Publish("earlier", "earlier", rig.NewPublisher(t, rig.PeerOptions{}))
	earlier := s.LiveKit.Participants(t, "wcs.earlier")[0]
	c.Unpublish("earlier", "earlier")
	c.WantStatus("earlier", "UNPUBLISHED", "Stopped by publisher stop")
	c.Publish("later", "earlier", rig.NewPublisher(t, rig.PeerOptions{}))
	replay := left(earlier.GetIdentity(), earlier.GetSid())
	for range 5 {
		if status := s.post(t, sign(t, s.LiveKit.Key, s.LiveKit.Secret, replay), replay); status != http.StatusOK {
			t.Errorf("replayed: %d", status)
		}
	}
	c.Send("availableStream", map[string]any{"mediaSessionId": "ask", "name": "earlier"})
	if m := c.Await("availableStream"); !strings.Contains(m.Raw, `"true"`) {
		t.Errorf("a replay ended another stream of the same name: %s", m.Raw)
	}
	if n := c.Count("notifyStreamStatusEvent"); n > 0 {
		t.Errorf("a client received messages after a replay: %s", c.Names())
	}
	c.Close()
	s.WantClean(t, "earlier")
}

// sign signs a webhook as LiveKit does.
func sign(t *testing.T, key, secret, body string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	token, err := auth.NewAccessToken(key, secret).SetValidFor(time.Minute).SetSha256(base64.StdEncoding.EncodeToString(sum[:])).ToJWT()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (s *scene) post(t *testing.T, token, body string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Gateway.Internal+"/webhook", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Type", "application/webhook+json")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// forgedAddress checks that only a trusted proxy can set the client address.
func forgedAddress(t *testing.T, s *scene) {
	for from, want := range map[string]string{attacker: "/" + attacker + ":", proxy: "/203.0.113.7:0/"} {
		ws := dial(t, s.Gateway.URL, from, http.Header{"X-Forwarded-For": {"127.0.0.1, 203.0.113.7"}})
		say(t, ws, "connection", map[string]any{"appKey": "defaultApp"})
		if _, b, err := ws.ReadMessage(); err != nil || !strings.Contains(string(b), `"authToken":"`+want) {
			t.Errorf("from %s: %.300s %v, want an authToken that begins %s", from, b, err, want)
		}
	}
	// A new forged address for each connection does not circumvent the limit.
	before := s.refused(t, "address")
	for i := range perAddress + 50 {
		ws, res, err := dialer("127.0.0.3").Dial(s.Gateway.URL, http.Header{"X-Forwarded-For": {"203.0.113." + string(rune('0'+i%10))}})
		if err == nil {
			t.Cleanup(func() { _ = ws.Close() })
		}
		if res != nil {
			_ = res.Body.Close()
		}
	}
	s.wantRefusals(t, "address", before, 1)
}

// crossOrigin connects from pages of other origins.
func crossOrigin(t *testing.T, s *scene) {
	before := s.refused(t, "origin")
	pages := map[string]int{
		"https://evil.example": 403, "https://example.com.evil.example": 403, "https://evilexample.com": 403, "http://app.example.com": 403,
		"null": 403, "https://app.example.com:8443": 403, "https://app.example.com": 101, "": 101,
	}
	refused := 0
	for page, status := range pages {
		header := http.Header{}
		if page != "" {
			header.Set("Origin", page)
		}
		ws, res, err := dialer(attacker).Dial(s.Gateway.URL, header)
		if res == nil {
			t.Fatalf("%s: %v", page, err)
		}
		if ws != nil {
			_ = ws.Close()
		}
		_ = res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%q: %d, want %d", page, res.StatusCode, status)
		}
		if status == 403 {
			refused++
		}
	}
	s.wantRefusals(t, "origin", before, float64(refused))
}
