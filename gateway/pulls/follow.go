package pulls

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"wcsgateway/translate"
)

// followFor is how long a player waits for another worker after the publisher of its source has left.
const followFor = 15 * time.Second

var (
	errStays      = errors.New("player cannot follow its source")
	errOtherMedia = errors.New("source returned with other media")
)

// Played records what the player receives, so that it can follow its source to another worker.
func (p *Pull) Played(f translate.Following) {
	if p != nil {
		p.played = f
	}
}

// Follow has a player whose publisher left go on with that of another worker, and returns the publisher with
// the tracks that the player now receives. The error is a *Failure if the source has ended.
func (s *Service) Follow(ctx context.Context, p *Pull, left translate.Identity) (translate.Participant, error) {
	next, to := translate.Participant{}, p.played
	if to.SDP == "" {
		if f := s.Why(ctx, p); f != nil {
			return next, f
		}
		return next, errStays
	}
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	next, err := s.next(ctx, p, left)
	if err != nil {
		return next, err
	}
	to.Publisher = next.Identity
	if to.Tracks, err = alike(next.Tracks, to.Tracks); err != nil {
		return next, err
	}
	if err := s.deps.SFU.Follow(ctx, to); err != nil {
		return next, err
	}
	p.played, next.Tracks = to, to.Tracks
	return next, nil
}

// next waits for another publisher of a player's source.
func (s *Service) next(ctx context.Context, p *Pull, left translate.Identity) (translate.Participant, error) {
	h := s.follow(p, left)
	if h == nil {
		return translate.Participant{}, errEnded
	}
	defer s.stopWaiting(h)
	for {
		last, changed := s.look(h)
		switch {
		case last.over:
			return translate.Participant{}, last.err
		case last.found() && last.publisher.Identity != left:
			return last.publisher, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return translate.Participant{}, ctx.Err()
		}
	}
}

// follow counts a player that waits for another publisher. It returns nil for a player that has left.
func (s *Service) follow(p *Pull, left translate.Identity) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := p.holds
	if h == nil {
		return nil
	}
	h.waiting++
	if h.left != left {
		h.left, h.eager = left, time.Now()
	}
	h.kick()
	return h
}

// alike returns those of the tracks that can be sent in place of the others: of their kinds and codecs.
func alike(tracks, others []translate.Track) (found []translate.Track, err error) {
	for _, o := range others {
		i := slices.IndexFunc(tracks, func(t translate.Track) bool { return t.Kind == o.Kind })
		switch {
		case i < 0:
		case !strings.EqualFold(tracks[i].Mime, o.Mime):
			return nil, errOtherMedia
		default:
			found = append(found, tracks[i])
		}
	}
	if len(found) == 0 {
		return nil, errOtherMedia
	}
	return found, nil
}
