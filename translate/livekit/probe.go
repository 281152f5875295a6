package livekit

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"wcsgateway/translate"
)

// opProbe is a probe's joining of the room until its media connection is up, for each attempt.
const opProbe = "join probe"

const (
	joinTimeout  = 10 * time.Second
	rejoinFirst  = 500 * time.Millisecond // doubled with each failed attempt
	rejoinLast   = 8 * time.Second
	keyFrameWait = time.Second // the wait for a key frame before one is requested
)

// Probe joins the target's room as a hidden participant, subscribes to the publisher's audio and video (the
// first track of each, as for players) and reports the figures of each second. report must not block. The
// figures count what LiveKit sends to every player of the stream. NACK and PLI stay 0: the probe requests no
// retransmission and does not see other participants' requests. Lost counts packets that LiveKit did not
// receive from the publisher or that were lost between LiveKit and the probe.
//
// Only whole seconds are reported. So there are no reports before the first packets arrive or the publisher
// is found silent, while the connection to LiveKit is lost, or for seconds in which this process stood still;
// totals continue afterwards. A publisher that sends nothing is reported with a rate of 0. A lost connection
// (signalling is detected at once, media after 5 to 10 s) is not resumed but replaced, with pauses of up to 8
// s while LiveKit is unreachable. These attempts, and those of the first connection, end only with ctx.
//
// Probe returns nil when ctx is done, and otherwise a *translate.Error: ErrKindNotFound when the publisher is
// not in the room or left it, or when the probe itself was removed, replaced, or lost its room; ErrKindDenied
// when LiveKit rejects the gateway's API key. When Probe returns, it has left the room, its goroutines and
// sockets are closed, and report is not called any more.
//
// With OnData it also receives data messages from joining to leaving; messages sent while the connection is
// lost are missed. While Idle returns true it receives no media and reports nothing.
//
// Media comes directly over UDP: a probe uses neither TCP nor STUN nor TURN.
func (s *SFU) Probe(ctx context.Context, t translate.ProbeTarget, report func(translate.VideoFigures)) error {
	p := &probe{target: t, meter: newMeter(time.Now()), report: report}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	pause := &backoff.ExponentialBackOff{InitialInterval: rejoinFirst, Multiplier: 2, MaxInterval: rejoinLast}
	for {
		joined, err := p.measure(ctx, s, tick.C)
		switch {
		case ctx.Err() != nil:
			return nil
		case translate.KindOf(err) != translate.ErrKindUnavailable:
			return err
		case joined:
			pause.Reset()
		}
		wait := pause.NextBackOff()
		s.log.Debug().Str("room", string(t.Room)).Str("identity", string(t.Identity)).Err(err).Dur("wait_ms", wait).
			Msg("probe rejoins")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// probe is one call of Probe.
type probe struct {
	target translate.ProbeTarget
	meter  *meter
	report func(translate.VideoFigures)
}

// measure joins and reports until the connection or its purpose is lost. joined reports whether joining
// succeeded.
func (p *probe) measure(ctx context.Context, s *SFU, tick <-chan time.Time) (joined bool, err error) {
	measuring := p.measuring()
	sub, err := p.join(ctx, s, kindsOf(measuring))
	if err != nil {
		return false, err
	}
	defer sub.leave()
	p.meter.begin(time.Now())
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-sub.over:
			return true, sub.reason()
		case <-tick:
		}
		if now := p.measuring(); now != measuring {
			measuring = now
			sub.take(kindsOf(measuring))
		}
		now := time.Now()
		if v, ok := p.meter.second(now, sub.measurableSince(now)); ok && measuring {
			p.report(v)
		}
		for _, ssrc := range p.meter.unsized(now) {
			sub.askKeyFrame(ssrc)
		}
	}
}

// join looks up the publisher first: joining creates a room that does not exist, and the look-up's error
// names the fault.
func (p *probe) join(ctx context.Context, s *SFU, kinds translate.MediaKinds) (*subscriber, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if _, err := s.Participant(ctx, p.target.Room, p.target.Publisher); err != nil {
		return nil, err
	}
	return s.join(ctx, p.target, kinds, p.meter.read)
}

func (p *probe) measuring() bool { return p.target.Idle == nil || !p.target.Idle() }

// kindsOf returns the kinds of media that a probe subscribes to.
func kindsOf(measuring bool) translate.MediaKinds {
	return translate.MediaKinds{Audio: measuring, Video: measuring}
}
