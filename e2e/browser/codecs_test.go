package browser

import (
	"slices"
	"strings"

	"wcsgateway/translate/wcs"
)

// codecTests strip codecs from the offer, as applications do with stripCodecs, and check the codecs that are
// sent.
var codecTests = map[string]func(*scene){
	"a publisher without any one codec uses the next":               publishWithoutEach,
	"a player without any one codec plays the rest":                 playWithoutEach,
	"a player of H264 without any one codec plays the rest":         playH264WithoutEach,
	"a publisher without codecs of a kind publishes the other kind": publishWithoutKind,
	"a player without codecs of a kind plays the other kind":        playWithoutKind,
	"an application that allows only H264 gets it":                  onlyH264,
}

// leftCodec returns the codec used without the stripped one: the first, which both sides prefer, or the
// second if the first is stripped. In place of opus LiveKit uses PCMU, because the gateway leaves all codecs
// of an m-line that has no codec allowed by the application.
func leftCodec(first, second, stripped string) string {
	if stripped == first {
		return second
	}
	return first
}

// strippedCodecs are the codecs that are stripped one at a time: those that calls use; with the flag more all
// that the browser can send.
func strippedCodecs(s *scene, tb *legacyTab) []string {
	s.t.Helper()
	all := append(call[[]string](tb.tab, "codecNames", "audio"), call[[]string](tb.tab, "codecNames", "video")...)
	for _, needed := range []string{"opus", "G722", "PCMU", "PCMA", "red", "rtx", "VP8", "H264", "VP9", "AV1"} {
		if !slices.Contains(all, needed) {
			s.t.Fatalf("the browser has no %s, only %v", needed, all)
		}
	}
	if !*more {
		return []string{"opus", "red", "rtx", "VP8", "H264"}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func publishWithoutEach(s *scene) {
	publishers := s.legacyTab(newestSDK).login(defaultApp)
	viewers := s.legacyTab(newestSDK).login(defaultApp)
	for _, codec := range strippedCodecs(s, publishers.tab) {
		name := s.name("without-" + codec)
		publisher := publishers.publish(name, options{"stripCodecs": codec})
		player := viewers.play(name, nil)
		got := player.wantMedia(cameraMedia)
		audio, video := leftCodec("opus", "PCMU", codec), leftCodec("VP8", "H264", codec)
		if st := publisher.lastStatus(); st.AudioCodec != audio || st.VideoCodec != video {
			s.t.Errorf("without %s: PUBLISHING %+v, want %s and %s", codec, st, audio, video)
		}
		if got.AudioCodec != audio || got.VideoCodec != video {
			s.t.Errorf("without %s: player receives %+v, want %s and %s", codec, got, audio, video)
		}
		publisher.stop()
		publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	}
}

func playWithoutEach(s *scene) { playStripped(s, nil, "VP8") }

func playH264WithoutEach(s *scene) { playStripped(s, options{"stripCodecs": "VP8"}, "H264") }

// playStripped plays a stream whose audio is opus, and checks the codecs that remain without each codec.
func playStripped(s *scene, publish options, video string) {
	name := s.name("all")
	s.legacyTab(newestSDK).login(defaultApp).publish(name, publish)
	viewers := s.legacyTab(newestSDK).login(defaultApp)
	for _, codec := range strippedCodecs(s, viewers.tab) {
		want := cameraMedia
		switch codec {
		case "opus":
			want.Audio = false
		case video:
			want = mediaWant{Audio: true}
		}
		player := viewers.play(name, options{"stripCodecs": codec})
		st, got := player.lastStatus(), player.wantMedia(want)
		wantAudio, wantVideo := pick(want.Audio, "opus"), pick(want.Video, video)
		if st.AudioCodec != wantAudio || st.VideoCodec != wantVideo || st.HasAudio != want.Audio || st.HasVideo != want.Video {
			s.t.Errorf("without %s: PLAYING %+v, want %q and %q", codec, st, wantAudio, wantVideo)
		}
		if got.AudioCodec != wantAudio || got.VideoCodec != wantVideo {
			s.t.Errorf("without %s: player receives %+v, want %q and %q", codec, got, wantAudio, wantVideo)
		}
		player.stop()
		player.want(wcs.StatusStopped, wcs.InfoStoppedByUser)
	}
}

func pick(there bool, codec string) string {
	if there {
		return codec
	}
	return ""
}

// all lists the codecs of a kind, for stripCodecs.
func all(tb *legacyTab, kind string) string {
	return strings.Join(call[[]string](tb.tab, "codecNames", kind), ",")
}

func publishWithoutKind(s *scene) {
	publishers := s.legacyTab(newestSDK).login(defaultApp)
	viewers := s.legacyTab(newestSDK).login(defaultApp)
	audio, video := all(publishers.tab, "audio"), all(publishers.tab, "video")

	name := s.name("no-video")
	publishers.publish(name, options{"stripCodecs": video})
	viewers.play(name, nil).wantMedia(mediaWant{Audio: true})

	name = s.name("no-audio")
	publishers.publish(name, options{"stripCodecs": audio})
	viewers.play(name, nil).wantMedia(mediaWant{Video: true, Width: 320, Height: 240})

	publishers.start("publish", s.name("nothing"), options{"stripCodecs": audio + "," + video}).want(wcs.StatusFailed, wcs.InfoNoCommonCodecs)
}

func playWithoutKind(s *scene) {
	name := s.name("half")
	s.legacyTab(newestSDK).login(defaultApp).publish(name, nil)
	viewers := s.legacyTab(newestSDK).login(defaultApp)
	audio, video := all(viewers.tab, "audio"), all(viewers.tab, "video")

	viewers.play(name, options{"stripCodecs": video}).wantMedia(mediaWant{Audio: true})
	viewers.play(name, options{"stripCodecs": audio}).wantMedia(mediaWant{Video: true, Width: 320, Height: 240})
	for _, stripped := range []string{"opus,VP8", audio + "," + video} {
		viewers.start("play", name, options{"stripCodecs": stripped}).want(wcs.StatusFailed, wcs.InfoNoCommonCodecs)
	}
}

// onlyH264 publishes in an application that allows only H264, from a browser that prefers VP8.
func onlyH264(s *scene) {
	name := s.name("h264")
	publisher := s.legacyTab(newestSDK).login(h264App).publish(name, nil)
	if st := publisher.lastStatus(); st.AudioCodec != "opus" || st.VideoCodec != "H264" {
		s.t.Errorf("PUBLISHING %+v", st)
	}
	viewers := s.legacyTab(newestSDK).login(defaultApp)
	if got := viewers.play(name, nil).wantMedia(cameraMedia); got.VideoCodec != "H264" {
		s.t.Errorf("player receives %+v", got)
	}
}
