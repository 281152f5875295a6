package livekit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/protojson"

	"wcsgateway/translate"
)

// post returns a webhook request with a hash of the body, signed with the key.
func post(t testing.TB, key, secret, body string, valid time.Duration) *http.Request {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	token, err := auth.NewAccessToken(key, secret).SetValidFor(valid).
		SetSha256(base64.StdEncoding.EncodeToString(sum[:])).ToJWT()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
	r.Header.Set("Authorization", token)
	return r
}

func webhookSFU(t testing.TB) *SFU {
	t.Helper()
	sfu, err := New(Config{
		URL: "http://127.0.0.1:1", Key: "key", Secret: testSecret, WebhookKeys: map[string]string{"old": "oldsecret"},
	}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return sfu
}

const joined = `{"event":"participant_joined","room":{"name":"wcs.a","later":1},"participant":{"sid":"PA_1","identity":"wcs:d:pub:1","state":"ACTIVE"},"id":"EV_1","createdAt":"1700000000","unheardOf":{}}`

func TestWebhookIsVerified(t *testing.T) {
	sfu := webhookSFU(t)
	want := translate.Event{
		ID: "EV_1", Kind: translate.EventJoined, Room: "wcs.a", Identity: "wcs:d:pub:1", SID: "PA_1", At: time.Unix(1700000000, 0),
	}
	for _, key := range [][2]string{{"key", testSecret}, {"old", "oldsecret"}} {
		r := post(t, key[0], key[1], joined, time.Minute)
		for range 2 { // a replay yields the same event
			r.Body = io.NopCloser(strings.NewReader(joined))
			e, ok, err := sfu.Webhook(httptest.NewRecorder(), r)
			if e != want || !ok || err != nil {
				t.Errorf("signed by %s: %+v, %v, %v", key[0], e, ok, err)
			}
		}
	}
}

func TestInvalidWebhookIsRejected(t *testing.T) {
	sfu := webhookSFU(t)
	change := func(f func(*http.Request)) *http.Request {
		r := post(t, "key", testSecret, joined, time.Minute)
		f(r)
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		kind translate.ErrorKind
	}{
		"unknown key":  {post(t, "nobody", testSecret, joined, time.Minute), translate.ErrKindDenied},
		"wrong secret": {post(t, "key", "guess", joined, time.Minute), translate.ErrKindDenied},
		"other key's":  {post(t, "key", "oldsecret", joined, time.Minute), translate.ErrKindDenied},
		"no token":     {change(func(r *http.Request) { r.Header.Del("Authorization") }), translate.ErrKindDenied},
		"no JWT":       {change(func(r *http.Request) { r.Header.Set("Authorization", "x.y.z") }), translate.ErrKindDenied},
		"unsigned":     {change(func(r *http.Request) { r.Header.Set("Authorization", unsigned) }), translate.ErrKindDenied},
		"other body": {change(func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(joined, "wcs.a", "wcs.b", 1)))
		}), translate.ErrKindDenied},
		"expired": {expired(t), translate.ErrKindDenied},
		"access token instead": {change(func(r *http.Request) {
			token, err := sfu.signer.publisher(translate.PublishOffer{})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", token)
		}), translate.ErrKindDenied},
		"not JSON":  {post(t, "key", testSecret, "hello", time.Minute), translate.ErrKindRefused},
		"too long":  {post(t, "key", testSecret, strings.Repeat(" ", maxWebhook)+joined, time.Minute), translate.ErrKindRefused},
		"cut short": {change(func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) }), translate.ErrKindUnavailable},
	} {
		e, ok, err := sfu.Webhook(httptest.NewRecorder(), c.r)
		if name == "expired" && !strings.Contains(fmt.Sprint(err), "expired") {
			t.Errorf("expired: rejected for another reason: %v", err)
		}
		if ok || translate.KindOf(err) != c.kind || e != (translate.Event{}) {
			t.Errorf("%s: %+v, %v, %v", name, e, ok, err)
		}
	}
}

// unsigned has the header {"alg":"none"} and the claims {"iss":"key"}.
const unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJrZXkifQ."

// expired returns a well-signed request that expired longer ago than the minute of tolerance.
func expired(t *testing.T) *http.Request {
	t.Helper()
	r := post(t, "key", testSecret, joined, time.Minute)
	head, rest, _ := strings.Cut(r.Header.Get("Authorization"), ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	claims["exp"], claims["nbf"] = time.Now().Add(-2*time.Minute).Unix(), 0
	if raw, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	signed := head + "." + base64.RawURLEncoding.EncodeToString(raw)
	mac := hmac.New(sha256.New, []byte(testSecret))
	mac.Write([]byte(signed))
	r.Header.Set("Authorization", signed+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	return r
}

func TestWebhooksBecomeEvents(t *testing.T) {
	sfu := webhookSFU(t)
	base := translate.Event{ID: "EV_2", Room: "r", Identity: "i", SID: "PA_2"}
	for name, want := range map[string]translate.Event{
		"room_started":                   {Kind: translate.EventRoomStarted},
		"room_finished":                  {Kind: translate.EventRoomEnded},
		"participant_joined":             {Kind: translate.EventJoined},
		"participant_left":               {Kind: translate.EventLeft, Reason: translate.EndRemoved},
		"participant_connection_aborted": {Kind: translate.EventAborted, Reason: translate.EndRemoved},
		"track_published":                {Kind: translate.EventTrack, Track: translate.Track{SID: "TR_1", Kind: translate.Video, Width: 4}},
		"track_unpublished":              {Kind: translate.EventTrackGone, Track: translate.Track{SID: "TR_1", Kind: translate.Video, Width: 4}},
		"egress_started":                 {},
		"heard_of_never":                 {},
		"":                               {},
	} {
		body, err := protojson.Marshal(&lkproto.WebhookEvent{
			Event: name, Id: "EV_2", Room: &lkproto.Room{Name: "r"},
			Participant: &lkproto.ParticipantInfo{Identity: "i", Sid: "PA_2", DisconnectReason: lkproto.DisconnectReason_PARTICIPANT_REMOVED},
			Track:       &lkproto.TrackInfo{Sid: "TR_1", Type: lkproto.TrackType_VIDEO, Width: 4},
		})
		if err != nil {
			t.Fatal(err)
		}
		known := want.Kind != 0
		if known {
			want.ID, want.Room, want.Identity, want.SID = base.ID, base.Room, base.Identity, base.SID
		}
		e, ok, err := sfu.Webhook(httptest.NewRecorder(), post(t, "key", testSecret, string(body), time.Minute))
		if e != want || ok != known || err != nil {
			t.Errorf("%q: %+v, %v, %v; want %+v", name, e, ok, err, want)
		}
	}
}

func TestEveryDisconnectReasonHasEndReason(t *testing.T) {
	got := map[string]translate.EndReason{}
	for number, name := range lkproto.DisconnectReason_name {
		got[name] = endReason(lkproto.DisconnectReason(number))
	}
	want := map[string]translate.EndReason{
		"UNKNOWN_REASON": translate.EndUnknown, "CLIENT_INITIATED": translate.EndClient,
		"DUPLICATE_IDENTITY": translate.EndReplaced, "SERVER_SHUTDOWN": translate.EndShutdown,
		"PARTICIPANT_REMOVED": translate.EndRemoved, "ROOM_DELETED": translate.EndRoomClosed,
		"STATE_MISMATCH": "state_mismatch", "JOIN_FAILURE": translate.EndTimeout,
		"MIGRATION": translate.EndShutdown, "SIGNAL_CLOSE": translate.EndTimeout,
		"ROOM_CLOSED": translate.EndRoomClosed, "USER_UNAVAILABLE": "user_unavailable",
		"USER_REJECTED": "user_rejected", "SIP_TRUNK_FAILURE": "sip_trunk_failure",
		"CONNECTION_TIMEOUT": translate.EndTimeout, "MEDIA_FAILURE": translate.EndMedia,
		"AGENT_ERROR": "agent_error",
	}
	if !maps.Equal(got, want) {
		t.Errorf("reasons are %v", got)
	}
	if r := endReason(9999); r != "9999" {
		t.Errorf("unknown reason maps to %v", r)
	}
}

func BenchmarkWebhook(b *testing.B) {
	sfu := webhookSFU(b)
	r := post(b, "key", testSecret, joined, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(joined))
		if _, _, err := sfu.Webhook(nil, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToken(b *testing.B) {
	s := newSigner(Config{Key: "key", Secret: testSecret, EmptyTimeout: time.Second})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.publisher(translate.PublishOffer{Room: "wcs.a", Identity: "wcs:d:pub:1", MediaID: "m"}); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzWebhook checks that any body is rejected without the key, and with the key is a usable event, an
// ignored one, or a typed error.
func FuzzWebhook(f *testing.F) {
	f.Add([]byte(joined))
	f.Add([]byte(`{"event":"track_published","room":{"name":"r"},"participant":{"identity":"i"},"track":{"sid":"TR_1","type":1,"name":"n","width":-1}}`))
	f.Add([]byte(`{"event":"room_finished"}`))
	f.Add([]byte(`[{}]`))
	sfu := webhookSFU(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _, err := sfu.Webhook(httptest.NewRecorder(), post(t, "key", "another secret", string(body), time.Minute))
		if translate.KindOf(err) != translate.ErrKindDenied {
			t.Fatalf("without the key: %v", err)
		}
		e, ok, err := sfu.Webhook(httptest.NewRecorder(), post(t, "key", testSecret, string(body), time.Minute))
		switch {
		case err != nil && translate.KindOf(err) != translate.ErrKindRefused:
			t.Fatalf("with the key: %v", err)
		case err == nil && ok && e.Kind == 0:
			t.Fatalf("event without a kind: %+v", e)
		}
	})
}
