package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// TestEncoderPublishesThroughIngress is docs/rtmp-in.md: an encoder such as OBS sends to LiveKit's ingress,
// and legacy clients play the stream by its name.
func TestEncoderPublishesThroughIngress(t *testing.T) {
	t.Parallel()
	s := &rig.Stage{Ports: rig.NewPorts(t), Redis: rig.StartRedis(t)}
	s.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{
		Webhook: s.Ports.Webhook(), Redis: s.Redis.Addr, Extra: "ingress: {rtmp_base_url: '" + rig.IngressURL + "'}",
	})
	env := map[string]string{"WCS_APPLICATIONS": "{defaultApp: {}, encoders: {native: play, room: 'rtmp.{name}'}}"}
	for k, v := range restEnv(t) {
		env[k] = v
	}
	s.Gateway = rig.StartGateway(t, rig.GatewayOptions{Ports: s.Ports, LiveKit: s.LiveKit, Redis: s.Redis.Addr, Env: env})
	s.Gateway.AwaitReady(t)
	ingress := rig.StartIngress(t, s.LiveKit, s.Redis.Addr)
	url, key := ingress.Create("rtmp.studio", "obs")
	if url != rig.IngressURL || key == "" {
		t.Fatalf("ingress %q with key %q", url, key)
	}

	viewer := rig.Connect(t, s.Gateway.URL, "encoders")
	play := func(id string) {
		t.Helper()
		rig.Eventually(t, egressPatience, "the stream is there, with both tracks", func() bool {
			if !slices.ContainsFunc(s.LiveKit.Participants(t, "rtmp.studio"), func(p *lkproto.ParticipantInfo) bool { return len(p.GetTracks()) == 2 }) {
				return false
			}
			viewer.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "studio"})
			var a struct{ Status string }
			viewer.Await("availableStream").Arg(t, 0, &a)
			return a.Status == "true"
		})
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		if st := viewer.Play(id, "studio", screen); st.AudioCodec != "opus" || st.VideoCodec != "H264" {
			t.Errorf("PLAYING %+v", st)
		}
		wantMedia(t, screen, translate.Audio, translate.Video)
	}
	viewer.Send("playStream", rig.StreamRequest("early", "studio", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	viewer.WantStatus("early", "FAILED", "Session does not exist")
	disconnect := ingress.Connect(key)
	if p := s.LiveKit.Participants(t, "rtmp.studio"); len(p) != 1 || p[0].GetKind() != lkproto.ParticipantInfo_INGRESS {
		t.Errorf("participants %v", p)
	}
	play("first")

	// What docs/rtmp-in.md says about REST and other publishers.
	b := backend{"http://" + s.Gateway.Listening(t, "rest.listen"), "ops", "secret"}
	b.want(t, "/rest-api/stream/find", `{"name":"studio","published":true}`, 404)
	var players []struct{ MediaSessionID string }
	if err := json.Unmarshal([]byte(b.want(t, "/rest-api/stream/find", `{"name":"studio","published":false}`, 200)), &players); err != nil || len(players) != 1 || players[0].MediaSessionID != "first" {
		t.Errorf("players %+v, %v", players, err)
	}
	other := rig.Connect(t, s.Gateway.URL, "encoders")
	other.Send("publishStream", rig.StreamRequest("pub", "studio", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
	other.WantStatus("pub", "FAILED", "Stream name is already in use")

	// The encoder's connection drops, and it comes back with the same key.
	disconnect()
	viewer.WantStatus("first", "FAILED", "Stopped by publisher stop")
	disconnect = ingress.Connect(key)
	play("second")
	disconnect()
	viewer.WantStatus("second", "FAILED", "Stopped by publisher stop")
	if strings.Contains(s.Gateway.Output(), key) {
		t.Error("the log contains the stream key")
	}
}
