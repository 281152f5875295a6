package livekit

import (
	"context"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
	"wcsgateway/translate/media"
)

// opKeyFrame is the whole operation of KeyFrame.
const opKeyFrame = "take key frame"

// keyFrameRetry is the time to wait for a requested key frame before it is requested again.
const keyFrameRetry = 700 * time.Millisecond

// KeyFrame joins the target's room as a hidden participant (RoleSnapshot), subscribes to the publisher's
// video (the first track, as for players), requests a key frame, and returns the first complete one. If the
// publisher sends several sizes, it can be one of the smaller ones. KeyFrame leaves the room before it
// returns.
//
// ctx needs a deadline: KeyFrame waits for a publisher that sends nothing until then (ErrKindUnavailable). A
// missing publisher is ErrKindNotFound. A publisher without video is ErrNoVideo, immediately. A codec that
// cannot be assembled is ErrKindRefused.
func (s *SFU) KeyFrame(ctx context.Context, t translate.ProbeTarget) (k translate.KeyFrame, err error) {
	defer s.done(opKeyFrame, time.Now(), t.Room, t.Identity, &err)
	p, err := s.Participant(ctx, t.Room, t.Publisher)
	if err != nil {
		return k, err
	}
	if err := seesVideo(p); err != nil {
		return k, &translate.Error{Kind: translate.ErrKindRefused, Op: opKeyFrame, Err: err}
	}
	frames := make(chan translate.KeyFrame, 1)
	tracks := make(chan webrtc.SSRC, 1)
	sub, err := s.join(ctx, t, translate.MediaKinds{Video: true}, func(track *webrtc.TrackRemote) {
		select {
		case tracks <- track.SSRC():
		default:
		}
		watch(track, frames)
	})
	if err != nil {
		return k, err
	}
	defer sub.leave()
	return sub.awaitKeyFrame(ctx, tracks, frames)
}

// seesVideo returns an error if the publisher has no usable video.
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

// awaitKeyFrame requests a key frame as soon as there is a track, and again until one is complete.
func (sub *subscriber) awaitKeyFrame(ctx context.Context, tracks <-chan webrtc.SSRC, frames <-chan translate.KeyFrame) (translate.KeyFrame, error) {
	var ssrc webrtc.SSRC
	again := time.NewTicker(keyFrameRetry)
	defer again.Stop()
	for {
		select {
		case k := <-frames:
			return k, nil
		case ssrc = <-tracks:
			sub.askKeyFrame(ssrc)
		case <-again.C:
			if ssrc != 0 {
				sub.askKeyFrame(ssrc)
			}
		case <-sub.over:
			return translate.KeyFrame{}, sub.reason()
		case <-ctx.Done():
			return translate.KeyFrame{}, failed(ctx, opKeyFrame, fmt.Errorf("no key frame: %w", ctx.Err()))
		}
	}
}

// watch delivers the first key frame of a track, and reads on until the track ends.
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
