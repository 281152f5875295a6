package e2e

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

func wantMedia(t *testing.T, screen *rig.Peer, kinds ...translate.Kind) {
	t.Helper()
	for _, kind := range kinds {
		before := screen.Packets(kind)
		rig.Eventually(t, 30*time.Second, "packets of "+string(kind), func() bool { return screen.Packets(kind) > before+10 })
	}
}

type format struct {
	MediaSessionID      string
	Status              string
	StreamerVideoWidth  int
	StreamerVideoHeight int
	PlayerVideoWidth    int
	PlayerVideoHeight   int
}

var streamTests = map[string]func(*testing.T){
	"audio and video flow, and messages are in order": func(t *testing.T) {
		c := connect(t)
		st := c.Publish("av-pub", "av", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
		if st.AudioCodec != "opus" || st.VideoCodec != "VP8" || !st.HasAudio || !st.HasVideo || st.CreateDate < 1.7e12 {
			t.Errorf("PUBLISHING %+v", st)
		}
		viewer := connect(t)
		viewer.Await("ping")
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		viewer.Send("playStream", rig.StreamRequest("av-play", "av", screen.Offer(), false, nil))
		var order []string
		next := func() rig.Message {
			m := viewer.AwaitMatch("the next message", func(m rig.Message) bool {
				return m.Name != "ping" && m.Name != "getVersion" && m.Name != "outboundVideoRate" // these come in their own time
			})
			order = append(order, m.Name)
			return m
		}
		next()
		var sdp string
		next().Arg(t, 1, &sdp)
		screen.SetAnswer(sdp)
		next()
		var f format
		next().Arg(t, 0, &f)
		next()
		want := "notifyAudioCodec setRemoteSDP notifyStreamStatusEvent notifyVideoFormat notifyStreamEvent"
		if got := strings.Join(order, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if f != (format{"av-play", "RESIZE", 320, 240, 320, 240}) {
			t.Errorf("notifyVideoFormat %+v", f)
		}
		wantMedia(t, screen, translate.Audio, translate.Video)
		if tracks := screen.Tracks(); len(tracks) != 2 || tracks[0].StreamID != tracks[1].StreamID {
			t.Errorf("tracks %+v are not in one stream", tracks)
		}
		viewer.Stop("av-play", "av")
		if s := viewer.WantStatus("av-play", "STOPPED", "Stopped by user"); s.Width != 320 || s.Height != 240 {
			t.Errorf("STOPPED without size: %+v", s)
		}
		c.Unpublish("av-pub", "av")
		if s := c.WantStatus("av-pub", "UNPUBLISHED", "Stopped by publisher stop"); s.Width != 320 || s.Height != 240 {
			t.Errorf("UNPUBLISHED without size: %+v", s)
		}
	},
	"a new size is sent to players": func(t *testing.T) {
		c := connect(t)
		peer := rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240})
		c.Publish("size-pub", "size", peer)
		viewer := connect(t)
		viewer.Play("size-play", "size", rig.NewPlayer(t, rig.PeerOptions{}))
		wantFormat := func(width int) {
			viewer.AwaitMatch("format", func(m rig.Message) bool {
				var f format
				return m.Name == "notifyVideoFormat" && func() bool { m.Arg(t, 0, &f); return f.StreamerVideoWidth == width }()
			})
		}
		wantFormat(320)
		peer.Resize(640, 480)
		wantFormat(640)
	},
	"audio flows without video": func(t *testing.T) {
		c := connect(t)
		st := c.Publish("a-pub", "a-only", rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
		if st.AudioCodec != "opus" || st.VideoCodec != "" || st.HasVideo || !st.HasAudio {
			t.Errorf("PUBLISHING %+v", st)
		}
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		if st := c.Play("a-play", "a-only", screen); st.AudioCodec != "opus" || st.VideoCodec != "" || st.HasVideo {
			t.Errorf("PLAYING %+v", st)
		}
		wantMedia(t, screen, translate.Audio)
	},
	"video flows without audio": func(t *testing.T) {
		c := connect(t)
		st := c.Publish("v-pub", "v-only", rig.NewPublisher(t, rig.PeerOptions{Video: true}))
		if st.AudioCodec != "" || st.VideoCodec != "VP8" || !st.HasVideo || st.HasAudio {
			t.Errorf("PUBLISHING %+v", st)
		}
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		if st := c.Play("v-play", "v-only", screen); st.AudioCodec != "" || st.HasAudio {
			t.Errorf("PLAYING %+v", st)
		}
		wantMedia(t, screen, translate.Video)
		if n := c.Count("notifyAudioCodec"); n != 0 {
			t.Error("notifyAudioCodec without audio")
		}
	},
	"a player of one track gets one track": func(t *testing.T) {
		c := connect(t)
		c.Publish("less-pub", "less", rig.NewPublisher(t, rig.PeerOptions{}))
		screen := rig.NewPlayer(t, rig.PeerOptions{Audio: true})
		if st := c.Play("less-play", "less", screen); st.VideoCodec != "" || st.AudioCodec != "opus" {
			t.Errorf("PLAYING %+v", st)
		}
		wantMedia(t, screen, translate.Audio)
	},
	"an application that allows only H264 gets it": func(t *testing.T) {
		c := rig.Connect(t, stage.Gateway.URL, "h264")
		st := c.Publish("h264-pub", "h264", rig.NewPublisher(t, rig.PeerOptions{VideoMime: webrtc.MimeTypeH264}))
		if st.VideoCodec != "H264" {
			t.Errorf("PUBLISHING %+v", st)
		}
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		if st := c.Play("h264-play", "h264", screen); st.VideoCodec != "H264" {
			t.Errorf("PLAYING %+v", st)
		}
		wantMedia(t, screen, translate.Audio, translate.Video)
	},
	"ten players receive a stream, in the publisher's session and in others": func(t *testing.T) {
		c := connect(t)
		c.Publish("ten-pub", "ten", rig.NewPublisher(t, rig.PeerOptions{}))
		var clients []*rig.Client
		for i := range 10 {
			p := c
			if i%2 == 1 {
				p = connect(t)
			}
			id := "ten-play-" + string(rune('a'+i))
			screen := rig.NewPlayer(t, rig.PeerOptions{})
			if i < 7 { // a session has at most eight streams here
				p.Play(id, "ten", screen)
			} else {
				p = connect(t)
				p.Play(id, "ten", screen)
			}
			wantMedia(t, screen, translate.Audio, translate.Video)
			clients = append(clients, p)
		}
		c.Unpublish("ten-pub", "ten")
		for i, p := range clients {
			p.WantStatus("ten-play-"+string(rune('a'+i)), "FAILED", "Stopped by publisher stop")
		}
	},
	"media flows over TCP": func(t *testing.T) {
		c := connect(t)
		c.StartPublish("tcp-pub", "tcp", rig.NewPublisher(t, rig.PeerOptions{TCP: true}), map[string]any{"transport": "TCP"})
		c.WantStatus("tcp-pub", "PUBLISHING", "")
		screen := rig.NewPlayer(t, rig.PeerOptions{TCP: true})
		c.Send("playStream", rig.StreamRequest("tcp-play", "tcp", screen.Offer(), false, map[string]any{"transport": "TCP"}))
		sdp := c.AwaitSDP("tcp-play")
		for line := range strings.Lines(sdp) {
			if strings.HasPrefix(line, "a=candidate") && !strings.Contains(line, " tcp ") {
				t.Errorf("candidate that is not TCP: %s", line)
			}
		}
		screen.SetAnswer(sdp)
		c.WantStatus("tcp-play", "PLAYING", "")
		wantMedia(t, screen, translate.Audio, translate.Video)
	},
	"the answer has the bitrates of clients that do not apply them": func(t *testing.T) {
		limits := map[string]any{"minBitrate": "300", "maxBitrate": 900}
		c := connect(t)
		c.Send("publishStream", rig.StreamRequest("rate-old", "rate-old", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, limits))
		if sdp := c.AwaitSDP("rate-old"); !strings.Contains(sdp, "x-google-min-bitrate=300") || !strings.Contains(sdp, "x-google-max-bitrate=900") {
			t.Errorf("no limits in %s", sdp)
		}
		limits["localMediaInfo"] = map[string]any{}
		c.Send("publishStream", rig.StreamRequest("rate-new", "rate-new", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, limits))
		if sdp := c.AwaitSDP("rate-new"); strings.Contains(sdp, "x-google") {
			t.Errorf("limits for a client that sets them itself: %s", sdp)
		}
	},
	"faulty requests fail with WCS's info": func(t *testing.T) {
		c := connect(t)
		pub, play := rig.NewPublisher(t, rig.PeerOptions{}).Offer(), rig.NewPlayer(t, rig.PeerOptions{}).Offer()
		for _, f := range []struct {
			name, stream, sdp, info string
			published               bool
			extra                   map[string]any
		}{
			{"no SDP", "f", "", "Bad SDP: it has no media", true, nil},
			{"no media", "f", "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "Bad SDP: it has no media", true, nil},
			{"not SDP", "f", "hello", "Bad SDP", true, nil},
			{"player that sends", "f", pub, "Bad SDP", false, nil},
			{"publisher that receives", "f", play, "Bad SDP", true, nil},
			{"empty name", "", pub, "Bad stream name", true, nil},
			{"long name", strings.Repeat("n", 300), pub, "Bad stream name", true, nil},
			{"control character", "a\nb", pub, "Bad stream name", true, nil},
			{"no such stream", "nobody's", play, "Session does not exist", false, nil},
			{"scheme", "rtsp://example.com/live", play, "Session does not exist", false, nil},
			{"MSE", "f", play, "No common codecs", false, map[string]any{"mediaProvider": "MSE"}},
			{"republish", "f", pub, "Failed by RTMP writer error", true, map[string]any{"rtmpUrl": "rtmp://example.com/live"}},
			{"media id", "f", pub, "MediaSessionId is null", true, map[string]any{"mediaSessionId": ""}},
			{"long media id", "f", pub, "MediaSessionId is null", true, map[string]any{"mediaSessionId": strings.Repeat("m", 129)}},
		} {
			cmd := "playStream"
			if f.published {
				cmd = "publishStream"
			}
			c.Send(cmd, rig.StreamRequest("fault", f.stream, f.sdp, f.published, f.extra))
			id := "fault"
			if v, ok := f.extra["mediaSessionId"]; ok {
				id = v.(string)
			}
			if s := c.AwaitStatus(id); s.Status != "FAILED" || !strings.HasPrefix(s.Info, f.info) {
				t.Errorf("%s: %s %q, want FAILED %q", f.name, s.Status, s.Info, f.info)
			}
		}
		stage.WantClean(t, "f")
	},
	"an SDP that LiveKit refuses fails its stream": func(t *testing.T) {
		c := connect(t)
		offer := strings.ReplaceAll(rig.NewPublisher(t, rig.PeerOptions{}).Offer(), "a=fingerprint:sha-256", "a=fingerprint:md-4711")
		c.Send("publishStream", rig.StreamRequest("refused", "refused", offer, true, nil))
		if s := c.AwaitStatus("refused"); s.Status != "FAILED" || s.Info == "" {
			t.Errorf("%+v", s)
		}
	},
	"offers of other clients than browsers are served": func(t *testing.T) {
		c := connect(t)
		onlyAudio := func(offer, other string) string { // as the Android SDK offers
			i := strings.LastIndex(offer, "m=")
			return offer[:i] + strings.NewReplacer("a=sendonly", other, "a=recvonly", other).Replace(offer[i:])
		}
		without := func(line string) func(string) string {
			return func(offer string) string { return regexp.MustCompile("a="+line+".*\r\n").ReplaceAllString(offer, "") }
		}
		for name, f := range map[string]struct {
			options       rig.PeerOptions
			publish, play func(string) string
		}{
			"direction": {rig.PeerOptions{}, func(o string) string { return onlyAudio(o, "a=recvonly") }, func(o string) string { return onlyAudio(o, "a=sendonly") }},
			"group":     {rig.PeerOptions{Audio: true}, without("group"), without("group")},
		} {
			peer, screen := rig.NewPublisher(t, f.options), rig.NewPlayer(t, f.options)
			c.Send("publishStream", rig.StreamRequest(name+"-pub", name, f.publish(peer.Offer()), true, nil))
			peer.SetAnswer(c.AwaitSDP(name + "-pub"))
			c.WantStatus(name+"-pub", "PUBLISHING", "")
			c.Send("playStream", rig.StreamRequest(name+"-play", name, f.play(screen.Offer()), false, nil))
			screen.SetAnswer(c.AwaitSDP(name + "-play"))
			c.WantStatus(name+"-play", "PLAYING", "")
			wantMedia(t, screen, translate.Audio)
		}
	},
	"offers with which no media can flow are refused": func(t *testing.T) {
		c := connect(t)
		pub, play := rig.NewPublisher(t, rig.PeerOptions{}).Offer(), rig.NewPlayer(t, rig.PeerOptions{}).Offer()
		without := func(offer, lines string) string {
			return regexp.MustCompile("a="+lines+".*\r\n").ReplaceAllString(offer, "")
		}
		c.Publish("flow-pub", "flow", rig.NewPublisher(t, rig.PeerOptions{}))
		for name, f := range map[string]struct {
			cmd, sdp, info string
		}{
			"no group": {"publishStream", without(pub, "group"), "Bad SDP: malformed SDP: no BUNDLE group has all m-lines in use"},
			"no mids":  {"publishStream", without(pub, "(group|mid)"), "Bad SDP: malformed SDP: no mid in m-line 0 (audio)"},
			"no SSRC":  {"publishStream", without(pub, "ssrc"), "Bad SDP: malformed SDP: no SSRC"},
			// Only LiveKit finds this fault, and answers 503.
			"extension":       {"publishStream", pub + "a=extmap:x y\r\n", "Bad SDP: refused by the media server"},
			"play, no group":  {"playStream", without(play, "group"), "Bad SDP: malformed SDP: no BUNDLE group has all m-lines in use"},
			"play, extension": {"playStream", play + "a=extmap:x y\r\n", "Bad SDP: refused by the media server"},
		} {
			stream := "flow"
			if f.cmd == "publishStream" {
				stream = "flow " + name
			}
			c.Send(f.cmd, rig.StreamRequest(name, stream, f.sdp, f.cmd == "publishStream", nil))
			c.WantStatus(name, "FAILED", f.info)
		}
	},
	"a play without a common codec is refused": func(t *testing.T) {
		c := connect(t)
		c.Publish("codec-pub", "codec", rig.NewPublisher(t, rig.PeerOptions{Video: true}))
		offer := rig.NewPlayer(t, rig.PeerOptions{Video: true}).Offer()
		c.Send("playStream", rig.StreamRequest("codec-play", "codec", strings.ReplaceAll(offer, " VP8/90000", " VP7/90000"), false, nil))
		c.WantStatus("codec-play", "FAILED", "No common codecs")
	},
	"a name that is taken is refused": func(t *testing.T) {
		c, d := connect(t), connect(t)
		c.Publish("taken-1", "taken", rig.NewPublisher(t, rig.PeerOptions{}))
		d.Send("publishStream", rig.StreamRequest("taken-2", "taken", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
		d.WantStatus("taken-2", "FAILED", "Stream name is already in use")
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		d.Play("taken-3", "taken", screen) // the first continues
		wantMedia(t, screen, translate.Audio, translate.Video)
	},
	"a media id that is taken is refused": func(t *testing.T) {
		c, d := connect(t), connect(t)
		c.Publish("id-1", "id-a", rig.NewPublisher(t, rig.PeerOptions{}))
		offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
		d.Send("publishStream", rig.StreamRequest("id-1", "id-b", offer, true, nil))
		d.WantStatus("id-1", "FAILED", "MediaSessionId is already in use")
		c.Send("publishStream", rig.StreamRequest("id-1", "id-c", offer, true, nil))
		c.WantStatus("id-1", "FAILED", "MediaSessionId is already in use")
	},
	"streams above the limit of a session are refused": func(t *testing.T) {
		c := connect(t)
		offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
		for i := range 8 {
			id := "limit-" + string(rune('a'+i))
			c.Send("publishStream", rig.StreamRequest(id, id, offer, true, nil))
			c.AwaitSDP(id)
		}
		c.Send("publishStream", rig.StreamRequest("limit-x", "limit-x", offer, true, nil))
		c.WantStatus("limit-x", "FAILED", "Too many streams in this session")
	},
	"a play waits for a stream that is starting": func(t *testing.T) {
		c, d := connect(t), connect(t)
		peer := rig.NewPublisher(t, rig.PeerOptions{})
		c.Send("publishStream", rig.StreamRequest("soon-pub", "soon", peer.Offer(), true, nil))
		sdp := c.AwaitSDP("soon-pub") // claimed, but no media yet
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		d.Send("playStream", rig.StreamRequest("soon-play", "soon", screen.Offer(), false, nil))
		d.Send("availableStream", map[string]any{"mediaSessionId": "soon-play", "name": "soon"})
		var a struct{ Status, Info string }
		d.Await("availableStream").Arg(t, 0, &a)
		if a.Status != "false" || a.Info != "Publish stream is not ready" {
			t.Errorf("available %+v", a)
		}
		peer.SetAnswer(sdp)
		c.WantStatus("soon-pub", "PUBLISHING", "")
		screen.SetAnswer(d.AwaitSDP("soon-play"))
		d.WantStatus("soon-play", "PLAYING", "")
		wantMedia(t, screen, translate.Audio, translate.Video)
	},
	"a play of a stream that never starts fails": func(t *testing.T) {
		c, d := connect(t), connect(t)
		c.Send("publishStream", rig.StreamRequest("never-pub", "never", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
		c.AwaitSDP("never-pub")
		d.Send("playStream", rig.StreamRequest("never-play", "never", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
		d.WantStatus("never-play", "FAILED", "Publish stream is not ready")
	},
}

// withoutSSRC takes the SSRC lines out of some sections of an offer. LiveKit announces a track whose SSRC was
// in the offer as soon as the transport is up, and one without when its media arrives.
func withoutSSRC(offer string, kinds ...string) string {
	var out strings.Builder
	section := ""
	for line := range strings.Lines(offer) {
		if rest, ok := strings.CutPrefix(line, "m="); ok {
			section, _, _ = strings.Cut(rest, " ")
		}
		if !strings.HasPrefix(line, "a=ssrc") || !slices.Contains(kinds, section) {
			out.WriteString(line)
		}
	}
	return out.String()
}

var endTests = map[string]func(*testing.T){
	"a stop during the start ends the stream": func(t *testing.T) {
		for i := range 10 {
			c := connect(t)
			c.Send("publishStream", rig.StreamRequest("early-pub", "early", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
			if i%2 == 0 {
				c.AwaitSDP("early-pub")
			}
			c.Unpublish("early-pub", "early")
			c.WantStatus("early-pub", "UNPUBLISHED", "Stopped by publisher stop")
			c.Unpublish("early-pub", "early") // a repeat is ignored
			c.Close()
		}
		c := connect(t)
		c.Publish("early-pub", "early", rig.NewPublisher(t, rig.PeerOptions{}))
		for i := range 10 {
			c.Send("playStream", rig.StreamRequest("early-play", "early", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
			if i%2 == 0 {
				c.AwaitSDP("early-play")
			}
			c.Stop("early-play", "early")
			c.WantStatus("early-play", "STOPPED", "Stopped by user")
		}
		c.Close()
		stage.WantClean(t, "early")
	},
	"players end when the publisher's socket closes": func(t *testing.T) {
		for _, end := range []func(*rig.Client){(*rig.Client).Close, (*rig.Client).Drop} {
			c, d := connect(t), connect(t)
			c.Publish("gone-pub", "gone", rig.NewPublisher(t, rig.PeerOptions{}))
			d.Play("gone-play", "gone", rig.NewPlayer(t, rig.PeerOptions{}))
			end(c)
			d.WantStatus("gone-play", "FAILED", "Stopped by publisher stop")
			d.Close()
			stage.WantClean(t, "gone")
		}
	},
	"a client that reconnects publishes again at once": func(t *testing.T) {
		for i := range 10 {
			c := connect(t)
			c.Publish("again-"+string(rune('a'+i)), "again", rig.NewPublisher(t, rig.PeerOptions{}))
			c.Close()
		}
	},
	"a participant that is removed in LiveKit ends its stream": func(t *testing.T) {
		c, d := connect(t), connect(t)
		c.Publish("kick-pub", "kick", rig.NewPublisher(t, rig.PeerOptions{}))
		d.Play("kick-play", "kick", rig.NewPlayer(t, rig.PeerOptions{}))
		d.Play("kick-play2", "kick", rig.NewPlayer(t, rig.PeerOptions{}))
		remove := func(role string) {
			for _, p := range stage.LiveKit.Participants(t, "wcs.kick") {
				if strings.Contains(p.GetIdentity(), ":"+role+":") {
					_, err := stage.LiveKit.Rooms().RemoveParticipant(context.Background(), &lkproto.RoomParticipantIdentity{Room: "wcs.kick", Identity: p.GetIdentity()})
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
			t.Errorf("no %s in the room", role)
		}
		remove("play")
		d.AwaitMatch("one player's end", func(m rig.Message) bool {
			return m.Name == "notifyStreamStatusEvent" && strings.Contains(m.Raw, `"info":"Requested stream shutdown"`)
		})
		remove("pub")
		c.WantStatus("kick-pub", "FAILED", "Requested stream shutdown")
		d.AwaitMatch("the other player's end", func(m rig.Message) bool {
			return m.Name == "notifyStreamStatusEvent" && strings.Contains(m.Raw, `"info":"Stopped by publisher stop"`)
		})
		stage.WantClean(t, "kick")
	},
	"a room that is deleted ends its streams": func(t *testing.T) {
		c := connect(t)
		c.Publish("del-pub", "del", rig.NewPublisher(t, rig.PeerOptions{}))
		if _, err := stage.LiveKit.Rooms().DeleteRoom(context.Background(), &lkproto.DeleteRoomRequest{Room: "wcs.del"}); err != nil {
			t.Fatal(err)
		}
		c.WantStatus("del-pub", "FAILED", "Requested stream shutdown")
	},
	"a stream whose ICE never completes fails": func(t *testing.T) {
		c := connect(t)
		c.Publish("ice-ok", "ice-ok", rig.NewPublisher(t, rig.PeerOptions{}))
		c.Send("publishStream", rig.StreamRequest("ice-pub", "ice", rig.NewPublisher(t, rig.PeerOptions{}).Offer(), true, nil))
		c.AwaitSDP("ice-pub")
		c.Send("playStream", rig.StreamRequest("ice-play", "ice-ok", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
		c.AwaitSDP("ice-play")
		c.WantStatus("ice-pub", "FAILED", "Failed by ICE timeout")
		c.WantStatus("ice-play", "FAILED", "Failed by ICE timeout")
	},
	"a connected publisher without media fails": func(t *testing.T) {
		c := connect(t)
		peer := rig.NewPublisher(t, rig.PeerOptions{Mute: true})
		// LiveKit learns the SSRC of a simulcast layer from its packets, and of other tracks from the offer.
		layers := strings.ReplaceAll(withoutSSRC(peer.Offer(), "audio", "video"), "a=sendonly\r\n", "a=sendonly\r\na=rid:a send\r\na=simulcast:send a\r\n")
		c.StartPublish("mute-pub", "mute", peer, map[string]any{"sdp": layers})
		<-peer.Up()
		c.WantStatus("mute-pub", "FAILED", "Failed by RTP activity")
	},
	"an offer without SSRC is refused": func(t *testing.T) {
		c := connect(t)
		offer := withoutSSRC(rig.NewPublisher(t, rig.PeerOptions{}).Offer(), "audio", "video")
		c.Send("publishStream", rig.StreamRequest("none-pub", "none", offer, true, nil))
		c.WantStatus("none-pub", "FAILED", "Bad SDP: malformed SDP: no SSRC")
	},
	"a stream is published although one of two tracks is late": func(t *testing.T) {
		c := connect(t)
		peer := rig.NewPublisher(t, rig.PeerOptions{MuteVideo: true})
		c.StartPublish("late-pub", "late", peer, map[string]any{"sdp": withoutSSRC(peer.Offer(), "video")})
		if s := c.WantStatus("late-pub", "PUBLISHING", ""); s.AudioCodec != "opus" || s.VideoCodec != "" {
			t.Errorf("PUBLISHING %+v", s)
		}
	},
	"a player whose media is lost fails": func(t *testing.T) {
		c := connect(t)
		c.Publish("lost-pub", "lost", rig.NewPublisher(t, rig.PeerOptions{}))
		screen := rig.NewPlayer(t, rig.PeerOptions{})
		c.Play("lost-play", "lost", screen)
		screen.Close() // LiveKit notices after 15 s
		c.WantStatus("lost-play", "FAILED", "Failed by ICE keep alive")
	},
}
