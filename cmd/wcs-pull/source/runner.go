// Package source reads the source of one pull and publishes it: cameras over RTSP in this process, everything
// else with ffmpeg, which also transcodes. It classifies faults, opens a lost source again while its tracks
// stay published, and bounds what a source costs. cmd/wcs-pull/worker runs one Runner for all pulls.
package source

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"os/exec"
	"sync"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
	"wcsgateway/translate/pull"
)

const (
	openTimeout    = 15 * time.Second
	publishTimeout = 10 * time.Second
	removeTimeout  = 5 * time.Second
	// trackPatience is how long every announced track is waited for, before those count that sent something.
	trackPatience = 3 * time.Second
	firstRetry    = 500 * time.Millisecond
	maxRetry      = 10 * time.Second
	// rtspStall is how long a camera may send no frame before it counts as lost.
	rtspStall = 5 * time.Second
	// fileStall is how long ffmpeg may write nothing: segments of HLS come every 2 to 10 s.
	fileStall = 20 * time.Second
	// startLimit is the time from the opening of a source until LiveKit has a track of it.
	startLimit = 25 * time.Second
)

// Config configures a Runner.
type Config struct {
	LiveKit *livekit.SFU
	// Private are the networks that sources may be in although they are not public.
	Private []netip.Prefix
	// RootCAs verify servers of sources; nil are the system's.
	RootCAs *x509.CertPool
	// Folder has the files of vod://; none without.
	Folder string
	// FFmpeg and FFprobe are the programs, by default those in PATH.
	FFmpeg, FFprobe string
	// Sandbox lets them reach this process alone. The kernel must allow it: sandbox.Available.
	Sandbox bool
	Log     zerolog.Logger
}

// Job is one pull.
type Job struct {
	Source         pull.Source
	Room, Identity string
	// Retry is how long a source that was lost is opened again, before the pull fails.
	Retry time.Duration
	// Transcode allows to encode the video of a camera that cannot pass: H265, or H264 with B-frames.
	Transcode bool
	// UDP: a camera is asked for UDP. It is read over TCP if none arrives.
	UDP bool
}

// Publisher publishes the frames of one pull; *livekit.PullPublisher implements it.
type Publisher interface {
	sink
	// Published waits until the tracks can be played.
	Published(ctx context.Context, patience time.Duration) error
	// Restart says that the source was opened again.
	Restart()
	// Done is closed when the connection was lost.
	Done() <-chan struct{}
	Close()
}

// Runner runs pulls. It is safe for concurrent use.
type Runner struct {
	config  Config
	guard   *guard.Guard
	stall   struct{ rtsp, other time.Duration } // until a silent source counts as lost
	publish func(ctx context.Context, t translate.PullTarget) (Publisher, error)
	remove  func(ctx context.Context, t translate.PullTarget)
}

// New returns a Runner.
func New(c Config) (*Runner, error) {
	for program, name := range map[*string]string{&c.FFmpeg: "ffmpeg", &c.FFprobe: "ffprobe"} {
		if *program == "" {
			*program = name
		}
		path, err := exec.LookPath(*program)
		if err != nil {
			return nil, err
		}
		*program = path
	}
	r := &Runner{
		config: c, guard: guard.New(c.Private),
		publish: func(ctx context.Context, t translate.PullTarget) (Publisher, error) {
			return c.LiveKit.PublishPull(ctx, t)
		},
		remove: func(ctx context.Context, t translate.PullTarget) {
			_ = c.LiveKit.Remove(ctx, t.Room, t.Identity) // otherwise LiveKit removes it within 15 s
		},
	}
	r.stall.rtsp, r.stall.other = rtspStall, fileStall
	return r, nil
}

// Run reads the source and publishes it until ctx ends, which returns nil, or until the source ended or
// failed for good, which returns a *pull.Error. report is called with each change of state, one call after
// the other: Connecting, Running when all tracks can be played, Interrupted with the error of a loss, and
// Failed with the error of the end, before the publisher leaves the room.
func (r *Runner) Run(ctx context.Context, j Job, report func(pull.State, error)) error {
	p := &running{runner: r, job: j, report: report, target: translate.PullTarget{
		Room: translate.RoomName(j.Room), Identity: translate.Identity(j.Identity),
	}}
	defer p.leave()
	report(pull.Connecting, nil)
	err := p.retry(ctx)
	if ctx.Err() != nil {
		return nil
	}
	report(pull.Failed, err)
	return err
}

// running is one pull that runs.
type running struct {
	runner *Runner
	job    Job
	report func(pull.State, error)
	target translate.PullTarget
	pub    Publisher // nil before the first frames were published
	door   door
	has    format // of the publication
	encode bool   // the video is H264 with B-frames, and is encoded
	ran    bool   // its tracks could be played
}

// leave ends the publication.
func (p *running) leave() {
	if p.pub == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	p.runner.remove(ctx, p.target)
	p.pub.Close()
}

// retry opens the source again after a loss. The error of a source that was never played is final.
func (p *running) retry(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstRetry, maxRetry
	var lostAt time.Time
	for {
		before, _ := p.door.count()
		begun := time.Now()
		err := p.attempt(ctx)
		after, last := p.door.count()
		ran := after > before
		if ctx.Err() != nil {
			return err
		}
		if p.otherwise(err) {
			continue
		}
		if p.final(err) {
			return err
		}
		if ran || lostAt.IsZero() {
			p.report(pull.Interrupted, err)
		}
		if lostAt.IsZero() || ran && last.Sub(begun) > p.steady() {
			lostAt = time.Now()
			pause.Reset()
		}
		wait := pause.NextBackOff()
		if left := p.job.Retry - time.Since(lostAt); left <= wait {
			return &pull.Error{Fault: pull.Lost, Detail: detailOf(err)}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// steady is how long a source must send frames to count as returned. One that sends a frame now and then is
// lost, too, as is a playlist that does not grow: each time its last segments are read again.
func (p *running) steady() time.Duration {
	if p.isCamera() {
		return 2 * p.runner.stall.rtsp
	}
	return 3 * p.runner.stall.other
}

func (p *running) isCamera() bool {
	return p.job.Source.Scheme() == pull.RTSP || p.job.Source.Scheme() == pull.RTSPS
}

var errOtherCodecs = &pull.Error{Fault: pull.NoMedia, Detail: "the source came back with other codecs"}

// otherwise reports whether the source is read in another way after an error.
func (p *running) otherwise(err error) bool {
	fault, _ := pull.FaultOf(err)
	switch {
	case errors.Is(err, errNoUDP) && p.job.UDP:
		p.job.UDP = false
		p.runner.config.Log.Info().Stringer("source", p.job.Source).Msg("no media over UDP: reading over TCP")
	case fault == pull.NeedsTranscoding && p.job.Transcode && !p.encode:
		p.encode = true
	default:
		return false
	}
	return true
}

// final reports whether the source is not opened again after an error. One that sends nothing at the moment
// can return.
func (p *running) final(err error) bool {
	fault, _ := pull.FaultOf(err)
	switch {
	case !p.ran, p.job.Source.IsFile():
		return true
	case fault == pull.Ended, fault == pull.Internal, fault == pull.NeedsTranscoding, fault == pull.Forbidden, errors.Is(err, errOtherCodecs):
		return true
	}
	return false
}

// attempt opens the source and publishes it until it ends. It always returns an error.
func (p *running) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rd, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer rd.close()
	to, stop, err := p.transcoded(ctx, rd)
	if err != nil {
		return err
	}
	defer stop()
	var starting sync.WaitGroup
	defer starting.Wait()
	defer cancel(nil)
	if p.pub != nil {
		if p.has != rd.format().published() {
			return errOtherCodecs
		}
		p.pub.Restart()
	}
	if p.ran {
		arrived := make(chan struct{})
		p.door.reopen(func() { close(arrived) })
		starting.Go(func() {
			select {
			case <-arrived:
				p.report(pull.Running, nil)
			case <-ctx.Done():
			}
		})
		starting.Go(func() { watchPublisher(ctx, p.pub, cancel) })
	} else {
		p.has = rd.format().published()
		p.target.Video, p.target.Audio = p.has.video != "", p.has.audio.mime()
		starting.Go(func() {
			if err := p.begin(ctx); err != nil {
				cancel(err)
				return
			}
			watchPublisher(ctx, p.pub, cancel)
		})
	}
	err = rd.run(ctx, to)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// watchPublisher ends an attempt when LiveKit was lost.
func watchPublisher(ctx context.Context, pub Publisher, cancel context.CancelCauseFunc) {
	select {
	case <-pub.Done():
		cancel(&pull.Error{Fault: pull.Internal, Detail: "LiveKit ended the publisher, or was lost"})
	case <-ctx.Done():
	}
}

func (p *running) open(ctx context.Context) (reader, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if p.isCamera() {
		return p.runner.openRTSP(ctx, p.job.Source, p.job.UDP)
	}
	switch p.job.Source.Scheme() {
	case pull.HTTP, pull.HTTPS, pull.VOD, pull.VODLive:
		return p.runner.openFFmpeg(ctx, p.job)
	}
	return p.runner.openRelayed(ctx, p.job.Source)
}

// passing is a reader whose frames pass unchanged unless they are transcoded behind it.
type passing interface {
	reader
	aac() *mpeg4audio.Config // of a format with AAC
	allowReorder()           // B-frames are encoded; called before run
}

// transcoded returns the sink for a reader's frames. Only those of cameras are transcoded behind the reader.
func (p *running) transcoded(ctx context.Context, rd reader) (to sink, stop func(), err error) {
	camera, ok := rd.(passing)
	if !ok {
		return &p.door, func() {}, nil
	}
	has := rd.format()
	var of format
	var aac *mpeg4audio.Config
	if has.video == codecH265 {
		if !p.job.Transcode {
			return nil, nil, &pull.Error{Fault: pull.NeedsTranscoding, Detail: "video of H265"}
		}
		of.video = codecH265
	}
	if p.encode {
		of.video = has.video
		camera.allowReorder()
	}
	if has.audio == codecAAC {
		of.audio, aac = codecAAC, camera.aac()
	}
	if of == (format{}) {
		return &p.door, func() {}, nil
	}
	t, stop, err := p.runner.transcode(ctx, of, aac, &p.door)
	return t, stop, err
}

// begin publishes the tracks, and reports when they can be played. It is called again if the source is read
// in another way before that.
func (p *running) begin(ctx context.Context) error {
	if p.pub == nil {
		if err := p.enter(ctx); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := p.pub.Published(limited, trackPatience); err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil:
			return &pull.Error{Fault: pull.NoMedia, Detail: "no picture and no sound that can be played"}
		}
		return &pull.Error{Fault: pull.Internal, Detail: "LiveKit does not have the tracks"}
	}
	p.ran = true
	p.report(pull.Running, nil)
	return nil
}

// enter publishes what the source has read.
func (p *running) enter(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	pub, err := p.runner.publish(call, p.target)
	if err != nil {
		p.runner.config.Log.Warn().Err(err).Msg("pull not published")
		return &pull.Error{Fault: pull.Internal, Detail: "LiveKit does not accept the publisher"}
	}
	p.pub = pub
	if err := p.door.open(pub); err != nil {
		return &pull.Error{Fault: pull.Internal, Detail: "frames cannot be sent to LiveKit"}
	}
	return nil
}
