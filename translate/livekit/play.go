package livekit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/mod/semver"

	"wcsgateway/translate"
)

// PlayWay is how LiveKit is asked for the answer to a player's offer.
type PlayWay string

// Ways of asking.
const (
	PlayAuto   PlayWay = "auto"   // by signalling if LiveKit serves it, else by WHIP
	PlaySignal PlayWay = "signal" // by signalling, whatever LiveKit's version is
	PlayWHIP   PlayWay = "whip"
)

// MinSignalling is the oldest LiveKit that plays by signalling with PlayAuto: answers of older ones have no
// sound for Firefox.
const MinSignalling = "1.13.2"

const (
	// signalAttempts is how often a player is started by signalling before WHIP is taken.
	signalAttempts = 2
	// askAgain is how long a LiveKit that does not serve signalling is asked by WHIP only. It can be replaced by
	// a newer one while the gateway runs.
	askAgain = 10 * time.Minute
)

// errNoSignalling is wrapped by the error of a play that LiveKit does not serve by signalling.
var errNoSignalling = errors.New("livekit does not serve players by signalling")

// playWays decides how LiveKit is asked. It logs each change of the decision.
type playWays struct {
	configured PlayWay
	log        zerolog.Logger

	mu     sync.Mutex
	now    PlayWay // "" before the first answer
	refuse time.Time
}

func newPlayWays(configured PlayWay, log zerolog.Logger) *playWays {
	if configured == "" {
		configured = PlayAuto
	}
	return &playWays{configured: configured, log: log}
}

// signal reports whether an attempt to play goes by signalling.
func (w *playWays) signal(attempt int) bool {
	if w.configured != PlayAuto {
		return w.configured == PlaySignal
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return attempt < signalAttempts && (w.now != PlayWHIP || time.Since(w.refuse) > askAgain)
}

// decide records how LiveKit answers players from now on.
func (w *playWays) decide(way PlayWay, reason string) {
	w.mu.Lock()
	changed := w.now != way
	w.now = way
	if way == PlayWHIP {
		w.refuse = time.Now()
	}
	w.mu.Unlock()
	if changed && w.configured == PlayAuto {
		w.log.Info().Str("way", string(way)).Str("reason", reason).Msg("way of playing decided")
	}
}

// checkVersion returns an error for a LiveKit that is too old for signalling, and decides for WHIP then.
func (w *playWays) checkVersion(version string) error {
	if w.configured == PlaySignal || semver.Compare("v"+version, "v"+MinSignalling) >= 0 {
		w.decide(PlaySignal, "LiveKit "+version)
		return nil
	}
	w.decide(PlayWHIP, "LiveKit "+version+" is older than "+MinSignalling)
	return fmt.Errorf("%w: version %q", errNoSignalling, version)
}

// Play sends a player's offer and returns LiveKit's answer. An error that wraps translate.ErrPlayAgain means
// that another attempt, under another identity, can succeed. After an error the participant can exist
// nevertheless: Remove it. The caller calls PlayerUp when LiveKit has reported that the player is up.
//
// While too many players are starting by signalling, the others are started by WHIP.
func (s *SFU) Play(ctx context.Context, o translate.PlayOffer) (translate.Answer, error) {
	start := time.Now()
	release, err := s.playing.acquire(ctx, playedPublisher{o.Room, o.Publisher})
	if err != nil {
		err = failed(ctx, opPlay, fmt.Errorf("%w: %w", translate.ErrNotSent, err))
		s.done(opPlay, start, o.Room, o.Identity, &err)
		return translate.Answer{}, err
	}
	defer release()
	if !s.ways.signal(o.Attempt) {
		return s.playWHIP(ctx, o)
	}
	place := s.held.reserve()
	if place == nil {
		return s.playWHIP(ctx, o)
	}
	answer, err := s.playSignal(ctx, o, place)
	if s.ways.configured != PlayAuto || !errors.Is(err, errUpgradeRefused) {
		return answer, err
	}
	refusal := err
	if answer, err = s.playWHIP(ctx, o); err == nil {
		s.ways.decide(PlayWHIP, refusal.Error())
	}
	return answer, err
}

// playWHIP plays by WHIP. LiveKit answers when tracks of the given names are bound to the offer's m-lines;
// for a missing track the call runs into its deadline (ErrKindUnavailable). In a room with several
// publishers, the tracks can be those of another one.
func (s *SFU) playWHIP(ctx context.Context, o translate.PlayOffer) (a translate.Answer, err error) {
	publisher, err := s.Participant(ctx, o.Room, o.Publisher)
	if translate.KindOf(err) == translate.ErrKindNotFound {
		err = &translate.Error{Kind: translate.ErrKindNotFound, Op: opPlay, Err: fmt.Errorf("%w: %w", translate.ErrPublisherGone, err)}
	}
	if err != nil {
		return a, fmt.Errorf("%w: %w", translate.ErrNotSent, err)
	}
	offer, tracks, err := o.Offer(publisher)
	if err != nil {
		return a, fmt.Errorf("%w: %w", translate.ErrNotSent, err)
	}
	defer s.done(opPlay, time.Now(), o.Room, o.Identity, &err)
	token, err := s.signer.player(o)
	if err != nil {
		return a, &translate.Error{Kind: translate.ErrKindRefused, Op: opPlay, Err: err}
	}
	names := make([]string, 0, len(tracks))
	for _, t := range tracks {
		names = append(names, t.Name)
	}
	info, err := clientInfo(o.Publisher, names)
	if err != nil {
		return a, &translate.Error{Kind: translate.ErrKindRefused, Op: opPlay, Err: err}
	}
	return s.offer(ctx, s.plays, o.Room, o.Identity, whipRequest{op: opPlay, token: token, sdp: offer, clientInfo: info})
}

// playAgain is the error of an attempt that can succeed under another identity.
func playAgain(op string, err error) error {
	return &translate.Error{Kind: translate.ErrKindUnavailable, Op: op, Err: fmt.Errorf("%w: %w", translate.ErrPlayAgain, err)}
}
