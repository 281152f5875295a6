package livekit

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"

	"wcsgateway/translate"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// stub returns an SFU that calls a handler.
func stub(t testing.TB, h http.HandlerFunc) *SFU {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	sfu, err := New(Config{URL: srv.URL + "/", Key: "key", Secret: testSecret}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	return sfu
}

func TestPublishRequestHasGrantsOfPublisher(t *testing.T) {
	sfu := stub(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a truncated body fails the comparison
		if r.URL.Path != "/whip/v1" || r.Header.Get("Content-Type") != "application/sdp" || string(body) != "offer" {
			t.Errorf("got %s %v %q", r.URL, r.Header, body)
		}
		if _, ok := r.Header[http.CanonicalHeaderKey(clientInfoHeader)]; ok {
			t.Error("publisher's request has a client info header")
		}
		g := grants(t, r)
		yes, no := true, false
		want := &auth.VideoGrant{
			RoomJoin: true, Room: "wcs.a", CanPublish: &yes, CanSubscribe: &no, CanPublishData: &no,
			CanUpdateOwnMetadata: &no, CanSubscribeMetrics: &no, CanManageAgentSession: &no,
		}
		if diff := cmp.Diff(want, g.Video); diff != "" {
			t.Error(diff)
		}
		if g.Identity != "wcs:d:pub:1" || !maps.Equal(g.Attributes, map[string]string{"wcs.mediaSessionId": "m1"}) {
			t.Errorf("token is of %q with %v", g.Identity, g.Attributes)
		}
		if g.RoomConfig.EmptyTimeout != 2 || g.RoomConfig.DepartureTimeout != 1 {
			t.Errorf("room configuration is %v", g.RoomConfig)
		}
		w.Header().Set("Location", "/whip/v1/PA_1")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("answer")) // if it is missing, the comparison fails
	})
	sfu.signer = newSigner(Config{Key: "key", Secret: testSecret, EmptyTimeout: 1500 * time.Millisecond, DepartureTimeout: time.Second})
	answer, err := sfu.Publish(t.Context(), translate.PublishOffer{Room: "wcs.a", Identity: "wcs:d:pub:1", MediaID: "m1", SDP: "offer"})
	if err != nil || answer != (translate.Answer{SDP: "answer", SID: "PA_1"}) {
		t.Errorf("answer is %+v, %v", answer, err)
	}
}

func TestPlayRequestSelectsTracks(t *testing.T) {
	const odd = "nätive \x7f \"1\"\n😀"
	sfu := stub(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != whipPath {
			w.Header().Set("Content-Type", "application/protobuf") // an empty participant
			return
		}
		header := r.Header.Get(clientInfoHeader)
		printable(t, header)
		var info struct {
			Tracks map[string][]string `json:"subscribedParticipantTrackNames"`
		}
		if err := json.Unmarshal([]byte(header), &info); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[string][]string{odd: {"a", odd}}, info.Tracks); diff != "" {
			t.Error(diff)
		}
		yes, no := true, false
		want := &auth.VideoGrant{
			RoomJoin: true, Room: "r", Hidden: true, CanPublish: &no, CanSubscribe: &yes, CanPublishData: &no,
			CanUpdateOwnMetadata: &no, CanSubscribeMetrics: &no, CanManageAgentSession: &no,
		}
		if diff := cmp.Diff(want, grants(t, r).Video); diff != "" {
			t.Error(diff)
		}
		w.WriteHeader(http.StatusCreated)
	})
	sfu.ways.configured = PlayWHIP
	_, err := sfu.Play(t.Context(), translate.PlayOffer{
		Room: "r", Identity: "i", Publisher: odd,
		Offer: func(translate.Participant) (string, []translate.Track, error) {
			return "o", []translate.Track{{Name: "a"}, {Name: odd}}, nil
		},
	})
	if err != nil {
		t.Error(err)
	}
}

// Each RoomService call has its own token, for its room only.
func TestRoomServiceTokensAreForOneRoom(t *testing.T) {
	calls := 0
	sfu := stub(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		g := grants(t, r)
		if diff := cmp.Diff(&auth.VideoGrant{RoomAdmin: true, Room: "r"}, g.Video); diff != "" || g.Identity != "" {
			t.Errorf("%s: token of %q: %s", r.URL.Path, g.Identity, diff)
		}
		w.Header().Set("Content-Type", "application/protobuf") // an empty body is an empty message
	})
	_, errList := sfu.Participants(t.Context(), "r")
	_, errAsk := sfu.Participant(t.Context(), "r", "i")
	if err := errors.Join(errList, errAsk, sfu.Remove(t.Context(), "r", "i")); err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// grants returns the grants of a token, which must be valid for a minute.
func grants(t *testing.T, r *http.Request) *auth.ClaimGrants {
	t.Helper()
	v, err := auth.ParseAPIToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		t.Fatal(err)
	}
	registered, g, err := v.Verify(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	if d := registered.ExpiresAt.Sub(registered.IssuedAt.Time); d != time.Minute {
		t.Errorf("token is good for %v", d)
	}
	return g
}

func TestResponseStatusDecidesErrorKind(t *testing.T) {
	long := strings.Repeat("é", 300)
	for name, c := range map[string]struct {
		status int
		body   string
		kind   translate.ErrorKind
		text   string
	}{
		"bad request":       {400, `{"error":"malformed SDP offer"}`, translate.ErrKindRefused, "status 400: malformed SDP offer"},
		"not acceptable":    {406, ``, translate.ErrKindRefused, "status 406"},
		"too large":         {413, `{"error":"` + long + `"}`, translate.ErrKindRefused, "status 413: " + long[:200]},
		"unauthorized":      {401, `invalid token: eyJ`, translate.ErrKindDenied, "status 401"},
		"forbidden":         {403, `no`, translate.ErrKindDenied, "status 403"},
		"no WHIP":           {404, "404 page not found\n", translate.ErrKindNotFound, "status 404: 404 page not found"},
		"too many":          {429, ``, translate.ErrKindUnavailable, "status 429"},
		"server error":      {500, `{"error":"x"}`, translate.ErrKindUnavailable, "status 500: x"},
		"no node":           {503, `{"error":"no response from servers"}`, translate.ErrKindUnavailable, "status 503: no response from servers"},
		"redirect":          {307, ``, translate.ErrKindUnavailable, "status 307"},
		"another success":   {200, `v=0`, translate.ErrKindUnavailable, "status 200: v=0"},
		"answer too large":  {201, strings.Repeat("x", maxAnswer+1), translate.ErrKindUnavailable, "answer of more than 1048576 bytes"},
		"answer cut short":  {201, "", translate.ErrKindUnavailable, "unexpected EOF"},
		"odd text in error": {400, "\xff\xfe", translate.ErrKindRefused, "status 400"},
	} {
		t.Run(name, func(t *testing.T) {
			sfu := stub(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				if c.status == http.StatusCreated && c.body == "" {
					w.Header().Set("Content-Length", strconv.Itoa(10))
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body) // truncated when too large
			})
			_, err := sfu.Publish(t.Context(), translate.PublishOffer{SDP: "o"})
			wantKind(t, err, c.kind)
			var e *translate.Error
			if !errors.As(err, &e) || e.Op != opPublish || e.Err.Error() != c.text {
				t.Errorf("error is %q, want %q", e.Err, c.text)
			}
		})
	}
}

// A 503 is a fault of the offer if the participant is in the room, but not if LiveKit's own processes did not
// reach each other: LiveKit's repetition can have made the participant.
func TestFaultsBetweenNodesAreNotTheOffers(t *testing.T) {
	for text, kind := range map[string]translate.ErrorKind{
		"server is closed": translate.ErrKindUnavailable, "request timed out": translate.ErrKindUnavailable,
		"stream message discarded by slow consumer": translate.ErrKindUnavailable, "unsupported DTLS role": translate.ErrKindRefused,
	} {
		sfu := stub(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/whip") {
				http.Error(w, text, http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/protobuf") // an empty one: the participant
		})
		if _, err := sfu.Publish(t.Context(), translate.PublishOffer{SDP: "o"}); translate.KindOf(err) != kind {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestObserveReceivesEveryCall(t *testing.T) {
	var seen []string
	sfu := stub(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	sfu.observe = func(op string, d time.Duration, err error) {
		if d <= 0 || translate.KindOf(err) != translate.ErrKindUnavailable {
			t.Errorf("%s took %v: %v", op, d, err)
		}
		seen = append(seen, op)
	}
	calls(t, t.Context(), sfu)
	slices.Sort(seen)
	// After the 503 to the publisher's offer, the participant is queried as well.
	want := []string{opParticipant, opParticipant, opParticipants, opSignalPlay, opPublish, opRemove}
	slices.Sort(want)
	if !slices.Equal(seen, want) {
		t.Errorf("observed %v", seen)
	}
}

func printable(t *testing.T, header string) {
	t.Helper()
	for _, c := range []byte(header) {
		if c < 0x20 || c > 0x7e {
			t.Errorf("header has byte %#x", c)
		}
	}
}

func FuzzClientInfo(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x7f\u0080\u2028\U0001f600\xff")
	f.Fuzz(func(t *testing.T, name string) {
		header, err := clientInfo(translate.Identity(name), []string{name})
		if err != nil {
			t.Fatal(err)
		}
		printable(t, header)
		var info struct {
			Tracks map[string][]string `json:"subscribedParticipantTrackNames"`
		}
		if err := json.Unmarshal([]byte(header), &info); err != nil {
			t.Fatal(err)
		}
		clean := strings.ToValidUTF8(name, "\ufffd")
		if strings.ToValidUTF8(name, "") == name && !slices.Equal(info.Tracks[clean], []string{clean}) {
			t.Errorf("%q became %v", name, info.Tracks)
		}
	})
}

func TestInvalidURLIsRejected(t *testing.T) {
	for raw, want := range map[string]string{
		"http://lk:7880": "http://lk:7880", "ws://lk:7880/": "http://lk:7880",
		"wss://lk/a/": "https://lk/a", "HTTPS://lk": "https://lk",
		"lk:7880": "", "": "", "ftp://lk": "", "http://": "", "http://u:p@lk": "", "http://lk?x=1": "", "http://lk#x": "", "http://\x01": "",
	} {
		got, err := apiURL(raw)
		if got != want || (err == nil) != (want != "") || (err != nil && !errors.Is(err, ErrConfig)) {
			t.Errorf("apiURL(%q) = %q, %v", raw, got, err)
		}
	}
	if _, err := New(Config{URL: "lk", Key: "k", Secret: "s"}, Deps{}); !errors.Is(err, ErrConfig) {
		t.Errorf("New returned %v", err)
	}
}

// A call without a connection to LiveKit has done nothing there. A call whose connection was lost may have.
func TestCallsWithoutConnectionWereNotSent(t *testing.T) {
	offer := translate.PublishOffer{Room: "r", Identity: publisher(), SDP: "v=0"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = c.Close()
		}
	}))
	sfu, err := New(Config{URL: server.URL, Key: "k", Secret: "s"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sfu.Publish(t.Context(), offer); err == nil || errors.Is(err, translate.ErrNotSent) {
		t.Errorf("connection lost during the call: %v", err)
	}
	server.Close()
	if _, err := sfu.Publish(t.Context(), offer); !errors.Is(err, translate.ErrNotSent) {
		t.Errorf("connection refused: %v, want %v", err, translate.ErrNotSent)
	}
}
