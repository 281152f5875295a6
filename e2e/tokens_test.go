package e2e

import (
	"fmt"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// A client has another client's authToken, or a part of one, or guesses. Only the whole token resumes the
// session, once, and only in its application. Other tokens do not affect the session's owner.
func TestPartOfATokenResumesNothing(t *testing.T) {
	t.Parallel()
	g, s := pods(t, 2)
	owner, token := rig.ConnectKept(t, g[0].URL, "defaultApp", "")
	owner.Publish("kept-pub", "kept", rig.NewPublisher(t, rig.PeerOptions{}))
	viewer := rig.Connect(t, g[1].URL, "defaultApp")
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	viewer.Play("play", "kept", screen)

	for _, present := range []bool{true, false} { // first while the owner is there, then while he is away
		if !present {
			owner.Drop()
		}
		for what, forged := range forgeries(token) {
			for pod := range g {
				wantNewSession(t, fmt.Sprintf("%s, owner there: %v, pod %d", what, present, pod), g[pod].URL, "defaultApp", forged, token)
			}
		}
		wantNewSession(t, "another application", g[1].URL, "roomApp", token, token)
	}
	wantMedia(t, screen, translate.Audio, translate.Video)

	// Nothing of it has used up the token.
	back, next := rig.ConnectKept(t, g[1].URL, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	wantResumed(t, "the owner", next, token)
	for pod := range g {
		wantNewSession(t, "a used token", g[pod].URL, "defaultApp", token, token)
	}
	awaitRoundTrip(t, back) // whom it has not disturbed

	// A client with the whole token counts as the owner: of many at once, on both pods, one.
	resumed := wantOneResumed(t, g, next)
	_ = back.AwaitClosed() // and the owner finds out
	resumed.WantStatus("kept-pub", "PUBLISHING", "")
	wantNewSession(t, "the owner, too late", g[0].URL, "defaultApp", next, token)
	if n := viewer.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("the viewer was notified: %s", viewer.Names())
	}
	resumed.Unpublish("kept-pub", "kept")
	viewer.WantStatus("play", "FAILED", "Stopped by publisher stop")
	s.WantClean(t)
}

// forgeries are tokens made from what an attacker may have read: session ids are in logs and hooks.
func forgeries(token string) map[string]string {
	id := sessionOf(token)
	flipped := byte('0')
	if token[len(token)-1] == flipped {
		flipped = '1'
	}
	return map[string]string{
		"the session id":                  id,
		"the session id and a slash":      id + "/",
		"a guess":                         id + "/" + strings.Repeat("0", 64),
		"a token with another last digit": token[:len(token)-1] + string(flipped),
		"most of a token":                 token[:len(token)-1],
		"more than a token":               token + "0",
		"a token in capitals":             strings.ToUpper(token),
		"a token and a space":             token + " ",
		"a pattern":                       id + "/*",
	}
}

func sessionOf(token string) string { return token[:strings.LastIndexByte(token, '/')] }

// wantNewSession checks that a client with a forged token gets a session of its own, without the streams of
// the real token's session.
func wantNewSession(t *testing.T, what, url, app, forged, real string) {
	t.Helper()
	c, got := rig.ConnectKept(t, url, app, forged)
	if sessionOf(got) == sessionOf(real) {
		t.Errorf("%s gives the session", what)
	}
	c.Unpublish("kept-pub", "kept") // a repeat, for all that this session knows
	awaitRoundTrip(t, c)
	if n := c.Count("notifyStreamStatusEvent") + c.Count("notifyVideoFormat"); n != 0 {
		t.Errorf("%s reports the streams: %s", what, c.Names())
	}
	c.Close()
}

func wantResumed(t *testing.T, who, got, token string) {
	t.Helper()
	if sessionOf(got) != sessionOf(token) || got == token {
		t.Errorf("%s has the session %s with a new token: %v", who, sessionOf(got), got != token)
	}
}

// wantOneResumed connects clients with the same token at the same time and returns the one that has the
// session.
func wantOneResumed(t *testing.T, g []*rig.Gateway, token string) (resumed *rig.Client) {
	t.Helper()
	var clients []*rig.Client
	for i := range 8 {
		clients = append(clients, rig.Dial(t, g[i%len(g)].URL))
	}
	for _, c := range clients {
		c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "keepAlive": true, "authToken": token})
	}
	for _, c := range clients {
		var user struct{ AuthToken string }
		c.Await("getUserData").Arg(t, 0, &user)
		if sessionOf(user.AuthToken) != sessionOf(token) {
			continue
		}
		wantResumed(t, "an attacker", user.AuthToken, token)
		if resumed != nil {
			t.Fatal("two clients have the session")
		}
		resumed = c
	}
	if resumed == nil {
		t.Fatal("nobody has the session")
	}
	return resumed
}
