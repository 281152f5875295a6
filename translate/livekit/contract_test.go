package livekit

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// TestLiveKitBehavesAsDocumented checks against a real livekit-server what the gateway relies on
// (docs/livekit-notes.md): WHIP, participants, tracks, webhooks. Not covered is the missing congestion
// control for subscribed video, which needs a lossy network.
func TestLiveKitBehavesAsDocumented(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for name, test := range map[string]func(*testing.T, *stage){
		"publish names and measures tracks (1)":                  testPublish,
		"size changes show where the media is":                   testSizeChange,
		"a player receives audio and video":                      func(t *testing.T, s *stage) { eachWay(t, s, testPlay) },
		"a player receives media over TCP":                       func(t *testing.T, s *stage) { eachWay(t, s, testPlayTCP) },
		"a player receives H264":                                 func(t *testing.T, s *stage) { eachWay(t, s, testPlayH264) },
		"a player receives the kind that it requests":            func(t *testing.T, s *stage) { eachWay(t, s, testPlayOneKind) },
		"a play of an absent publisher fails":                    func(t *testing.T, s *stage) { eachWay(t, s, testPlayNothing) },
		"a play by signalling binds the tracks of its publisher": testExactTracks,
		"surplus tracks are bound in any order (2)":              testSurplusTracks,
		"absent track hangs and leaves a rest (3)":               testAbsentTrack,
		"content type and size of an offer (4)":                  testOfferLimits,
		"a resource has an etag, a location and a token":         testResource,
		"unusable offers are refused":                            testUnusableOffers,
		"mended offers are accepted":                             func(t *testing.T, s *stage) { eachWay(t, s, testMendedOffers) },
		"recorded offers of browsers are answered":               func(t *testing.T, s *stage) { eachWay(t, s, testBrowserOffers) },
		"unbundled offers are answered with port 0":              testUnbundledOffer,
		"removal is idempotent":                                  testRemove,
		"a participant is replaced by the same identity":         testReplaced,
		"rooms end after the token's timeout":                    testRoomEnds,
		"vanished client closes the participant (8)":             testVanished,
		"the port of a vanished client is not served":            testPortAgain,
		"a participant whose ICE never starts leaves":            testNeverUp,
		"a wrong key is denied":                                  testWrongKey,
		"tokens allow one operation in one room":                 testLeastGrant,
		"mute state and data reach participants":                 testMutes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func testPublish(t *testing.T, s *stage) {
	id := publisher()
	peer, answer := s.publish(t, id, rig.PeerOptions{})
	up(t, peer)
	p := s.measured(t, id, 320, 240)
	if p.SID != answer.SID || !p.Active || p.JoinedAt.IsZero() {
		t.Errorf("participant is %+v, answer of %s", p, answer.SID)
	}
	for kind, want := range map[translate.Kind]translate.Track{
		translate.Audio: {Name: "synthesized-microphone", Kind: translate.Audio, Mime: "audio/opus"},
		translate.Video: {Name: "synthesized-camera", Kind: translate.Video, Mime: "video/VP8", Width: 320, Height: 240},
	} {
		got := trackOf(p, kind)
		want.SID = got.SID
		if got != want || got.SID == "" {
			t.Errorf("%s track is %+v, want %+v", kind, got, want)
		}
	}
	joined := s.await(t, translate.EventJoined, room(t), id)
	if joined.SID != answer.SID || joined.ID == "" || joined.At.IsZero() {
		t.Errorf("joined webhook is %+v", joined)
	}
	published := s.await(t, translate.EventTrack, room(t), id)
	if published.SID != answer.SID || published.Track.Kind == "" || published.Track.Mime == "" {
		t.Errorf("track webhook is %+v", published)
	}
	s.await(t, translate.EventRoomStarted, room(t), "")
}

// Participants show the new size only when something else about the participant changes.
func testSizeChange(t *testing.T, s *stage) {
	id := publisher()
	peer, _ := s.publish(t, id, rig.PeerOptions{Video: true})
	s.measured(t, id, 320, 240)
	peer.Resize(640, 360)
	s.measured(t, id, 640, 360)
}

func testPlay(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	peer, id, answer := s.play(t, pub, rig.PeerOptions{})
	s.flows(t, peer, translate.Audio, translate.Video)
	owner := s.ask(t, pub)
	for _, got := range peer.Tracks() {
		want := trackOf(owner, got.Kind).SID
		if got.TrackID != want || got.StreamID != owner.SID+"|"+want {
			t.Errorf("player received %+v, want track %s of %s", got, want, owner.SID)
		}
	}
	// Hidden participants are listed, and have webhooks.
	if p := s.find(t, id); p.SID != answer.SID || !p.Active {
		t.Errorf("hidden player is listed as %+v", p)
	}
	if joined := s.await(t, translate.EventJoined, room(t), id); joined.SID != answer.SID {
		t.Errorf("joined webhook is %+v", joined)
	}
}

func testPlayTCP(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{TCP: true})
	peer, _, _ := s.play(t, pub, rig.PeerOptions{TCP: true})
	s.flows(t, peer, translate.Audio, translate.Video)
}

func testPlayH264(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{Video: true, VideoMime: "video/H264", Width: 642, Height: 362})
	p := s.measured(t, pub, 642, 362)
	if mime := trackOf(p, translate.Video).Mime; mime != "video/H264" {
		t.Errorf("track is %s", mime)
	}
	peer, _, _ := s.play(t, pub, rig.PeerOptions{Video: true})
	s.flows(t, peer, translate.Video)
}

// With several publishers in a (native) room LiveKit binds the tracks of whichever publisher its map yields
// first to the offer's m-lines. It only waits for the named tracks, which count as subscribed without an
// m-line. The msid of the answer names the tracks that were bound.
func testSurplusTracks(t *testing.T, s *stage) {
	s = s.by(t, PlayWHIP)
	ours := map[string]translate.Kind{}
	native := []translate.Identity{"native 1", "native 2", "nätive 3 😀"}
	for _, id := range native {
		s.publish(t, id, rig.PeerOptions{})
		for _, track := range s.ask(t, id).Tracks {
			ours[track.SID] = track.Kind
		}
	}
	peer, _, answer := s.play(t, native[2], rig.PeerOptions{})
	s.flows(t, peer, translate.Audio, translate.Video)

	var bound []string
	for _, m := range regexp.MustCompile(`a=msid:\S+ (\S+)`).FindAllStringSubmatch(answer.SDP, -1) {
		if ours[m[1]] == "" {
			t.Errorf("answer names track %s, want one of %v", m[1], ours)
		}
		bound = append(bound, m[1])
	}
	if n := strings.Count(answer.SDP, "m="); n != 2 || len(bound) != 2 {
		t.Errorf("answer has %d m-lines and the tracks %v, want 2 and 2", n, bound)
	}
	for _, got := range peer.Tracks() {
		if !slices.Contains(bound, got.TrackID) {
			t.Errorf("player receives track %s, the answer has %v", got.TrackID, bound)
		}
	}
}

// By signalling, LiveKit subscribes a player to exactly the tracks that the gateway names.
func testExactTracks(t *testing.T, s *stage) {
	s = s.by(t, PlaySignal)
	native := []translate.Identity{"native 1", "native 2", "nätive 3 😀"}
	for _, id := range native {
		s.publish(t, id, rig.PeerOptions{})
	}
	for _, id := range native {
		peer, _, _ := s.play(t, id, rig.PeerOptions{})
		s.flows(t, peer, translate.Audio, translate.Video)
		owner := s.ask(t, id)
		for _, got := range peer.Tracks() {
			if want := trackOf(owner, got.Kind).SID; got.TrackID != want {
				t.Errorf("player of %s receives track %s, want %s", id, got.TrackID, want)
			}
		}
	}
}

func testPlayOneKind(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	for kind, o := range map[translate.Kind]rig.PeerOptions{translate.Audio: {Audio: true}, translate.Video: {Video: true}} {
		peer, id := rig.NewPlayer(t, o), player()
		offer := s.playOffer(t, id, pub, "")
		offer.Offer = func(p translate.Participant) (string, []translate.Track, error) {
			return peer.Offer(), []translate.Track{trackOf(p, kind)}, nil
		}
		answer, err := s.sfu.Play(deadline(t, patience), offer)
		if err != nil {
			t.Fatal(err)
		}
		peer.SetAnswer(answer.SDP)
		s.playerUp(t, peer, id)
		s.flows(t, peer, kind)
	}
}

// LiveKit is not asked to wait for a publisher that is absent, and no player is left over.
func testPlayNothing(t *testing.T, s *stage) {
	s.publish(t, publisher(), rig.PeerOptions{Audio: true})
	id := player()
	_, err := s.sfu.Play(deadline(t, patience), s.playOffer(t, id, "absent", rig.NewPlayer(t, rig.PeerOptions{}).Offer()))
	wantKind(t, err, translate.ErrKindNotFound)
	if !errors.Is(err, translate.ErrPublisherGone) {
		t.Errorf("error is %v", err)
	}
	rig.Eventually(t, patience, "no player is left over", func() bool { return s.find(t, id).SID == "" })
}

func testAbsentTrack(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{Audio: true})
	id := player()
	s = s.by(t, PlayWHIP)
	offer := s.playOffer(t, id, pub, "")
	offer.Offer = func(translate.Participant) (string, []translate.Track, error) {
		return rig.NewPlayer(t, rig.PeerOptions{}).Offer(), []translate.Track{{Name: "synthesized-microphone"}, {Name: "synthesized-camera"}}, nil
	}
	_, err := s.sfu.Play(deadline(t, shortTime), offer)
	wantKind(t, err, translate.ErrKindUnavailable)
	if s.find(t, id).SID == "" {
		t.Error("LiveKit no longer leaves a participant behind")
	}
	if err := s.sfu.Remove(deadline(t, patience), room(t), id); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, patience, "the rest is gone", func() bool { return s.find(t, id).SID == "" })
}

func testOfferLimits(t *testing.T, s *stage) {
	offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
	for contentType, want := range map[string]int{
		"application/sdp; charset=utf-8": http.StatusBadRequest,
		"application/sdp":                http.StatusCreated,
	} {
		if got, _ := s.request(t, http.MethodPost, whipPath, contentType, offer); got.StatusCode != want {
			t.Errorf("%s: status %d, want %d", contentType, got.StatusCode, want)
		}
	}
	_, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{
		Room: room(t), Identity: publisher(), SDP: offer + strings.Repeat("a=x\r\n", 1<<18),
	})
	wantKind(t, err, translate.ErrKindRefused) // 413
}

// The test covers Location, ETag, PATCH and DELETE of the resource.
func testResource(t *testing.T, s *stage) {
	const sdpfrag = "application/trickle-ice-sdpfrag"
	res, answer := s.request(t, http.MethodPost, whipPath, sdpType, rig.NewPublisher(t, rig.PeerOptions{}).Offer())
	location, etag := res.Header.Get("Location"), res.Header.Get("ETag")
	if !strings.HasPrefix(location, whipPath+"/PA_") {
		t.Errorf("location is %q", location)
	}
	if etag == "" || strings.ContainsAny(etag, `"/`) || !strings.Contains(answer, "a=ice-ufrag:"+etag) {
		t.Errorf("etag %q is not the bare ufrag", etag)
	}
	frag := "a=ice-ufrag:x\r\na=ice-pwd:y\r\n"
	if got, _ := s.request(t, http.MethodPatch, location, sdpfrag, frag, "If-Match", "stale"); got.StatusCode != http.StatusInternalServerError {
		t.Errorf("PATCH with a stale etag: status %d", got.StatusCode)
	}
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		got, _ := s.request(t, method, location, sdpfrag, frag, "If-Match", etag, "Authorization", "")
		if got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: status %d", method, got.StatusCode)
		}
	}
	if got, _ := s.request(t, http.MethodDelete, location, sdpType, ""); got.StatusCode != http.StatusOK {
		t.Errorf("DELETE: status %d", got.StatusCode)
	}
}

func testUnusableOffers(t *testing.T, s *stage) {
	offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
	for name, c := range map[string]struct {
		sdp  string
		kind translate.ErrorKind
	}{
		"empty":   {"", translate.ErrKindRefused},
		"not SDP": {"hello", translate.ErrKindRefused},
		// Faults that only pion finds are a 503 of LiveKit, and leave a participant behind.
		"no ICE credentials": {strings.ReplaceAll(offer, "a=ice-ufrag", "a=x"), translate.ErrKindRefused},
		"no fingerprint":     {strings.ReplaceAll(offer, "a=fingerprint", "a=x"), translate.ErrKindRefused},
		"id of an extension": {offer + "a=extmap:x y\r\n", translate.ErrKindRefused},
		"unknown format":     {strings.Replace(offer, "m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 UDP/TLS/RTP/SAVPF 77", 1), translate.ErrKindRefused},
		"no mid":             {strings.ReplaceAll(offer, "a=mid", "a=x"), translate.ErrKindRefused},
	} {
		id := publisher()
		_, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{Room: room(t), Identity: id, SDP: c.sdp})
		if translate.KindOf(err) != c.kind {
			t.Errorf("%s: error is %v, want %v", name, err, c.kind)
		}
		if left := s.find(t, id).SID != ""; left != strings.Contains(fmt.Sprint(err), "status 503") {
			t.Errorf("%s: participant left behind: %v, error %v", name, left, err)
		}
	}
}

// Offers of clients that are not browsers, after the gateway's edit: media flows in both directions.
func testMendedOffers(t *testing.T, s *stage) {
	audio, both := rig.PeerOptions{Audio: true}, rig.PeerOptions{}
	direction := func(second string) func(string) string {
		return func(offer string) string {
			i := strings.LastIndex(offer, "m=")
			return offer[:i] + regexp.MustCompile("a=(send|recv)only").ReplaceAllString(offer[i:], "a="+second)
		}
	}
	remove := func(pattern string) func(string) string {
		return func(offer string) string {
			return regexp.MustCompile("(?m)^"+pattern+".*\r\n").ReplaceAllString(offer, "")
		}
	}
	insert := func(old, replacement string) func(string) string {
		return func(offer string) string { return strings.Replace(offer, old, replacement, 1) }
	}
	remb := func(offer string) string {
		return remove("a=extmap:.*transport-wide-cc")(remove("a=rtcp-fb:.* transport-cc")(offer))
	}
	for name, c := range map[string]struct {
		options       rig.PeerOptions
		publish, play func(string) string
		tracks        []translate.Kind
	}{
		"Plan B":                           {both, planB, planB, []translate.Kind{translate.Audio, translate.Video}},
		"REMB only":                        {both, remb, remb, []translate.Kind{translate.Audio, translate.Video}},
		"second m-line of wrong direction": {both, direction("recvonly"), direction("sendonly"), []translate.Kind{translate.Audio}},
		"no group":                         {audio, remove("a=group"), remove("a=group"), []translate.Kind{translate.Audio}},
		"no group, second m-line in use": {both, func(offer string) string {
			return remove("a=group")(strings.Replace(offer, "a=sendonly", "a=inactive", 1))
		}, func(offer string) string {
			return remove("a=group")(strings.Replace(offer, "a=recvonly", "a=inactive", 1))
		}, []translate.Kind{translate.Video}},
		"group with an absent mid": {both, insert("BUNDLE 0", "BUNDLE x 0"), insert("BUNDLE 0", "BUNDLE x 0"), []translate.Kind{translate.Audio, translate.Video}},
		"more SSRCs": {both, func(offer string) string { return offer + "a=ssrc:4711 cname:x\r\na=ssrc:4711 msid:s t\r\n" }, strings.TrimSpace,
			[]translate.Kind{translate.Audio, translate.Video}},
		"unknown format of an inactive m-line": {both, func(offer string) string {
			return insert("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 UDP/TLS/RTP/SAVPF 77")(strings.Replace(offer, "a=sendonly", "a=inactive", 1))
		}, insert("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 UDP/TLS/RTP/SAVPF 77"), []translate.Kind{translate.Video}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.mended(t, c.options, c.publish, c.play, c.tracks)
		})
	}
}

// planB returns the offer in the form of libwebrtc before Unified Plan, as old SDKs for Android and iOS send
// it: m-lines are called audio and video, and streams are in a=ssrc lines only.
func planB(offer string) string {
	offer = regexp.MustCompile("(?m)^a=(msid:|extmap:.*:sdes:).*\r\n").ReplaceAllString(offer, "")
	offer = strings.Replace(offer, "a=msid-semantic:WMS *", "a=msid-semantic: WMS stream", 1)
	return strings.NewReplacer("a=mid:0", "a=mid:audio", "a=mid:1", "a=mid:video", "BUNDLE 0 1", "BUNDLE audio video").Replace(offer)
}

// unifiedMids reverses the names of planB in an answer.
var unifiedMids = strings.NewReplacer("a=mid:audio", "a=mid:0", "a=mid:video", "a=mid:1", "BUNDLE audio video", "BUNDLE 0 1")

// mended publishes and plays with changed offers, which the gateway edits.
func (s *stage) mended(t *testing.T, o rig.PeerOptions, publish, play func(string) string, kinds []translate.Kind) {
	peer, id := rig.NewPublisher(t, o), publisher()
	checked, err := translate.CheckPublishOffer(publish(peer.Offer()))
	if err != nil {
		t.Fatal(err)
	}
	offer, err := checked.Edit(translate.PublishEdit{Codecs: translate.DefaultCodecs()})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{Room: room(t), Identity: id, SDP: offer.SDP})
	if err != nil {
		t.Fatal(err)
	}
	edited, _, err := translate.EditAnswer(answer.SDP, translate.AnswerEdit{Fixes: offer.Fixes})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(edited, "goog-remb") || strings.Contains(edited, "transport-cc") && !strings.Contains(offer.SDP, "transport-cc") {
		t.Errorf("answer has REMB, or feedback that was not offered:\n%s", edited)
	}
	peer.SetAnswer(unifiedMids.Replace(edited))
	rig.Eventually(t, patience, "publisher is up with its tracks", func() bool {
		p := s.ask(t, id)
		return p.Active && len(p.Tracks) == len(kinds)
	})
	viewer := rig.NewPlayer(t, o)
	offer, err = translate.EditPlayOffer(play(viewer.Offer()), translate.PlayEdit{AudioCodec: "opus", VideoCodec: "VP8"})
	if err != nil {
		t.Fatal(err)
	}
	_, answer = s.started(t, id, offer.SDP)
	edited, _, err = translate.EditAnswer(answer.SDP, translate.AnswerEdit{Fixes: offer.Fixes, CommonStream: "s", Kinds: offer.Kinds})
	if err != nil {
		t.Fatal(err)
	}
	viewer.SetAnswer(unifiedMids.Replace(edited))
	s.flows(t, viewer, kinds...)
}

// LiveKit reports no error for an offer without BUNDLE, and no media can flow.
func testUnbundledOffer(t *testing.T, s *stage) {
	offer := regexp.MustCompile("a=group.*\r\n").ReplaceAllString(rig.NewPublisher(t, rig.PeerOptions{Audio: true}).Offer(), "")
	answer, err := s.sfu.Publish(deadline(t, patience), translate.PublishOffer{Room: room(t), Identity: publisher(), SDP: offer})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := translate.EditAnswer(answer.SDP, translate.AnswerEdit{}); !errors.Is(err, translate.ErrRejected) {
		t.Errorf("%v; answer:\n%s", err, answer.SDP)
	}
}

func testWrongKey(t *testing.T, s *stage) {
	for name, change := range map[string]func(*Config){
		"secret": func(c *Config) { c.Secret = strings.Repeat("wrong", 10) },
		"key":    func(c *Config) { c.Key = "nobody" },
	} {
		sfu := newSFU(t, s.lk, change)
		_, err := sfu.Publish(deadline(t, patience), translate.PublishOffer{Room: room(t), Identity: publisher(), SDP: "v=0"})
		_, listErr := sfu.Participants(deadline(t, patience), room(t))
		_, askErr := sfu.Participant(deadline(t, patience), room(t), "x")
		for _, err := range []error{err, listErr, askErr, sfu.Remove(deadline(t, patience), room(t), "x")} {
			if translate.KindOf(err) != translate.ErrKindDenied {
				t.Errorf("wrong %s: error is %v", name, err)
			}
			if strings.Contains(fmt.Sprint(err), "eyJ") {
				t.Errorf("wrong %s: error contains the token", name)
			}
		}
	}
}

// LiveKit denies everything that a token was not made for: a stolen one allows one operation, in one room,
// for a minute.
func testLeastGrant(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	publish, err1 := s.sfu.signer.publisher(translate.PublishOffer{Room: room(t), Identity: publisher()})
	play, err2 := s.sfu.signer.player(translate.PlayOffer{Room: room(t), Identity: player()})
	elsewhere, err3 := s.sfu.signer.service(adminOf("another room"))
	admin, err4 := s.sfu.signer.service(adminOf(room(t)))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	remove := fmt.Sprintf(`{"room":%q,"identity":%q}`, room(t), pub)
	for name, token := range map[string]string{"publisher's": publish, "player's": play, "admin's of another room": elsewhere} {
		for _, method := range []string{"RemoveParticipant", "UpdateParticipant", "ListParticipants", "DeleteRoom", "ListRooms", "CreateRoom"} {
			res, body := s.request(t, http.MethodPost, "/twirp/livekit.RoomService/"+method, "application/json", remove, "Authorization", "Bearer "+token)
			if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
				t.Errorf("%s token, %s: %d %s", name, method, res.StatusCode, body)
			}
		}
	}
	for _, method := range []string{"DeleteRoom", "ListRooms", "CreateRoom"} {
		res, body := s.request(t, http.MethodPost, "/twirp/livekit.RoomService/"+method, "application/json", remove, "Authorization", "Bearer "+admin)
		if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
			t.Errorf("admin's token, %s: %d %s", method, res.StatusCode, body)
		}
	}
	offer := rig.NewPublisher(t, rig.PeerOptions{}).Offer()
	if res, body := s.request(t, http.MethodPost, whipPath, sdpType, offer, "Authorization", "Bearer "+admin); res.StatusCode == http.StatusCreated {
		t.Errorf("admin's token joined: %s", body)
	}
	if p := s.ask(t, pub); !p.Active {
		t.Errorf("the publisher is %+v", p)
	}
}

// request makes a raw WHIP request; header holds pairs of name and value.
func (s *stage) request(t *testing.T, method, path, contentType, body string, header ...string) (*http.Response, string) {
	t.Helper()
	token, err := s.sfu.signer.publisher(translate.PublishOffer{Room: room(t), Identity: "wcs:test:by-hand"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(deadline(t, patience), method, s.lk.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+token)
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
		if pair[1] == "" {
			req.Header.Del(pair[0])
		}
	}
	res, err := s.sfu.whip.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // only read
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}
