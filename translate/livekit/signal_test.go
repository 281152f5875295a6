package livekit

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"wcsgateway/translate"
)

const standInOffer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"

// standIn is a LiveKit that the test plays. It has one publisher, "pub", with the tracks TR_1, TR_2, ….
type standIn struct {
	*httptest.Server
	version string
	refusal int // status of upgrades, 0: they are served
	tracks  int
	// steps are LiveKit's messages after each message of the gateway.
	steps      func(m *lkproto.SignalRequest) []*lkproto.SignalResponse
	beforeSend func() // is called before each message of LiveKit; nil: nothing

	mu        sync.Mutex
	received  []*lkproto.SignalRequest
	joins     []*lkproto.JoinRequest
	whips     int
	closeCode chan int // of the gateway's close frames; -1: connection lost
}

// newStandIn starts a LiveKit that answers as 1.13.5 does.
func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{version: "1.13.5", tracks: 1, closeCode: make(chan int, 100)}
	s.steps = s.usual
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == signalPath && s.refusal != 0:
		w.WriteHeader(s.refusal)
	case r.URL.Path == signalPath && s.steps != nil:
		s.signal(w, r)
	case strings.HasSuffix(r.URL.Path, "/UpdateParticipant"):
		w.Header().Set("Content-Type", "application/protobuf")
		b, _ := proto.Marshal(s.publisher()) // the client fails without it
		_, _ = w.Write(b)
	case r.URL.Path == whipPath:
		s.mu.Lock()
		s.whips++
		s.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("by WHIP"))
	default:
		http.NotFound(w, r)
	}
}

func (s *standIn) publisher() *lkproto.ParticipantInfo {
	p := &lkproto.ParticipantInfo{Identity: "pub", Sid: "PA_pub"}
	for i := range s.tracks {
		p.Tracks = append(p.Tracks, &lkproto.TrackInfo{Sid: "TR_" + string(rune('1'+i)), Name: "mic", Type: lkproto.TrackType_AUDIO})
	}
	return p
}

func (s *standIn) signal(w http.ResponseWriter, r *http.Request) {
	wrapped, join := new(lkproto.WrappedJoinRequest), new(lkproto.JoinRequest)
	b, err := base64.URLEncoding.DecodeString(r.URL.Query().Get("join_request"))
	if err := errors.Join(err, proto.Unmarshal(b, wrapped), proto.Unmarshal(wrapped.GetJoinRequest(), join)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.joins = append(s.joins, join)
	s.mu.Unlock()
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return // the client sees it
	}
	defer ws.Close()
	send := func(list ...*lkproto.SignalResponse) {
		for _, m := range list {
			if s.beforeSend != nil {
				s.beforeSend()
			}
			b, _ := proto.Marshal(m) // the gateway would see nothing
			_ = ws.WriteMessage(websocket.BinaryMessage, b)
		}
	}
	send(&lkproto.SignalResponse{Message: &lkproto.SignalResponse_Join{Join: &lkproto.JoinResponse{
		Participant: &lkproto.ParticipantInfo{Sid: "PA_me"}, OtherParticipants: []*lkproto.ParticipantInfo{{Identity: "other"}, s.publisher()},
		ServerInfo: &lkproto.ServerInfo{Version: s.version},
	}}})
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			var e *websocket.CloseError
			if errors.As(err, &e) && e.Code == websocket.CloseNormalClosure {
				s.closeCode <- e.Code
			} else {
				s.closeCode <- -1
			}
			return
		}
		m := new(lkproto.SignalRequest)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		s.mu.Lock()
		s.received = append(s.received, m)
		s.mu.Unlock()
		send(s.steps(m)...)
	}
}

// usual is what LiveKit 1.13.5 answers.
func (s *standIn) usual(m *lkproto.SignalRequest) (list []*lkproto.SignalResponse) {
	switch x := m.GetMessage().(type) {
	case *lkproto.SignalRequest_Subscription:
		for _, sid := range x.Subscription.GetTrackSids() {
			list = append(list, allowed(sid))
		}
	case *lkproto.SignalRequest_Offer:
		var bound []string
		for _, t := range s.publisher().GetTracks() {
			bound = append(bound, t.GetSid())
		}
		list = []*lkproto.SignalResponse{candidate("candidate:1 1 udp 1 192.0.2.1 7 typ host", false), answered(sending(bound...)), candidate("", true)}
	}
	return list
}

func allowed(sid string) *lkproto.SignalResponse {
	return &lkproto.SignalResponse{Message: &lkproto.SignalResponse_SubscriptionPermissionUpdate{
		SubscriptionPermissionUpdate: &lkproto.SubscriptionPermissionUpdate{TrackSid: sid, Allowed: true},
	}}
}

func candidate(text string, final bool) *lkproto.SignalResponse {
	init := ""
	if text != "" {
		init = `{"candidate":"` + text + `"}`
	}
	return &lkproto.SignalResponse{Message: &lkproto.SignalResponse_Trickle{Trickle: &lkproto.TrickleRequest{CandidateInit: init, Final: final}}}
}

func answered(sdp string) *lkproto.SignalResponse {
	return &lkproto.SignalResponse{Message: &lkproto.SignalResponse_Answer{Answer: &lkproto.SessionDescription{Type: "answer", Sdp: sdp}}}
}

// sending returns LiveKit's answer with these tracks.
func sending(sids ...string) string {
	text := standInOffer
	for _, sid := range sids {
		text += "a=msid:PA_pub|" + sid + " " + sid + "\r\n"
	}
	return text
}

func (s *standIn) sfu(t *testing.T, way PlayWay, deps Deps) *SFU {
	t.Helper()
	sfu, err := New(Config{URL: s.URL, Key: "key", Secret: testSecret, Play: way}, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	return sfu
}

func (s *standIn) play(t *testing.T, sfu *SFU, attempt int) (translate.Answer, error) {
	t.Helper()
	return sfu.Play(deadline(t, patience), translate.PlayOffer{
		Room: "r", Identity: "me", Publisher: "pub", Offer: allTracks(standInOffer), Attempt: attempt,
	})
}

// counts returns the numbers of connections and of WHIP calls.
func (s *standIn) counts() (joins, whips int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.joins), s.whips
}

func (s *standIn) wantCounts(t *testing.T, joins, whips int) {
	t.Helper()
	if j, w := s.counts(); j != joins || w != whips {
		t.Errorf("%d connections and %d WHIP calls, want %d and %d", j, w, joins, whips)
	}
}

// wantClose requires that the gateway closes a connection with a close frame.
func (s *standIn) wantClose(t *testing.T) {
	t.Helper()
	select {
	case code := <-s.closeCode:
		if code != websocket.CloseNormalClosure {
			t.Errorf("connection ended with %d, want a close frame", code)
		}
	case <-time.After(patience):
		t.Error("connection was not closed")
	}
}

func TestSignalPlaySubscribesThenOffersThenCloses(t *testing.T) {
	s := newStandIn(t)
	s.tracks = 2
	var ops []string
	sfu := s.sfu(t, PlayAuto, Deps{Observe: func(op string, _ time.Duration, err error) {
		if err != nil {
			t.Error(err)
		}
		ops = append(ops, op)
	}})
	answer, err := s.play(t, sfu, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := sending("TR_1", "TR_2") + "a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\na=end-of-candidates\r\n"; answer.SDP != want || answer.SID != "PA_me" {
		t.Errorf("answer %+v, want %q", answer, want)
	}
	if !slices.Equal(ops, []string{opSignalPlay}) {
		t.Errorf("operations %v", ops)
	}
	settings := s.joins[0].GetConnectionSettings()
	if settings.GetAutoSubscribe() || settings.GetAutoSubscribeDataTrack() || settings.GetSubscriberAllowPause() || settings.GetAdaptiveStream() || !settings.GetDisableIceLite() || s.joins[0].GetPublisherOffer() != nil {
		t.Errorf("join request is %v", s.joins[0])
	}
	s.mu.Lock()
	received := s.received
	s.mu.Unlock()
	if len(received) != 2 || !slices.Equal(received[0].GetSubscription().GetTrackSids(), []string{"TR_1", "TR_2"}) || received[1].GetOffer().GetSdp() != standInOffer {
		t.Errorf("messages are %v", received)
	}
	select {
	case <-s.closeCode:
		t.Fatal("connection was closed before the player was up")
	default:
	}
	sfu.PlayerUp("someone else")
	sfu.PlayerUp("me")
	s.wantClose(t)
	s.wantCounts(t, 1, 0)
}

// A LiveKit that does not serve signalling is played by WHIP. The decision is logged once.
func TestTrySignallingJoinsAndLeaves(t *testing.T) {
	s := newStandIn(t)
	if err := s.sfu(t, PlayAuto, Deps{}).TrySignalling(deadline(t, patience), "r", "me"); err != nil {
		t.Fatal(err)
	}
	s.wantClose(t)
	s.wantCounts(t, 1, 0)
	if len(s.received) != 1 || s.received[0].GetLeave() == nil {
		t.Errorf("LiveKit received %v, want only a leave", s.received)
	}
}

func TestPlayByWHIPWhereLiveKitServesNoSignalling(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*standIn)
		again  bool // the first player needs another identity
		joins  int
		reason string
	}{
		"404":         {change: func(s *standIn) { s.steps = nil }, reason: "status 404"},
		"403":         {change: func(s *standIn) { s.steps, s.refusal = nil, http.StatusForbidden }, reason: "status 403"},
		"old version": {change: func(s *standIn) { s.version = "1.13.1" }, again: true, joins: 1, reason: "LiveKit 1.13.1 is older than 1.13.2"},
		"no version":  {change: func(s *standIn) { s.version = "" }, again: true, joins: 1, reason: "is older than"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandIn(t)
			c.change(s)
			var log bytes.Buffer
			sfu := s.sfu(t, PlayAuto, Deps{Log: zerolog.New(&log).Level(zerolog.InfoLevel)})
			attempt := 0
			_, err := s.play(t, sfu, attempt)
			if c.again {
				if !errors.Is(err, translate.ErrPlayAgain) {
					t.Fatalf("error is %v", err)
				}
				s.wantClose(t)
				_, err = s.play(t, sfu, attempt+1)
			}
			for range 3 {
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.play(t, sfu, 0)
			}
			s.wantCounts(t, c.joins, 4)
			if got := log.String(); strings.Count(got, "way of playing decided") != 1 || !strings.Contains(got, c.reason) {
				t.Errorf("log is %s", got)
			}
			// A newer LiveKit is noticed.
			s.version, s.steps, s.refusal = "1.14.0", s.usual, 0
			sfu.ways.refuse = time.Now().Add(-2 * askAgain)
			if _, err := s.play(t, sfu, 0); err != nil {
				t.Fatal(err)
			}
			s.wantCounts(t, c.joins+1, 4)
			if got := log.String(); strings.Count(got, "way of playing decided") != 2 || !strings.Contains(got, "LiveKit 1.14.0") {
				t.Errorf("log is %s", got)
			}
		})
	}
}

// A LiveKit that fails is not asked again by WHIP, and says nothing about the way.
func TestFailedUpgradeKeepsWayOfPlaying(t *testing.T) {
	for status, kind := range map[int]translate.ErrorKind{
		http.StatusServiceUnavailable: translate.ErrKindUnavailable, http.StatusTooManyRequests: translate.ErrKindUnavailable,
	} {
		asked := 0
		sfu := stub(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.WriteHeader(status)
		})
		_, err := sfu.Play(deadline(t, patience), translate.PlayOffer{Room: "r", Identity: "me", Publisher: "pub", Offer: allTracks("")})
		wantKind(t, err, kind)
		if asked != 1 || !sfu.ways.signal(0) || errors.Is(err, translate.ErrNotSent) {
			t.Errorf("status %d: %d calls, error %v", status, asked, err)
		}
	}
}

// A wrong key is refused by both ways, and decides nothing.
func TestDeniedPlayKeepsWayOfPlaying(t *testing.T) {
	sfu := stub(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := sfu.Play(deadline(t, patience), translate.PlayOffer{Room: "r", Identity: "me", Publisher: "pub", Offer: allTracks("")})
	wantKind(t, err, translate.ErrKindDenied)
	if !sfu.ways.signal(0) {
		t.Error("WHIP was decided for")
	}
}

// What a client cannot use is no failure of LiveKit, and so not in the metric of calls that fail.
func TestRefusedOfferIsNoFailureOfLiveKit(t *testing.T) {
	s := newStandIn(t)
	var failures []error
	observe := func(_ string, _ time.Duration, err error) { failures = append(failures, err) }
	sfu := s.sfu(t, PlayAuto, Deps{Observe: observe})
	noCodec := errors.New("no codec in common")
	_, err := sfu.Play(deadline(t, patience), translate.PlayOffer{Room: "r", Identity: "me", Publisher: "pub", Offer: func(translate.Participant) (string, []translate.Track, error) {
		return "", nil, noCodec
	}})
	if !errors.Is(err, noCodec) || !slices.Equal(failures, []error{nil}) {
		t.Errorf("error %v, observed %v", err, failures)
	}
	s.wantClose(t)
}

func TestPlayConfiguredAsWHIPOrSignalling(t *testing.T) {
	s := newStandIn(t)
	s.version = "1.9.12"
	if _, err := s.play(t, s.sfu(t, PlayWHIP, Deps{}), 0); err != nil {
		t.Error(err)
	}
	s.wantCounts(t, 0, 1)
	if _, err := s.play(t, s.sfu(t, PlaySignal, Deps{}), 5); err != nil {
		t.Error(err)
	}
	s.wantCounts(t, 1, 1)
}

// Answers that cannot be used need another identity, twice by signalling and then by WHIP. The connection is
// closed and LiveKit is notified that the participant leaves.
func TestUnusableAnswersArePlayedAgainAndThenByWHIP(t *testing.T) {
	for name, step := range map[string]func(*lkproto.SignalRequest) []*lkproto.SignalResponse{
		"a track is missing": func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
			return []*lkproto.SignalResponse{allowed("TR_1"), answered(sending("TR_x")), candidate("", true)}
		},
		"a format was not offered": func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
			return []*lkproto.SignalResponse{
				allowed("TR_1"), answered(strings.Replace(sending("TR_1"), "111", "111 63", 1)), candidate("", true),
			}
		},
		"the subscription fails": func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
			return []*lkproto.SignalResponse{{Message: &lkproto.SignalResponse_SubscriptionResponse{
				SubscriptionResponse: &lkproto.SubscriptionResponse{TrackSid: "TR_1", Err: lkproto.SubscriptionError_SE_TRACK_NOTFOUND},
			}}}
		},
		"no permission comes": func(m *lkproto.SignalRequest) []*lkproto.SignalResponse { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t)
			s.steps = step
			sfu := s.sfu(t, PlayAuto, Deps{})
			for attempt := range signalAttempts {
				_, err := s.play(t, sfu, attempt)
				if !errors.Is(err, translate.ErrPlayAgain) || translate.KindOf(err) != translate.ErrKindUnavailable {
					t.Fatalf("attempt %d: %v", attempt, err)
				}
				s.wantClose(t)
			}
			s.mu.Lock()
			last := s.received[len(s.received)-1]
			s.mu.Unlock()
			if last.GetLeave() == nil {
				t.Errorf("last message is %v", last)
			}
			if _, err := s.play(t, sfu, signalAttempts); err != nil {
				t.Error(err)
			}
			s.wantCounts(t, signalAttempts, 1)
		})
	}
}

func TestPlayFailsWhenPublisherLeavesDuringStart(t *testing.T) {
	s := newStandIn(t)
	s.steps = func(*lkproto.SignalRequest) []*lkproto.SignalResponse {
		gone := s.publisher()
		gone.State = lkproto.ParticipantInfo_DISCONNECTED
		return []*lkproto.SignalResponse{{Message: &lkproto.SignalResponse_Update{Update: &lkproto.ParticipantUpdate{Participants: []*lkproto.ParticipantInfo{gone}}}}}
	}
	_, err := s.play(t, s.sfu(t, PlayAuto, Deps{}), 0)
	wantKind(t, err, translate.ErrKindNotFound)
	if !errors.Is(err, translate.ErrPublisherGone) {
		t.Errorf("error is %v", err)
	}
	s.wantClose(t)
}

func TestRefusedOfferIsReturnedAsItIs(t *testing.T) {
	s := newStandIn(t)
	sfu := s.sfu(t, PlayAuto, Deps{})
	_, err := sfu.Play(deadline(t, patience), translate.PlayOffer{
		Room: "r", Identity: "me", Publisher: "pub",
		Offer: func(translate.Participant) (string, []translate.Track, error) {
			return "", nil, translate.ErrNoCommonCodecs
		},
	})
	if err != translate.ErrNoCommonCodecs { //nolint:errorlint // not wrapped
		t.Errorf("error is %v", err)
	}
	s.wantClose(t)
}

// LiveKit's messages are bounded in size and number.
func TestSignallingIsBounded(t *testing.T) {
	for name, step := range map[string]func(*lkproto.SignalRequest) []*lkproto.SignalResponse{
		"size": func(*lkproto.SignalRequest) []*lkproto.SignalResponse {
			return []*lkproto.SignalResponse{answered(strings.Repeat("x", maxSignalBytes))}
		},
		"number": func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
			if m.GetOffer() == nil {
				return []*lkproto.SignalResponse{allowed("TR_1")}
			}
			return slices.Repeat([]*lkproto.SignalResponse{allowed("other")}, maxSignals+1)
		},
		"candidates": func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
			if m.GetOffer() == nil {
				return []*lkproto.SignalResponse{allowed("TR_1")}
			}
			return slices.Repeat([]*lkproto.SignalResponse{candidate(strings.Repeat("x", maxSignalBytes/3), false)}, 5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandIn(t)
			s.steps = step
			_, err := s.play(t, s.sfu(t, PlayAuto, Deps{}), 0)
			wantKind(t, err, translate.ErrKindUnavailable)
			if !errors.Is(err, translate.ErrPlayAgain) { // WHIP reads no list of participants
				t.Errorf("error is %v", err)
			}
		})
	}
}

// A stop during the start ends the connection at once.
func TestStopDuringSignallingEndsConnection(t *testing.T) {
	s := newStandIn(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.steps = func(m *lkproto.SignalRequest) []*lkproto.SignalResponse {
		if m.GetOffer() != nil {
			cancel()
			return nil
		}
		return s.usual(m)
	}
	_, err := s.sfu(t, PlayAuto, Deps{}).Play(ctx, translate.PlayOffer{Room: "r", Identity: "me", Publisher: "pub", Offer: allTracks(standInOffer)})
	wantKind(t, err, translate.ErrKindCanceled)
	s.wantClose(t)
}

// While all places are taken, players are started by WHIP. A player that never comes up has a place until its
// connection ends.
func TestPlayByWHIPWhileAllPlacesAreTaken(t *testing.T) {
	s := newStandIn(t)
	sfu, err := New(Config{URL: s.URL, Key: "key", Secret: testSecret, MaxConns: 2}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.play(t, sfu, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.wantCounts(t, 1, 2)
	sfu.Close()
	s.wantClose(t)
	if !sfu.held.places.TryAcquire(1) || len(sfu.held.open) != 0 {
		t.Error("the place is still taken")
	}
}
