package livekit

import (
	"context"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
	"wcsgateway/translate/media"
)

// OpKeyFrame is the taking of a key frame, from the question who is there to the frame.
const OpKeyFrame = "take key frame"

// keyFrameRetry is how long a key frame that was asked for may take to come, before another is asked for.
const keyFrameRetry = 700 * time.Millisecond

// KeyFrame joins the target's room as a hidden participant (RoleSnapshot), subscribes to the publisher's video (the first
// track counts, as for players), asks for a key frame, and gives the first that is complete. Of a publisher that sends several
// sizes it may be one of the smaller ones. When KeyFrame has returned it has left the room.
//
// It needs a context with a deadline: a publisher that sends nothing is waited for until then (ErrKindUnavailable). A
// publisher that is not there is ErrKindNotFound; one without video is ErrNoVideo, at once; a codec that cannot be put
// together is ErrKindRefused.
func (s *SFU) KeyFrame(ctx context.Context, t translate.ProbeTarget) (k translate.KeyFrame, err error) {
	defer s.done(OpKeyFrame, time.Now(), t.Room, t.Identity, &err)
	p, err := s.Participant(ctx, t.Room, t.Publisher)
	if err != nil {
		return k, err
	}
	if err := seesVideo(p); err != nil {
		return k, &translate.Error{Kind: translate.ErrKindRefused, Op: OpKeyFrame, Err: err}
	}
	frames := make(chan translate.KeyFrame, 1)
	tracks := make(chan webrtc.SSRC, 1)
	g, err := s.join(ctx, t, translate.MediaKinds{Video: true}, func(track *webrtc.TrackRemote) {
		select {
		case tracks <- track.SSRC():
		default:
		}
		watch(track, frames)
	})
	if err != nil {
		return k, err
	}
	defer g.leave()
	return g.awaitKeyFrame(ctx, tracks, frames)
}

// seesVideo tells what is the matter with a publisher's video.
func seesVideo(p translate.Participant) error {
	for _, t := range p.Tracks {
		switch {
		case t.Kind != translate.Video:
		case t.Mime != "" && !media.HasPictures(t.Mime):
			return fmt.Errorf("%w: %s", translate.ErrPictureCodec, t.Mime)
		default:
			return nil
		}
	}
	return translate.ErrNoVideo
}

// awaitKeyFrame asks for a key frame as soon as there is a track, and again until one is complete.
func (g *guest) awaitKeyFrame(ctx context.Context, tracks <-chan webrtc.SSRC, frames <-chan translate.KeyFrame) (translate.KeyFrame, error) {
	var ssrc webrtc.SSRC
	again := time.NewTicker(keyFrameRetry)
	defer again.Stop()
	for {
		select {
		case k := <-frames:
			return k, nil
		case ssrc = <-tracks:
			g.askKeyFrame(ssrc)
		case <-again.C:
			if ssrc != 0 {
				g.askKeyFrame(ssrc)
			}
		case <-g.over:
			return translate.KeyFrame{}, g.reason()
		case <-ctx.Done():
			return translate.KeyFrame{}, failed(ctx, OpKeyFrame, fmt.Errorf("no key frame: %w", ctx.Err()))
		}
	}
}

// watch gives the first key frame of a track, and reads on until the track ends.
func watch(track *webrtc.TrackRemote, frames chan<- translate.KeyFrame) {
	var pictures media.Pictures
	packet := make([]byte, packetSize)
	for taken := false; ; {
		n, _, err := track.Read(packet)
		if err != nil {
			return
		}
		if taken {
			continue
		}
		mime := track.Codec().MimeType
		frame := pictures.Arrive(mime, packet[:n])
		if frame == nil {
			continue
		}
		taken = true
		select {
		case frames <- translate.KeyFrame{Mime: mime, Data: frame}:
		default: // another track was faster
		}
	}
}
