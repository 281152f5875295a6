package source

import (
	"context"
	"crypto/tls"
	"errors"
	"math/bits"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	rtpformat "github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/translate/pull"
)

const (
	rtspTimeout = 5 * time.Second // of one request, and of a write
	rtspDials   = 4               // connections of one attempt: the first and those of redirects
	// syncEvery is how often the sender reports of the source are looked at, syncSlack what they may differ.
	syncEvery = 5 * time.Second
	syncSlack = 5 * time.Millisecond
	syncMax   = 5 * time.Second
	syncStep  = 4 * time.Millisecond // by which the clock of video is moved with each frame
)

// rtspReader reads a source over RTSP, interleaved in its TCP connection or over UDP.
type rtspReader struct {
	client *gortsplib.Client
	udp    *datagrams // nil: over TCP
	url    *base.URL
	video  *rtspTrack // nil without
	audio  *rtspTrack
	heard  atomic.Int64 // Unix nanoseconds of the last frame
	stall  time.Duration
	// anyOrder allows B-frames. Set before run.
	anyOrder bool

	// owned by the library's reader goroutine
	begun  time.Time
	recent uint32 // a bit for each of the last frames, set if its time went back
	synced time.Time
	behind time.Duration // what the clock of video is still to be moved
	sets   [][]byte      // parameter sets of the description, while the frames have none
}

// rtspTrack is a track that is read, and its clock.
type rtspTrack struct {
	codec  codec
	media  *description.Media
	format rtpformat.Format
	decode func(*rtp.Packet) ([][]byte, error) // frames of audio, or NAL units
	step   time.Duration                       // of frames in one packet

	report  *rtcp.SenderReport // the last one of the source; nil before
	started bool
	stamp   uint32
	ticks   int64
	offset  time.Duration

	// of the last packet
	counted bool
	number  uint16
	sent    uint32 // its timestamp
	marked  bool
	// damaged: packets of the frame with the timestamp sent are missing.
	damaged bool
}

// duration returns that of the frames of one packet of audio, which is sent when it is full.
func (t *rtspTrack) duration(frames [][]byte) time.Duration {
	switch {
	case len(frames) == 0:
		return 0
	case t.codec == codecOpus:
		return opusDuration(frames[0])
	case t.step > 0:
		return time.Duration(len(frames)) * t.step
	}
	return time.Duration(len(frames[0])) * time.Second / time.Duration(t.format.ClockRate())
}

// at returns the time of a packet on the source's clock, on which a track begins at since.
func (t *rtspTrack) at(stamp uint32, since time.Duration) time.Duration {
	if !t.started {
		t.started, t.stamp, t.offset = true, stamp, since
	}
	t.ticks += int64(int32(stamp - t.stamp))
	t.stamp = stamp
	return t.atOf(stamp)
}

// atOf returns the time of a timestamp near that of the last packet.
func (t *rtspTrack) atOf(stamp uint32) time.Duration {
	ticks, rate := t.ticks+int64(int32(stamp-t.stamp)), int64(t.format.ClockRate())
	return t.offset + time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate)*time.Second/time.Duration(rate)
}

// whole reports whether a packet is of a frame that can be complete. After a gap the decoder forgets what it
// has, which would become a frame together with the next one.
func (t *rtspTrack) whole(p *rtp.Packet) bool {
	missing := p.SequenceNumber - t.number - 1
	switch same := p.Timestamp == t.sent; {
	case !t.counted || missing == 0:
		t.damaged = t.damaged && same
	default:
		t.decode = newRTSPTrack(t.format).decode
		t.damaged = same || missing > 1 || t.marked // otherwise only the end of the frame before is missing
	}
	t.counted, t.number, t.sent, t.marked = true, p.SequenceNumber, p.Timestamp, p.Marker
	return !t.damaged
}

// openRTSP describes and sets up a source. Its errors are *pull.Error; errNoUDP says that TCP is left.
func (r *Runner) openRTSP(ctx context.Context, s pull.Source, udp bool) (reader, error) {
	u, err := base.ParseURL(s.Reveal())
	if err != nil {
		return nil, &pull.Error{Fault: pull.BadURL, Detail: "not an RTSP URL"}
	}
	tcp := gortsplib.TransportTCP
	rd := &rtspReader{url: u, stall: r.stall.rtsp, client: &gortsplib.Client{
		ReadTimeout: rtspTimeout, WriteTimeout: rtspTimeout, Transport: &tcp, UserAgent: userAgent,
		TLSConfig:         &tls.Config{RootCAs: r.config.RootCAs, MinVersion: tls.VersionTLS12},
		DialContext:       limitedDial(r.network(s), u.User != nil),
		OnTransportSwitch: func(error) {}, OnPacketLost: func(error) {}, OnDecodeError: func(error) {},
		OnResponse: withoutNames,
	}}
	if udp && s.Scheme() == pull.RTSP { // rtsps encrypts what is in the connection
		rd.overUDP()
	}
	if err := rd.client.Start(u.Scheme, u.Host); err != nil {
		return nil, rtspFault(err)
	}
	stop := context.AfterFunc(ctx, rd.client.Close)
	defer stop()
	if err := rd.setup(); err != nil {
		rd.client.Close()
		return nil, rtspFault(err)
	}
	return rd, nil
}

// overUDP makes the client ask for UDP. Called before its start.
func (rd *rtspReader) overUDP() {
	d := &datagrams{}
	rd.udp, rd.client.DialContext, rd.client.OnRequest = d, d.dial(rd.client.DialContext), d.request
	rd.client.OnResponse = func(r *base.Response) {
		d.response(r)
		withoutNames(r)
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// limitedDial bounds redirects. One to another address is refused for a source with credentials, which the
// library would send there.
func limitedDial(n *guard.Network, credentials bool) dialFunc {
	first, dials := "", 0
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials > rtspDials {
			return nil, guard.ErrTooMany
		}
		if first == "" {
			first = address
		}
		if credentials && address != first {
			return nil, &pull.Error{Fault: pull.Forbidden, Detail: "a redirect to another host would get the credentials"}
		}
		return n.DialContext(ctx, network, address)
	}
}

func (rd *rtspReader) setup() error {
	session, _, err := rd.client.Describe(rd.url)
	if err != nil {
		return err
	}
	rd.choose(session.Medias)
	if rd.video == nil && rd.audio == nil {
		return &pull.Error{Fault: pull.NoMedia, Detail: "no H264, H265, Opus, PCMU, PCMA or AAC"}
	}
	for _, track := range []*rtspTrack{rd.video, rd.audio} {
		if track == nil {
			continue
		}
		if err := rd.setupTrack(session.BaseURL, track); err != nil {
			return err
		}
	}
	return nil
}

// setupTrack sets up a track. Servers refuse UDP with various statuses.
func (rd *rtspReader) setupTrack(base *base.URL, track *rtspTrack) error {
	if rd.udp == nil {
		_, err := rd.client.Setup(base, track.media, 0, 0)
		return err
	}
	rd.udp.clock = uint32(track.format.ClockRate())
	_, err := rd.client.Setup(base, track.media, 0, 0)
	if _, status := rtspStatus(err); status || rd.udp.refused {
		return errNoUDP
	}
	return err
}

// choose takes the first track of each kind that can be used; H264 before H265.
func (rd *rtspReader) choose(medias []*description.Media) {
	for _, media := range medias {
		if media.IsBackChannel {
			continue
		}
		for _, f := range media.Formats {
			track := newRTSPTrack(f)
			if track == nil {
				continue
			}
			m := *media
			m.Formats = []rtpformat.Format{f} // the library handles the others too, and ends the program at some
			track.media = &m
			switch {
			case track.codec == codecH264 && (rd.video == nil || rd.video.codec == codecH265), track.codec == codecH265 && rd.video == nil:
				rd.video = track
			case track.codec != codecH264 && track.codec != codecH265 && rd.audio == nil:
				rd.audio = track
			}
		}
	}
}

// newRTSPTrack returns nil for a format that cannot be used.
func newRTSPTrack(f rtpformat.Format) *rtspTrack {
	one := func(p *rtp.Packet) ([][]byte, error) { return [][]byte{p.Payload}, nil }
	switch f := f.(type) {
	case *rtpformat.H264:
		if d, err := f.CreateDecoder(); err == nil {
			return &rtspTrack{codec: codecH264, format: f, decode: d.Decode}
		}
	case *rtpformat.H265:
		if d, err := f.CreateDecoder(); err == nil {
			return &rtspTrack{codec: codecH265, format: f, decode: d.Decode}
		}
	case *rtpformat.Opus:
		return &rtspTrack{codec: codecOpus, format: f, decode: one}
	case *rtpformat.G711:
		if f.SampleRate != 8000 || f.ChannelCount != 1 {
			return nil
		}
		if f.MULaw {
			return &rtspTrack{codec: codecPCMU, format: f, decode: one}
		}
		return &rtspTrack{codec: codecPCMA, format: f, decode: one}
	case *rtpformat.MPEG4Audio:
		if f.LATM || f.Config == nil || f.Config.SampleRate <= 0 {
			return nil
		}
		if d, err := f.CreateDecoder(); err == nil {
			step := mpeg4audio.SamplesPerAccessUnit * time.Second / time.Duration(f.Config.SampleRate)
			return &rtspTrack{codec: codecAAC, format: f, decode: d.Decode, step: step}
		}
	}
	return nil
}

// allowReorder implements passing.
func (rd *rtspReader) allowReorder() { rd.anyOrder = true }

// aac implements passing.
func (rd *rtspReader) aac() *mpeg4audio.Config {
	c := rd.audio.format.(*rtpformat.MPEG4Audio).Config
	return &mpeg4audio.Config{Type: mpeg4audio.ObjectType(c.Type), SampleRate: c.SampleRate, ChannelCount: c.ChannelCount}
}

func (rd *rtspReader) format() format {
	var f format
	if rd.video != nil {
		f.video = rd.video.codec
	}
	if rd.audio != nil {
		f.audio = rd.audio.codec
	}
	return f
}

func (rd *rtspReader) run(ctx context.Context, to sink) error {
	broken := make(chan error, 1)
	fail := func(err error) {
		if err == nil {
			return
		}
		select {
		case broken <- err:
		default: // the first counts
		}
	}
	rd.begun = time.Now()
	rd.heard.Store(rd.begun.UnixNano())
	if rd.video != nil {
		rd.sets = parameterSets(rd.video.format)
		rd.client.OnPacketRTP(rd.video.media, rd.video.format, func(p *rtp.Packet) { fail(rd.onVideo(p, to)) })
		rd.client.OnPacketRTCP(rd.video.media, rd.video.onReport)
	}
	if rd.audio != nil {
		rd.client.OnPacketRTP(rd.audio.media, rd.audio.format, func(p *rtp.Packet) { fail(rd.onAudio(p, to)) })
		rd.client.OnPacketRTCP(rd.audio.media, rd.audio.onReport)
	}
	stop := context.AfterFunc(ctx, rd.client.Close)
	defer stop()
	if _, err := rd.client.Play(nil); err != nil {
		return rtspFault(err)
	}
	return rd.watch(ctx, broken)
}

// watch waits for the end of the source.
func (rd *rtspReader) watch(ctx context.Context, broken <-chan error) error {
	ended := make(chan error, 1)
	go func() { ended <- rd.client.Wait() }()
	var silent <-chan time.Time
	if rd.udp != nil {
		silent = time.After(udpSilence)
	}
	tick := time.NewTicker(rd.stall / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case err := <-ended:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return rtspLoss(err)
		case <-silent:
			if !rd.udp.heard.Load() {
				return errNoUDP
			}
		case now := <-tick.C:
			if now.Sub(time.Unix(0, rd.heard.Load())) > rd.stall {
				if rd.heard.Load() == rd.begun.UnixNano() {
					return &pull.Error{Fault: pull.NoMedia, Detail: "no frames"}
				}
				return &pull.Error{Fault: pull.Lost, Detail: "no frames"}
			}
		}
	}
}

func (rd *rtspReader) close() { rd.client.Close() }

func (rd *rtspReader) onVideo(p *rtp.Packet, to sink) error {
	now := time.Now()
	if !rd.video.whole(p) {
		return nil
	}
	unit, err := rd.video.decode(p)
	if err != nil {
		return nil // incomplete, or damaged: the decoder waits for the next frame
	}
	rd.heard.Store(now.UnixNano())
	before, first := rd.video.ticks, !rd.video.started
	at := rd.video.at(p.Timestamp, now.Sub(rd.begun))
	if !first && rd.video.codec == codecH264 && !rd.anyOrder && rd.reorders(rd.video.ticks < before) {
		return &pull.Error{Fault: pull.NeedsTranscoding, Detail: "video with B-frames"}
	}
	if rd.audio != nil && rd.audio.started && now.Sub(rd.synced) > syncEvery {
		rd.synchronize(now)
	}
	rd.slew()
	if rd.sets != nil && rd.hasSets(unit) {
		rd.sets = nil // those of the frames count
	}
	if rd.sets != nil && rd.isKey(unit) { // each one: the first can be lost, or forgotten before the publication
		unit = append(slices.Clip(rd.sets), unit...)
	}
	return to.WriteVideo(unit, at)
}

// reorders reports whether the frames have B-frames: the times of several among the last ones went back. One
// is a camera whose clock was set.
func (rd *rtspReader) reorders(back bool) bool {
	const window = 30 // frames
	rd.recent = rd.recent << 1 & (1<<window - 1)
	if back {
		rd.recent |= 1
	}
	return bits.OnesCount32(rd.recent) >= 3
}

func (rd *rtspReader) isKey(unit [][]byte) bool {
	if rd.video.codec == codecH265 {
		return h265.IsRandomAccess(unit)
	}
	return h264.IsRandomAccess(unit)
}

// hasSets reports whether a frame has the parameter sets of a sequence.
func (rd *rtspReader) hasSets(unit [][]byte) bool {
	return slices.ContainsFunc(unit, func(nal []byte) bool {
		switch {
		case len(nal) == 0:
			return false
		case rd.video.codec == codecH265:
			return h265.NALUType(nal[0]>>1&0x3f) == h265.NALUType_SPS_NUT
		}
		return h264.NALUType(nal[0]&0x1f) == h264.NALUTypeSPS
	})
}

// parameterSets returns those of a description, or nil if they are not complete.
func parameterSets(f rtpformat.Format) [][]byte {
	var sets [][]byte
	switch f := f.(type) {
	case *rtpformat.H264:
		sets = [][]byte{f.SPS, f.PPS}
	case *rtpformat.H265:
		sets = [][]byte{f.VPS, f.SPS, f.PPS}
	}
	if slices.ContainsFunc(sets, func(set []byte) bool { return len(set) == 0 }) {
		return nil
	}
	return sets
}

const videoClock = 90000

func (rd *rtspReader) onAudio(p *rtp.Packet, to sink) error {
	now := time.Now()
	rd.audio.whole(p) // each packet has whole frames, or the decoder misses some of it
	frames, err := rd.audio.decode(p)
	if err != nil {
		return nil // as above
	}
	rd.heard.Store(now.UnixNano())
	at := rd.audio.at(p.Timestamp, now.Sub(rd.begun)-rd.audio.duration(frames))
	for i, frame := range frames {
		if err := to.WriteAudio(slices.Clip(frame), at+time.Duration(i)*rd.audio.step); err != nil {
			return err
		}
	}
	return nil
}

// synchronize moves the clock of video to that of audio, as the sender reports of the source relate them.
// Before these come, the arrival of the first packets relates them. The RTP-Info of PLAY is not used: that of
// gortsplib's own server was wrong by up to seconds. Neither is gortsplib's PacketNTP: it takes the fraction
// of an NTP time for nanoseconds.
func (rd *rtspReader) synchronize(now time.Time) {
	video, audio := rd.video, rd.audio
	if video.report == nil || audio.report == nil {
		return
	}
	rd.synced = now
	apart := ntpSince(video.report.NTPTime, audio.report.NTPTime) + video.sinceReport() - audio.sinceReport()
	off := apart - (video.atOf(video.stamp) - audio.atOf(audio.stamp))
	if off.Abs() > syncSlack && off.Abs() < syncMax {
		rd.behind = off
	}
}

// slew moves the clock of video by a part of what it is to move: less than a frame, so that no timestamp goes
// backwards.
func (rd *rtspReader) slew() {
	step := min(max(rd.behind, -syncStep), syncStep)
	rd.video.offset += step
	rd.behind -= step
}

// onReport keeps a sender report. One without a time is from a source without a clock (RFC 3550 section
// 6.4.1).
func (t *rtspTrack) onReport(p rtcp.Packet) {
	if report, ok := p.(*rtcp.SenderReport); ok && report.NTPTime != 0 {
		t.report = report
	}
}

// sinceReport returns the time of the last packet since the last sender report; negative if it is older.
func (t *rtspTrack) sinceReport() time.Duration {
	return time.Duration(int32(t.stamp-t.report.RTPTime)) * time.Second / time.Duration(t.format.ClockRate())
}

// ntpSince returns the time between two NTP times, which have seconds in the upper 32 bits, and 2^-32 seconds
// in the lower ones (RFC 3550 section 4).
func ntpSince(now, then uint64) time.Duration {
	d := int64(now - then)
	return time.Duration(d>>32)*time.Second + time.Duration(uint64(d)&(1<<32-1)*uint64(time.Second)>>32)
}

// rtspFault classifies an error before the first packet.
func rtspFault(err error) error {
	var own *pull.Error
	if errors.As(err, &own) {
		return own
	}
	if status, ok := rtspStatus(err); ok {
		switch status {
		case base.StatusUnauthorized, base.StatusForbidden:
			return &pull.Error{Fault: pull.Unauthorized, Detail: statusDetail("RTSP", int(status))}
		case base.StatusNotFound, base.StatusGone:
			return &pull.Error{Fault: pull.NotFound, Detail: statusDetail("RTSP", int(status))}
		}
		return &pull.Error{Fault: pull.Unreachable, Detail: statusDetail("RTSP", int(status))}
	}
	return connectionFault(err)
}

// rtspLoss classifies the end of a source that was read.
func rtspLoss(err error) error {
	detail := "connection ended"
	var network net.Error
	if errors.Is(err, liberrors.ErrClientTCPTimeout{}) || errors.Is(err, liberrors.ErrClientUDPTimeout{}) ||
		errors.As(err, &network) && network.Timeout() {
		detail = "no packets"
	}
	return &pull.Error{Fault: pull.Lost, Detail: detail}
}
