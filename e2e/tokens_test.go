package e2e

import (
	"fmt"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// A client has another client's authToken, or a part of one, or guesses. Anything but the whole token, for
// the application that it was given to, is worth nothing and costs the owner nothing; the whole one works
// once.
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
				wantStranger(t, fmt.Sprintf("%s, owner there: %v, pod %d", what, present, pod), g[pod].URL, "defaultApp", forged, token)
			}
		}
		wantStranger(t, "another application", g[1].URL, "roomApp", token, token)
	}
	wantMedia(t, screen, translate.Audio, translate.Video)

	// Nothing of it has used up the token.
	back, next := rig.ConnectKept(t, g[1].URL, "defaultApp", token)
	back.WantStatus("kept-pub", "PUBLISHING", "")
	wantSame(t, "the owner", next, token)
	for pod := range g {
		wantStranger(t, "a used token", g[pod].URL, "defaultApp", token, token)
	}
	pang(t, back) // whom it has not disturbed

	// A client with the whole token counts as the owner: of many at once, on both pods, one.
	lucky := wantOne(t, g, next)
	_ = back.AwaitClosed() // and the owner finds out
	lucky.WantStatus("kept-pub", "PUBLISHING", "")
	wantStranger(t, "the owner, too late", g[0].URL, "defaultApp", next, token)
	if n := viewer.Count("notifyStreamStatusEvent"); n != 0 {
		t.Errorf("the viewer has noticed: %s", viewer.Names())
	}
	lucky.Unpublish("kept-pub", "kept")
	viewer.WantStatus("play", "FAILED", "Stopped by publisher stop")
	s.WantClean(t)
}

// forgeries are made of what a thief may have seen: session ids are in logs and hooks.
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

// wantStranger wants a client with another client's token to get a session of its own that has nothing of the
// real token's.
func wantStranger(t *testing.T, what, url, app, forged, real string) {
	t.Helper()
	c, got := rig.ConnectKept(t, url, app, forged)
	if sessionOf(got) == sessionOf(real) {
		t.Errorf("%s gives the session", what)
	}
	c.Unpublish("kept-pub", "kept") // a repeat, for all that this session knows
	pang(t, c)
	if n := c.Count("notifyStreamStatusEvent") + c.Count("notifyVideoFormat"); n != 0 {
		t.Errorf("%s tells of the streams: %s", what, c.Names())
	}
	c.Close()
}

func wantSame(t *testing.T, who, got, token string) {
	t.Helper()
	if sessionOf(got) != sessionOf(token) || got == token {
		t.Errorf("%s has the session %s with a new token: %v", who, sessionOf(got), got != token)
	}
}

// wantOne has clients come with the same token at once and returns the one that has the session.
func wantOne(t *testing.T, g []*rig.Gateway, token string) (lucky *rig.Client) {
	t.Helper()
	var thieves []*rig.Client
	for i := range 8 {
		thieves = append(thieves, rig.Dial(t, g[i%len(g)].URL))
	}
	for _, c := range thieves {
		c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "keepAlive": true, "authToken": token})
	}
	for _, c := range thieves {
		var user struct{ AuthToken string }
		c.Await("getUserData").Arg(t, 0, &user)
		if sessionOf(user.AuthToken) != sessionOf(token) {
			continue
		}
		wantSame(t, "a thief", user.AuthToken, token)
		if lucky != nil {
			t.Fatal("two clients have the session")
		}
		lucky = c
	}
	if lucky == nil {
		t.Fatal("nobody has the session")
	}
	return lucky
}
