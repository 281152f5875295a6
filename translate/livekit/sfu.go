// Package livekit speaks to a LiveKit server: WHIP for offers, RoomService for everything else, it measures
// streams as a hidden participant, and it verifies LiveKit's webhooks. It implements gateway.SFU and
// gateway.Prober and is the only package that imports livekit/*; it imports neither gateway nor state.
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

// Names of the operations, as they stand in errors and are given to Deps.Observe.
const (
	OpPublish      = "whip publish"
	OpPlay         = "whip play"
	OpRemove       = "remove participant"
	OpParticipants = "list participants"
	OpParticipant  = "ask participant"
	OpWebhook      = "webhook"
	OpStartEgress  = "start egress"
	OpStopEgress   = "stop egress"
	OpFindEgress   = "find egress"
)

// DefaultMaxConns is Config.MaxConns if that is 0.
const DefaultMaxConns = 512

// ErrConfig is wrapped by the errors about a Config.
var ErrConfig = errors.New("livekit configuration")

// Config tells where LiveKit is and who we are to it.
type Config struct {
	// URL of LiveKit's API: http(s)://host[:port][/path], or the same with ws(s).
	URL string
	// Key and Secret are the API key that signs our tokens. Webhooks signed with it are accepted.
	Key, Secret string
	// WebhookKeys are further key/secret pairs that webhooks may be signed with, so that keys can be
	// rotated (design.md §9).
	WebhookKeys map[string]string
	// EmptyTimeout is how long LiveKit keeps a room nobody was ever active in, DepartureTimeout how long
	// after the last participant left. Only a room that our call creates gets them. Counted in whole
	// seconds, rounded up; 0 leaves LiveKit's own.
	EmptyTimeout, DepartureTimeout time.Duration
	// MaxConns bounds the connections to LiveKit; all of them are kept open when idle. A call that
	// finds them all in use waits, as long as its context allows.
	MaxConns int
}

// Validate joins all that is wrong with the configuration.
func (c Config) Validate() error {
	var faults []error
	if _, err := apiURL(c.URL); err != nil {
		faults = append(faults, err)
	}
	if c.Key == "" || c.Secret == "" {
		faults = append(faults, fmt.Errorf("%w: key and secret are both needed", ErrConfig))
	}
	for key, secret := range c.WebhookKeys {
		if key == "" || secret == "" {
			faults = append(faults, fmt.Errorf("%w: a webhook key needs a name and a secret", ErrConfig))
		}
		if key == c.Key && secret != c.Secret {
			faults = append(faults, fmt.Errorf("%w: webhook key %q has another secret than the API key of this name", ErrConfig, key))
		}
	}
	if c.EmptyTimeout < 0 || c.DepartureTimeout < 0 {
		faults = append(faults, fmt.Errorf("%w: negative room timeout", ErrConfig))
	}
	if c.MaxConns < 0 {
		faults = append(faults, fmt.Errorf("%w: negative number of connections", ErrConfig))
	}
	return errors.Join(faults...)
}

// CheckURL tells what is wrong with a Config.URL. The error does not show it: a mistake may have put a password in it.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme):
		return errors.New("must be http(s)://host[:port] or ws(s)://host[:port]")
	case u.User != nil:
		return errors.New("must not have a user or password: LiveKit knows us by the API key")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("must end with the path")
	}
	return nil
}

// apiURL normalises the URL of LiveKit's API: ws becomes http, and no slash at the end.
func apiURL(address string) (string, error) {
	if err := CheckURL(address); err != nil {
		return "", fmt.Errorf("%w: url %w", ErrConfig, err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfig, err) // CheckURL has seen to it
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	return strings.TrimRight(u.String(), "/"), nil
}

// Deps is what an SFU works with. Every field may be left zero.
type Deps struct {
	// HTTP makes all calls. Without it the SFU makes one of its own, with Config.MaxConns kept
	// connections, HTTP/1.1, no proxy and no redirects.
	HTTP *http.Client
	// Observe is told of each finished call: an Op constant, how long it took, and its error, nil or a
	// *translate.Error. It must not block.
	Observe func(op string, d time.Duration, err error)
	// Log gets debug lines about calls, never tokens or session descriptions.
	Log zerolog.Logger
}

// SFU is a LiveKit deployment behind one URL. It is safe for concurrent use. It implements gateway.SFU and gateway.Egress.
type SFU struct {
	base    string // URL of the API
	whip    *whipClient
	rooms   lkproto.RoomService
	egress  lkproto.Egress
	signer  *signer
	keys    webhookKeys
	observe func(op string, d time.Duration, err error)
	log     zerolog.Logger
}

// New checks the configuration and makes an SFU. It does not connect: LiveKit may be away.
func New(cfg Config, deps Deps) (*SFU, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := apiURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	if deps.HTTP == nil {
		deps.HTTP = NewClient(NewTransport(cfg.MaxConns))
	}
	if deps.Observe == nil {
		deps.Observe = func(string, time.Duration, error) {}
	}
	return &SFU{
		base:    base,
		whip:    &whipClient{http: deps.HTTP, url: base + whipPath},
		rooms:   lkproto.NewRoomServiceProtobufClient(base, deps.HTTP),
		egress:  lkproto.NewEgressProtobufClient(base, deps.HTTP),
		signer:  newSigner(cfg),
		keys:    newWebhookKeys(cfg),
		observe: deps.Observe,
		log:     deps.Log,
	}, nil
}

// Close gives up the idle connections. Calls under way are not disturbed.
func (s *SFU) Close() {
	s.whip.http.CloseIdleConnections()
}

// Publish sends a publisher's offer and gives LiveKit's answer. Room and participant come into being with
// it; an earlier participant of the identity is thrown out. After an error the participant may exist all
// the same: Remove it.
func (s *SFU) Publish(ctx context.Context, o translate.PublishOffer) (a translate.Answer, err error) {
	defer s.done(OpPublish, time.Now(), o.Room, o.Identity, &err)
	token, err := s.signer.publisher(o)
	if err != nil {
		return translate.Answer{}, &translate.Error{Kind: translate.ErrKindRefused, Op: OpPublish, Err: err}
	}
	return s.whip.post(ctx, whipRequest{op: OpPublish, token: token, sdp: o.SDP})
}

// Play sends a player's offer and gives LiveKit's answer. LiveKit answers when the named tracks are bound
// to the offer's m-lines; for a track that is not there the call runs into its deadline
// (ErrKindUnavailable). After an error the participant may exist all the same: Remove it.
func (s *SFU) Play(ctx context.Context, o translate.PlayOffer) (a translate.Answer, err error) {
	defer s.done(OpPlay, time.Now(), o.Room, o.Identity, &err)
	token, err := s.signer.player(o)
	if err != nil {
		return translate.Answer{}, &translate.Error{Kind: translate.ErrKindRefused, Op: OpPlay, Err: err}
	}
	info, err := clientInfo(o.Publisher, o.Tracks)
	if err != nil {
		return translate.Answer{}, &translate.Error{Kind: translate.ErrKindRefused, Op: OpPlay, Err: err}
	}
	return s.whip.post(ctx, whipRequest{op: OpPlay, token: token, sdp: o.SDP, clientInfo: info})
}

// done reports a finished call.
func (s *SFU) done(op string, start time.Time, room translate.RoomName, id translate.Identity, err *error) {
	d := time.Since(start)
	s.observe(op, d, *err)
	s.log.Debug().Str("op", op).Str("room", string(room)).Str("identity", string(id)).
		Dur("dur_ms", d).Err(*err).Msg("livekit call")
}
