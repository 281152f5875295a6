package livekit

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// TestProbeMeasuresStream checks Probe against a real livekit-server.
func TestProbeMeasuresStream(t *testing.T) {
	s := newStage(t)
	for name, test := range map[string]func(*testing.T, *stage){
		"counts VP8":                   func(t *testing.T, s *stage) { testProbeCounts(t, s, webrtc.MimeTypeVP8) },
		"counts VP9":                   func(t *testing.T, s *stage) { testProbeCounts(t, s, webrtc.MimeTypeVP9) },
		"counts H264":                  func(t *testing.T, s *stage) { testProbeCounts(t, s, webrtc.MimeTypeH264) },
		"tells silence of audio":       testProbeSilence,
		"tells silence from the start": testProbeSilent,
		"leaves with its context":      testProbeLeaves,
		"ends with the publisher":      testProbePublisherLeaves,
		"ends with the room":           testProbeRoomEnds,
		"ends when removed":            testProbeRemoved,
		"ends when replaced":           testProbeReplaced,
		"makes no room":                testProbeMakesNoRoom,
		"is denied":                    testProbeDenied,
		"asks for a key frame":         testProbeKeyFrame,
		"joins anew":                   testProbeJoinsAnew,
		"follows another track":        testProbeFollows,
		"gets the best of several":     testProbeBest,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// probing is a running Probe.
type probing struct {
	t      *testing.T
	id     translate.Identity
	cancel context.CancelFunc
	ended  chan struct{} // closed with err

	err error

	mu      sync.Mutex
	reports []translate.VideoFigures
	at      []time.Time
}

func startProbe(t *testing.T, sfu *SFU, publisher translate.Identity) *probing {
	t.Helper()
	return startProbeAs(t, sfu, publisher, translate.NewIdentity(deployment, translate.RoleProbe, podTag))
}

func startProbeAs(t *testing.T, sfu *SFU, publisher, id translate.Identity) *probing {
	t.Helper()
	p := &probing{t: t, id: id, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	p.cancel = cancel
	target := translate.ProbeTarget{Room: room(t), Identity: id, Publisher: publisher}
	go func() {
		defer close(p.ended)
		p.err = sfu.Probe(ctx, target, p.report)
	}()
	t.Cleanup(func() { p.stop() })
	return p
}

func (p *probing) report(v translate.VideoFigures) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, v)
	p.at = append(p.at, time.Now())
}

// stop ends the probe and returns its error.
func (p *probing) stop() error {
	p.t.Helper()
	p.cancel()
	return p.end()
}

// end waits for the probe to end on its own.
func (p *probing) end() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.t.Errorf("probe has not ended after %v", patience)
		return nil
	}
}

// since returns the reports from the i-th on.
func (p *probing) since(i int) []translate.VideoFigures {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.reports[i:])
}

func (p *probing) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.reports)
}

// await waits until the latest n reports after the i-th all match, and returns the last.
func (p *probing) await(what string, i, n int, wanted func(translate.VideoFigures) bool) translate.VideoFigures {
	p.t.Helper()
	var last translate.VideoFigures
	rig.Eventually(p.t, patience, what, func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("probe has ended: %v", p.err)
		default:
		}
		reports := p.since(i)
		if len(reports) < n {
			return false
		}
		reports = reports[len(reports)-n:]
		last = reports[n-1]
		return !slices.ContainsFunc(reports, func(v translate.VideoFigures) bool { return !wanted(v) })
	})
	return last
}

func flowing(v translate.VideoFigures) bool { return v.Rate > 0 }
func still(v translate.VideoFigures) bool   { return v.Rate == 0 }

// testProbeCounts shows the probe a pause, some seconds of known video, and another pause, so that the exact
// start of a second does not matter.
func testProbeCounts(t *testing.T, s *stage, codec string) {
	const seconds = 4
	src := publishSource(t, s.sfu, room(t), codec)
	stop := src.run()
	s.appears(t, src.id)
	p := startProbe(t, s.sfu, src.id)
	p.await("video", 0, 1, flowing)
	stop()
	before := p.await("a pause", p.count(), 2, still)
	from := p.count()
	sent := src.send(seconds * frameRate)
	p.await("video", from, 1, flowing)
	after := p.await("a pause", from, 2, still)

	within(t, "bytes of media", int(after.MediaBytes-before.MediaBytes), sent)
	all := p.total(from)
	within(t, "bits", all.bits, 8*all.bytes)
	within(t, "bytes of whole frames", all.frames*sent/(seconds*frameRate), all.bytes)
	if all.seconds < seconds && all.bytes < sent/2 {
		t.Errorf("only %d bytes of %d in %d seconds were reported", all.bytes, sent, all.seconds)
	}
	if after.NACK != 0 || after.PLI != 0 || after.Width != 320 || after.Height != 240 {
		t.Errorf("figures are %+v", after)
	}
	src.resize(642, 362)
	src.run()
	end := p.await("new size", 0, 1, func(v translate.VideoFigures) bool { return v.Width == 642 && v.Height == 362 })

	// A machine without a free processor loses packets of UDP: then the probe must say so. It finds the loss of
	// the last packet at the next one. LiveKit shortens the descriptors of VP8, so some of its bytes are missing
	// without a loss.
	missing := sent - int(after.MediaBytes-before.MediaBytes)
	unsaid := missing > 0 && end.Lost == before.Lost && codec != webrtc.MimeTypeVP8
	if missing < after.Lost-before.Lost || unsaid {
		t.Errorf("%d of %d bytes are missing, and %d packets lost", missing, sent, end.Lost-before.Lost)
	}
}

// total is the sum of reports.
type total struct {
	seconds, bits, frames int
	bytes                 int // of media, in these seconds
}

// total sums the reports from the i-th on, which is not the first, without reports that do not immediately
// follow another: in such a case the probe was not scheduled for a while, and seconds were skipped.
func (p *probing) total(i int) (all total) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; i < len(p.reports); i++ {
		v := p.reports[i]
		if p.at[i].Sub(p.at[i-1]) > 1500*time.Millisecond {
			continue
		}
		all.seconds++
		all.bits += int(v.Rate)
		all.frames += v.FPS
		all.bytes += int(v.MediaBytes - p.reports[i-1].MediaBytes)
	}
	return all
}

// within allows a deviation of 3 percent.
func within(t *testing.T, what string, got, want int) {
	t.Helper()
	t.Logf("%d %s, want %d", got, what, want)
	if diff := got - want; 100*max(diff, -diff) > 3*want {
		t.Errorf("%d %s, want %d", got, what, want)
	}
}

// appears waits until LiveKit has the source's track, which requires media.
func (s *stage) appears(t *testing.T, id translate.Identity) {
	t.Helper()
	rig.Eventually(t, patience, "track of the source", func() bool { return len(s.ask(t, id).Tracks) == 1 })
}

func testProbeSilence(t *testing.T, s *stage) {
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeOpus)
	stop := src.run()
	s.appears(t, src.id)
	p := startProbe(t, s.sfu, src.id)
	first := p.await("audio", 0, 1, func(v translate.VideoFigures) bool { return v.MediaBytes > 0 })
	p.await("more audio", 0, 1, func(v translate.VideoFigures) bool { return v.MediaBytes > first.MediaBytes })
	stop()
	var bytes uint64
	p.await("silence", p.count(), 3, func(v translate.VideoFigures) bool {
		same := v.MediaBytes == bytes
		bytes = v.MediaBytes
		return same
	})
	reports := p.since(0)
	for _, v := range reports {
		if v.Rate != 0 || v.FPS != 0 || v.Lost != 0 || v.Width != 0 || v.Height != 0 {
			t.Errorf("figures without video: %+v", v)
		}
	}
}

// LiveKit has the track, but receives no media any more when the probe joins.
func testProbeSilent(t *testing.T, s *stage) {
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	stop := src.run()
	s.appears(t, src.id)
	stop()
	p := startProbe(t, s.sfu, src.id)
	v := p.await("reports of silence", 0, 2, still)
	if v.MediaBytes != 0 {
		t.Errorf("%d bytes of a silent publisher", v.MediaBytes)
	}
	src.run()
	p.await("video", 0, 2, flowing)
}

func testProbeLeaves(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	p := startProbe(t, s.sfu, pub)
	v := p.await("audio and video", 0, 1, flowing)
	if reports := p.since(0); len(reports) == 1 && v.MediaBytes <= uint64(v.Rate)/8 {
		t.Errorf("%d bytes of audio and video, %d of video", v.MediaBytes, v.Rate/8)
	}
	may := s.permissions(t, p.id)
	if !may.GetHidden() || !may.GetCanSubscribe() || may.GetCanPublish() || may.GetCanPublishData() {
		t.Errorf("permissions: %v", may)
	}
	if err := p.stop(); err != nil {
		t.Errorf("error is %v", err)
	}
	n := p.count()
	rig.Eventually(t, patience, "probe is gone from LiveKit", func() bool { return s.find(t, p.id).SID == "" })
	if left := s.await(t, translate.EventLeft, room(t), p.id); left.Reason != translate.EndClient {
		t.Errorf("left with reason %q", left.Reason)
	}
	if p.count() != n {
		t.Error("report after the end")
	}
}

func (s *stage) permissions(t *testing.T, id translate.Identity) *lkproto.ParticipantPermission {
	t.Helper()
	info, err := s.lk.Rooms().GetParticipant(deadline(t, patience), &lkproto.RoomParticipantIdentity{Room: string(room(t)), Identity: string(id)})
	if err != nil {
		t.Fatal(err)
	}
	return info.GetPermission()
}

func testProbePublisherLeaves(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	p := startProbe(t, s.sfu, pub)
	p.await("video", 0, 1, flowing)
	if err := s.sfu.Remove(deadline(t, patience), room(t), pub); err != nil {
		t.Fatal(err)
	}
	wantKind(t, p.end(), translate.ErrKindNotFound)
	reports := p.since(0)
	for _, v := range reports { // LiveKit's own last pictures are smaller
		if v.Width != 320 || v.Height != 240 {
			t.Errorf("size was %dx%d", v.Width, v.Height)
		}
	}
}

// attends waits until a participant is in the room and its media is up.
func (s *stage) attends(t *testing.T, id translate.Identity) {
	t.Helper()
	rig.Eventually(t, patience, string(id)+" is up", func() bool { return s.find(t, id).Active })
}

func testProbeRoomEnds(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	p := startProbe(t, s.sfu, pub)
	s.attends(t, p.id)
	if _, err := s.lk.Rooms().DeleteRoom(deadline(t, patience), &lkproto.DeleteRoomRequest{Room: string(room(t))}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, p.end(), translate.ErrKindNotFound)
}

func testProbeRemoved(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	p := startProbe(t, s.sfu, pub)
	s.attends(t, p.id)
	if err := s.sfu.Remove(deadline(t, patience), room(t), p.id); err != nil {
		t.Fatal(err)
	}
	wantKind(t, p.end(), translate.ErrKindNotFound)
}

func testProbeReplaced(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{})
	p := startProbe(t, s.sfu, pub)
	s.attends(t, p.id)
	other := startProbeAs(t, s.sfu, pub, p.id)
	wantKind(t, p.end(), translate.ErrKindNotFound)
	other.await("video", 0, 1, flowing)
}

func testProbeMakesNoRoom(t *testing.T, s *stage) {
	p := startProbe(t, s.sfu, publisher())
	wantKind(t, p.end(), translate.ErrKindNotFound)
	list, err := s.lk.Rooms().ListRooms(deadline(t, patience), &lkproto.ListRoomsRequest{Names: []string{string(room(t))}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.GetRooms()); n != 0 {
		t.Errorf("%d rooms", n)
	}
}

// LiveKit requests a key frame until it has one to begin with, and none afterwards.
func testProbeKeyFrame(t *testing.T, s *stage) {
	src := publishSource(t, s.sfu, room(t), webrtc.MimeTypeVP8)
	src.run()
	s.appears(t, src.id)
	tracks := make(chan *webrtc.TrackRemote, 1)
	target := translate.ProbeTarget{
		Room: room(t), Identity: translate.NewIdentity(deployment, translate.RoleProbe, podTag), Publisher: src.id,
	}
	g, err := s.sfu.join(deadline(t, patience), target, kindsOf(true), func(track *webrtc.TrackRemote) { tracks <- track })
	if err != nil {
		t.Fatal(err)
	}
	defer g.leave()
	var track *webrtc.TrackRemote
	select {
	case track = <-tracks:
	case <-time.After(patience):
		t.Fatal("no track")
	}
	requests := -1
	rig.Eventually(t, patience, "LiveKit is quiet", func() bool {
		before := requests
		requests = src.pictureRequests()
		select {
		case <-time.After(shortTime):
		case <-t.Context().Done():
		}
		return requests == before && requests == src.pictureRequests()
	})
	g.askKeyFrame(track.SSRC())
	rig.Eventually(t, patience, "request for a key frame", func() bool { return src.pictureRequests() > requests })
}

func testProbeDenied(t *testing.T, s *stage) {
	pub := publisher()
	s.publish(t, pub, rig.PeerOptions{Audio: true})
	wrong := newSFU(t, s.lk, func(c *Config) { c.Secret = "wrong-wrong-wrong-wrong-wrong-wrong-wrong" })
	p := startProbe(t, wrong, pub)
	wantKind(t, p.end(), translate.ErrKindDenied)
}
