package hybrid

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"wcsgateway/gateway/upstream"
	"wcsgateway/translate/wcs"
)

func mse(id, stream string) string { return playWith("MSE", id, stream) }

func playWith(provider, id, stream string) string {
	return strings.Replace(command(wcs.CmdPlayStream, id, stream), `"sdp"`, `"mediaProvider":"`+provider+`","sdp"`, 1)
}

var otherProviders = []string{"MSE", "WSPlayer"}

func TestTokenIsKeptWhileSessionCanHaveMediaSockets(t *testing.T) {
	for _, provider := range otherProviders {
		t.Run(provider, func(t *testing.T) { keepsToken(t, provider) })
	}
}

func keepsToken(t *testing.T, provider string) {
	srv := newServer(t)
	p := newPod(t, srv.url, nil)
	s := p.session(false, nil)
	s.do(func() { s.client.Established("/s", token) })
	s.sends(command(wcs.CmdPlayStream, "rtc", "x"))
	v := srv.welcome()
	v.read()
	v.send(status("rtc", "x", wcs.StatusPlaying, ""))
	s.want("PLAYING")
	if _, calls := p.kept.get(); calls > 0 {
		t.Error("a token is kept for a client that plays by WebRTC")
	}
	play := playWith(provider, "m", "x")
	s.sends(play)
	v.want(play)
	kept, _ := p.kept.get()
	if kept == nil || kept.Name != "old" || bytes.Contains(kept.Token, []byte("secret-of-upstream")) {
		t.Fatalf("kept %+v", kept)
	}
	if got, err := OpenToken(kept, token); got != "secret-of-upstream" || err != nil {
		t.Errorf("token %q, %v", got, err)
	}
	if got, err := OpenToken(kept, "/s/another"); got != "" || !errors.Is(err, ErrToken) {
		t.Errorf("with another authToken: %q, %v", got, err)
	}
	_ = v.ws.Close()
	lost := <-s.got + <-s.got
	for _, want := range []string{`"mediaProvider":"WebRTC"`, `"mediaProvider":"` + provider + `"`} {
		if !strings.Contains(lost, want) {
			t.Errorf("no %s in %s", want, lost)
		}
	}
	if kept, _ = p.kept.get(); kept != nil {
		t.Error("the token is kept without a link")
	}
	s.sends(play)
	v = srv.welcome()
	v.read()
	p.eventually("the token of the next link is kept", func() bool { kept, _ = p.kept.get(); return kept != nil })
	s.do(func() { s.client.End() })
	if kept, _ = p.kept.get(); kept != nil {
		t.Error("the token is kept without a session")
	}
}

func TestOtherMediaProvidersGoUpstreamWithFallback(t *testing.T) {
	for _, provider := range otherProviders {
		srv := newServer(t)
		p := newPod(t, srv.url, nil)
		s := p.session(false, func(a *App) { a.Fallback = true })
		s.do(func() { s.client.Established("/s", token) })
		s.set(func() { s.names["both"] = true })
		play := playWith(provider, "m", "both")
		s.sends(play)
		v := srv.welcome()
		v.want(play)
		v.send(status("m", "both", wcs.StatusPlaying, ""))
		s.want("PLAYING")
		s.sends(command(wcs.CmdPlayStream, "rtc", "both"))
		s.wantServed(wcs.CmdPlayStream)
		s.sends(command(wcs.CmdStopStream, "m", "both"))
		v.want(command(wcs.CmdStopStream, "m", "both"))
		without := p.session(false, nil)
		without.set(func() { without.names["both"] = true })
		without.sends(play)
		without.wantServed(wcs.CmdPlayStream)
	}
}

func TestMediaProviderIsShortText(t *testing.T) {
	p := newPod(t, newServer(t).url, func(d *Deps, _ *upstream.ServerConfig) { d.MaxStreams = 0 })
	s := p.session(false, func(a *App) { a.Fallback = true })
	for sent, want := range map[string]string{
		`"MSE"`: "MSE", `"` + strings.Repeat("M", 32) + `"`: strings.Repeat("M", 32),
		`"` + strings.Repeat("M", 33) + `"`: wcs.ProviderWebRTC, `{"x":["y"]}`: wcs.ProviderWebRTC, `7`: wcs.ProviderWebRTC, `null`: wcs.ProviderWebRTC,
	} {
		s.sends(strings.Replace(mse("m", "x"), `"MSE"`, sent, 1)) // goes upstream, where the session has no room for it
		s.want("FAILED", infoTooManyStreams, `"mediaProvider":"`+want+`"`)
	}
}
