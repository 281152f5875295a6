package livekit

import (
	"context"
	"time"

	"wcsgateway/translate"
)

// OpProbe is a probe's joining of the room until its media connection is up, however often that takes place.
const OpProbe = "join probe"

const (
	joinTimeout  = 10 * time.Second
	rejoinFirst  = 500 * time.Millisecond // doubled with each attempt that fails
	rejoinLast   = 8 * time.Second
	keyFrameWait = time.Second // for a key frame, before one is asked for
)

// Probe joins the target's room as a hidden participant, subscribes to the publisher's audio and video (one track of each; the
// first counts, as for players) and reports once a second what came in that second; report must not block. It counts what
// LiveKit sends to every player of the stream; NACK and PLI stay 0, for it asks for nothing to be sent again and hears
// nobody else's requests. Lost is what LiveKit had not got from the publisher, or what was lost between LiveKit and here.
//
// A second is reported only if it was measured from end to end. So there are no reports until the first packets have come,
// or the publisher has turned out to be silent, nor while the connection to LiveKit is lost, nor of seconds in which this
// process stood still; the figures that add up go on afterwards. A publisher that sends nothing is reported, with a rate of 0. A connection that is lost (signalling at
// once, media after 5 to 10 s) is never resumed but made anew, with pauses of up to 8 s if LiveKit is away: then, as after a
// failure to connect in the first place, the attempts end only with ctx.
//
// Probe returns nil when ctx is done, and otherwise a *translate.Error: ErrKindNotFound when the publisher is not in the
// room, has left, or the probe itself was removed, replaced, or lost its room; ErrKindDenied when LiveKit refuses our API
// key. When it has returned it has left the room, its goroutines and sockets are gone, and report is not called any more.
//
// With OnData it also takes data messages, from when it has joined until it leaves; what is sent while the connection is lost is
// missed. With Idle true it receives no media, and reports nothing.
//
// Media comes directly over UDP: a probe uses neither TCP nor STUN nor TURN.
func (s *SFU) Probe(ctx context.Context, t translate.ProbeTarget, report func(translate.VideoFigures)) error {
	p := &probe{target: t, meter: newMeter(time.Now()), report: report}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for wait := rejoinFirst; ; wait = min(2*wait, rejoinLast) {
		joined, err := p.measure(ctx, s, tick.C)
		switch {
		case ctx.Err() != nil:
			return nil
		case !isKind(err, translate.ErrKindUnavailable):
			return err
		case joined:
			wait = rejoinFirst
		}
		s.log.Debug().Str("room", string(t.Room)).Str("identity", string(t.Identity)).Err(err).Dur("wait_ms", wait).
			Msg("probe joins anew")
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

// measure joins, and reports until the connection or its purpose is lost. joined tells whether it came so far.
func (p *probe) measure(ctx context.Context, s *SFU, tick <-chan time.Time) (joined bool, err error) {
	measuring := p.measuring()
	g, err := p.join(ctx, s, kindsOf(measuring))
	if err != nil {
		return false, err
	}
	defer g.leave()
	p.meter.begin(time.Now())
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-g.over:
			return true, g.reason()
		case <-tick:
		}
		if now := p.measuring(); now != measuring {
			measuring = now
			g.take(kindsOf(measuring))
		}
		now := time.Now()
		if v, ok := p.meter.second(now, g.settled(now)); ok && measuring {
			p.report(v)
		}
		for _, ssrc := range p.meter.unsized(now) {
			g.askKeyFrame(ssrc)
		}
	}
}

// join asks for the publisher first: joining a room that does not exist makes one, and the answer tells what is the
// matter if something is.
func (p *probe) join(ctx context.Context, s *SFU, kinds translate.MediaKinds) (*guest, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if _, err := s.Participant(ctx, p.target.Room, p.target.Publisher); err != nil {
		return nil, err
	}
	return s.join(ctx, p.target, kinds, p.meter.read)
}

func (p *probe) measuring() bool { return p.target.Idle == nil || !p.target.Idle() }

// kindsOf is what a probe takes.
func kindsOf(measuring bool) translate.MediaKinds {
	return translate.MediaKinds{Audio: measuring, Video: measuring}
}
