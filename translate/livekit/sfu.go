// Package livekit is the client of a LiveKit server. It owns all calls to LiveKit: WHIP for offers,
// signalling for those of players, RoomService and the egress API for everything else, probes that measure
// streams as a hidden participant, and the verification of webhooks. It implements gateway.SFU, egress.Client
// and probe.Prober; only cmd uses it. It is the only package that imports livekit/*, and imports neither
// gateway nor state.
package livekit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/rs/zerolog"

	"wcsgateway/translate"
)

// Operations in errors and of Deps.Observe.
const (
	opPublish      = "whip publish"
	opPlay         = "whip play"
	opSignalPlay   = "signal play"
	opFollow       = "follow publisher"
	opRemove       = "remove participant"
	opParticipants = "list participants"
	opParticipant  = "ask participant"
	opWebhook      = "webhook"
	opStartEgress  = "start egress"
	opStopEgress   = "stop egress"
	opFindEgress   = "find egress"
	opListEgresses = "list egresses"
)

// defaultMaxConns is the default of Config.MaxConns.
const defaultMaxConns = 512

// ErrConfig is wrapped by the errors about a Config.URL.
var ErrConfig = errors.New("livekit configuration")

// Config holds the address of LiveKit and the credentials of the gateway, which are valid:
// cmd/internal/config checks them.
type Config struct {
	// URL of LiveKit's API: http(s)://host[:port][/path], or the same with ws(s).
	URL string
	// Key and Secret are the API key that signs the gateway's tokens. Webhooks signed with it are accepted.
	Key, Secret string
	// WebhookKeys are additional key/secret pairs accepted for webhooks, so that keys can be rotated without
	// downtime.
	WebhookKeys map[string]string
	// EmptyTimeout is how long LiveKit keeps a room that never had an active participant, DepartureTimeout
	// how long after the last participant left. They apply only to rooms that the gateway's call creates.
	// They are rounded up to whole seconds; 0 keeps LiveKit's default.
	EmptyTimeout, DepartureTimeout time.Duration
	// MaxConns limits the connections to LiveKit; all of them are kept open when idle. A call waits for a
	// free connection as long as its context allows. Players that start by signalling have as many connections
	// in addition as there are for plays (SplitConns).
	MaxConns int
	// Play is how LiveKit is asked for answers to players; PlayAuto by default.
	Play PlayWay
}

// CheckURL returns an error for an invalid Config.URL. The error does not contain the URL, which can contain
// a password by mistake.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme):
		return errors.New("must be http(s)://host[:port] or ws(s)://host[:port]")
	case u.User != nil:
		return errors.New("must not have a user or password: the API key authenticates the gateway")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("must end with the path")
	}
	return nil
}

// apiURL normalises the URL of LiveKit's API: ws becomes http, without a slash at the end.
func apiURL(address string) (string, error) {
	if err := CheckURL(address); err != nil {
		return "", fmt.Errorf("%w: url %w", ErrConfig, err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfig, err) // CheckURL excluded this
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	return strings.TrimRight(u.String(), "/"), nil
}

// Deps are the dependencies of an SFU. All fields are optional.
type Deps struct {
	// HTTP makes all calls but those of plays by WHIP, PlayHTTP those. By default the SFU creates clients with
	// SplitConns of Config.MaxConns, HTTP/1.1, no proxy and no redirects.
	HTTP, PlayHTTP *http.Client
	// Observe is called for each finished call with an Op constant, its duration, and its error: nil or a
	// *translate.Error. It must not block.
	Observe func(op string, d time.Duration, err error)
	// Trace is called for each finished play by signalling, like Observe. The HTTP clients trace all other calls.
	Trace func(ctx context.Context, op string, start time.Time, err error)
	// Log receives debug lines about calls, never tokens or session descriptions.
	Log zerolog.Logger
}

// SFU is a LiveKit deployment behind one URL. It is safe for concurrent use. It implements gateway.SFU and
// egress.Client.
type SFU struct {
	base    string // URL of the API
	whip    *whipClient
	plays   *whipClient
	playing *playSlots
	ways    *playWays
	held    *heldPlayers
	rooms   lkproto.RoomService
	egress  lkproto.Egress
	signer  *signer
	keys    webhookKeys
	observe func(op string, d time.Duration, err error)
	trace   func(ctx context.Context, op string, start time.Time, err error)
	log     zerolog.Logger
}

// New returns an SFU; it fails for an invalid Config.URL. It does not connect: LiveKit can be unreachable.
func New(cfg Config, deps Deps) (*SFU, error) {
	base, err := apiURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = defaultMaxConns
	}
	control, plays := SplitConns(cfg.MaxConns)
	if deps.HTTP == nil {
		deps.HTTP = NewClient(NewTransport(control))
	}
	if deps.PlayHTTP == nil {
		deps.PlayHTTP = NewClient(NewTransport(plays))
	}
	if deps.Observe == nil {
		deps.Observe = func(string, time.Duration, error) {}
	}
	if deps.Trace == nil {
		deps.Trace = func(context.Context, string, time.Time, error) {}
	}
	return &SFU{
		base:    base,
		whip:    &whipClient{http: deps.HTTP, url: base + whipPath},
		plays:   &whipClient{http: deps.PlayHTTP, url: base + whipPath},
		playing: newPlaySlots(plays / 4),
		ways:    newPlayWays(cfg.Play, deps.Log),
		held:    newHeldPlayers(plays),
		rooms:   lkproto.NewRoomServiceProtobufClient(base, deps.HTTP),
		egress:  lkproto.NewEgressProtobufClient(base, deps.HTTP),
		signer:  newSigner(cfg),
		keys:    newWebhookKeys(cfg),
		observe: deps.Observe,
		trace:   deps.Trace,
		log:     deps.Log,
	}, nil
}

// SplitConns divides a number of connections: Play has its own, because LiveKit answers it only when the
// publisher's tracks are there. All other calls, removals among them, do not wait for it.
func SplitConns(all int) (control, plays int) {
	plays = max(all/2, 1)
	return max(all-plays, 1), plays
}

// Close closes the idle connections, and those of players that are starting, which ends them. Calls in
// progress are not affected.
func (s *SFU) Close() {
	s.held.close()
	s.whip.http.CloseIdleConnections()
	s.plays.http.CloseIdleConnections()
}

// Publish sends a publisher's offer and returns LiveKit's answer. It creates the room and the participant; an
// earlier participant with the identity is removed. After an error the participant can exist nevertheless:
// Remove it.
func (s *SFU) Publish(ctx context.Context, o translate.PublishOffer) (a translate.Answer, err error) {
	defer s.done(opPublish, time.Now(), o.Room, o.Identity, &err)
	token, err := s.signer.publisher(o)
	if err != nil {
		return translate.Answer{}, &translate.Error{Kind: translate.ErrKindRefused, Op: opPublish, Err: err}
	}
	return s.offer(ctx, s.whip, o.Room, o.Identity, whipRequest{op: opPublish, token: token, sdp: o.SDP})
}

// offer sends an offer. LiveKit answers 503 both if it cannot serve any offer and if it fails at this one. In
// the second case the participant is already in the room, and the error is ErrKindRefused: the fault is the
// client's, and no one needs to repair LiveKit.
func (s *SFU) offer(ctx context.Context, client *whipClient, room translate.RoomName, id translate.Identity, w whipRequest) (translate.Answer, error) {
	answer, err := client.post(ctx, w)
	var sfu *translate.Error
	if !errors.Is(err, statusError(http.StatusServiceUnavailable)) || !errors.As(err, &sfu) {
		return answer, err
	}
	if slices.ContainsFunc(nodeFaults, func(text string) bool { return strings.Contains(err.Error(), text) }) {
		return answer, err
	}
	if _, missing := s.Participant(ctx, room, id); missing != nil {
		return answer, err
	}
	return answer, &translate.Error{Kind: translate.ErrKindRefused, Op: sfu.Op, Err: sfu.Err}
}

// done logs and observes a finished call.
func (s *SFU) done(op string, start time.Time, room translate.RoomName, id translate.Identity, err *error) {
	d := time.Since(start)
	s.observe(op, d, *err)
	s.log.Debug().Str("op", op).Str("room", string(room)).Str("identity", string(id)).
		Dur("dur_ms", d).Err(*err).Msg("livekit call")
}
