package translate

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

// addSeeds calls add with every SDP in testdata that matches one of the patterns.
func addSeeds(f testing.TB, add func(text string), patterns ...string) {
	f.Helper()
	n := 0
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			rel, err := filepath.Rel("testdata", path)
			if err != nil {
				f.Fatal(err)
			}
			add(readSDP(f, rel))
			n++
		}
	}
	if n == 0 {
		f.Fatalf("no seeds in %v", patterns)
	}
}

// checkPublish, checkPlay and checkAnswer report whether the edit accepted the text, and check its result.
func checkPublish(t *testing.T, offer string, e PublishEdit) (accepted bool) {
	edited, err := editPublishOffer(offer, e)
	if err != nil {
		return false
	}
	checkEdit(t, offer, edited.SDP)
	checkTrimmed(t, edited.SDP, sdp.AttrKeySendOnly)
	again, err := editPublishOffer(edited.SDP, e)
	if err != nil || again.SDP != edited.SDP || again.Kinds != edited.Kinds || again.Kinds.none() || again.Fixes != (OfferFixes{}) {
		t.Errorf("the second edit changed the text: %v\n%+v\n%+v", err, edited, again)
	}
	return true
}

func checkPlay(t *testing.T, offer string, e PlayEdit) (accepted bool) {
	edited, err := EditPlayOffer(offer, e)
	if err != nil {
		return false
	}
	checkEdit(t, offer, edited.SDP)
	checkTrimmed(t, edited.SDP, sdp.AttrKeyRecvOnly)
	again, err := EditPlayOffer(edited.SDP, e)
	if err != nil || again.SDP != edited.SDP || again.Kinds != edited.Kinds || again.Kinds.none() || again.Fixes != (OfferFixes{}) {
		t.Errorf("the second edit changed the text: %v\n%+v\n%+v", err, edited, again)
	}
	return true
}

func checkAnswer(t *testing.T, text string, e AnswerEdit) (accepted bool) {
	edited, notes, err := EditAnswer(text, e)
	if err != nil {
		return false
	}
	checkEdit(t, text, edited)
	again, notes2, err := EditAnswer(edited, e)
	if notes.Kinds.none() && errors.Is(err, ErrRejected) {
		return true // the first edit made all m-lines inactive
	}
	if err != nil || again != edited || notes2 != notes {
		t.Errorf("the second edit changed the text: %v, %+v then %+v\n%q\n%q", err, notes, notes2, edited, again)
	}
	return true
}

func FuzzEditPublishOffer(f *testing.F) {
	addSeeds(f, func(text string) { f.Add(text, DefaultCodecs().bits, false) }, "*publish*.sdp", "strip/publish*.sdp")
	f.Add(offerText("m=video 0 UDP/TLS/RTP/SAVPF 96 97\na=bundle-only\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\n"), uint16(0), true)
	f.Fuzz(func(t *testing.T, offer string, codecs uint16, orientation bool) {
		checkPublish(t, offer, PublishEdit{Codecs: CodecSet{codecs & (1<<len(knownCodecs) - 1)}, KeepVideoOrientation: orientation})
	})
}

func FuzzEditPlayOffer(f *testing.F) {
	addSeeds(f, func(text string) { f.Add(text, "opus", "H264") }, "*play*.sdp", "strip/play*.sdp")
	f.Add(offerText(opusSection, vp8Section), "red", "")
	f.Fuzz(func(t *testing.T, offer, audio, video string) {
		checkPlay(t, offer, PlayEdit{AudioCodec: audio, VideoCodec: video})
	})
}

func FuzzEditAnswer(f *testing.F) {
	addSeeds(f, func(text string) { f.Add(text, "stream", uint8(0), true, 100, 2000) }, "answers/*.sdp")
	f.Add(offerText(opusSection, vp8Section), "", uint8(3), false, 0, 0)
	f.Fuzz(func(t *testing.T, text, stream string, kinds uint8, tcp bool, low, high int) {
		checkAnswer(t, text, AnswerEdit{CommonStream: stream, Kinds: MediaKinds{Audio: kinds&1 != 0, Video: kinds&2 != 0},
			TCPOnly: tcp, MinBitrate: low, MaxBitrate: high})
	})
}

// Fuzzing by bytes seldom gets past the parser. This test damages whole lines and numbers of real SDPs, with
// a fixed seed.
func TestDamagedSDPIsEditedOrRejected(t *testing.T) {
	const rounds = 25
	tried, accepted := 0, 0
	count := func(ok bool) {
		tried++
		if ok {
			accepted++
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	addSeeds(t, func(text string) {
		for range rounds {
			damaged := damage(r, text)
			count(checkPublish(t, damaged, PublishEdit{Codecs: CodecSet{uint16(r.Uint32()) & (1<<len(knownCodecs) - 1)}}))
			c := knownCodecs[r.IntN(len(knownCodecs))]
			count(checkPlay(t, damaged, PlayEdit{AudioCodec: nameOpus, VideoCodec: c.name}))
			count(checkAnswer(t, damaged, AnswerEdit{CommonStream: "s", TCPOnly: true, MinBitrate: r.IntN(3), MaxBitrate: r.IntN(3)}))
			if t.Failed() {
				t.Fatalf("damaged text: %q", damaged)
			}
		}
	}, "*.sdp", "strip/*.sdp", "answers/*.sdp")
	if accepted < tried/3 {
		t.Errorf("only %d of %d edits accepted the damaged text", accepted, tried)
	}
}

// damage deletes, doubles, swaps and cuts lines, and replaces fields by others of the same text.
func damage(r *rand.Rand, text string) string {
	all := strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")
	for range 1 + r.IntN(12) {
		i, j := 4+r.IntN(len(all)-4), 4+r.IntN(len(all)-4) // not the session's v=, o=, s= and t=
		switch r.IntN(6) {
		case 0:
			if len(all) > 6 {
				all = append(all[:i], all[i+1:]...)
			}
		case 1:
			all = append(all, all[i])
		case 2:
			all[i], all[j] = all[j], all[i]
		case 3:
			all[i] = all[i][:r.IntN(len(all[i])+1)]
		case 4:
			all[i] = strings.Replace(all[i], ":"+field(r, all[i]), ":"+field(r, all[j]), 1)
		case 5:
			all[i] = strings.Replace(all[i], field(r, all[i]), strconv.Itoa(r.IntN(130)), 1)
		}
	}
	return strings.Join(all, "\r\n") + "\r\n"
}

// field returns a word or number of a line.
func field(r *rand.Rand, line string) string {
	fields := strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune("=:/; ", c) })
	if len(fields) == 0 {
		return " "
	}
	return fields[r.IntN(len(fields))]
}
