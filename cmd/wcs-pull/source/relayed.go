package source

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/translate/pull"
)

// relayedReader reads a source of rtmp(s) or srt: ffmpeg, which reaches it through a relay, writes it as
// MPEG-TS without a change. It is read as cameras are: H264 and Opus pass, AAC is transcoded.
type relayedReader struct {
	relay  *guard.Relay
	cancel context.CancelFunc
	child  *process
	out    *os.File
	ts     *mpegts.Reader
	video  *mpegts.Track // nil without
	audio  *mpegts.Track
	has    format

	stall    time.Duration
	anyOrder bool
}

// openRelayed connects to a source and waits for its tracks. Its errors are *pull.Error.
func (r *Runner) openRelayed(ctx context.Context, s pull.Source) (reader, error) {
	network := sandbox.TCP
	if s.Scheme() == pull.SRT {
		network = sandbox.UDP
	}
	address, socket, err := r.loopback(network)
	if err != nil {
		return nil, &pull.Error{Fault: pull.Internal, Detail: "no relay for ffmpeg"}
	}
	relay, script, err := r.relay(ctx, s, address)
	if err != nil {
		_ = socket.Close() // nothing was served; without a socket this does nothing
		return nil, err
	}
	if err := serveHere(socket, relay.Serve); err != nil {
		relay.Close()
		return nil, &pull.Error{Fault: pull.Internal, Detail: "no relay for ffmpeg"}
	}
	rd := &relayedReader{relay: relay, stall: r.stall.other}
	write, err := rd.pipe()
	if err != nil {
		relay.Close()
		return nil, err
	}
	args := append([]string{
		"-hide_banner", "-nostdin", "-loglevel", "quiet", "-probesize", "32", "-analyzeduration", "0", "-fflags", "nobuffer",
		"-protocol_whitelist", "pipe", "-format_whitelist", "concat", "-f", "concat", "-safe", "0", "-i", "pipe:0",
		"-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy", "-sn", "-dn",
	}, muxed...)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	rd.cancel = cancel
	rd.child, err = r.start(life, command{
		program: r.config.FFmpeg, args: args, stdin: strings.NewReader(script), stdout: write, network: network, serve: relay.Serve,
	})
	_ = write.Close() // the child has it
	if err != nil {
		rd.close()
		return nil, &pull.Error{Fault: pull.Internal, Detail: "ffmpeg cannot be started"}
	}
	stop := context.AfterFunc(ctx, func() { cancel(); _ = rd.out.Close() })
	defer stop()
	if err := rd.tracks(); err != nil {
		rd.close()
		if relay.Fault() != nil {
			return nil, connectionFault(relay.Fault())
		}
		if ctx.Err() != nil {
			return nil, &pull.Error{Fault: pull.Unreachable, Detail: "no media in time"}
		}
		return nil, err
	}
	return rd, nil
}

// relay returns the relay of a source, which ffmpeg reaches at local, and the script from which ffmpeg reads
// its address.
func (r *Runner) relay(ctx context.Context, s pull.Source, local string) (*guard.Relay, string, error) {
	u, err := url.Parse(s.Reveal())
	if err != nil {
		return nil, "", &pull.Error{Fault: pull.BadURL, Detail: "not a URL"}
	}
	network, address := r.network(s), net.JoinHostPort(s.Host(), strconv.Itoa(s.Port()))
	if s.Scheme() == pull.SRT {
		relay, err := network.RelayUDP(ctx, address)
		if err != nil {
			return nil, "", connectionFault(err)
		}
		u.Host = local
		return relay, script(u, "protocol_whitelist", "srt", "format_whitelist", "mpegts"), nil
	}
	var secure *tls.Config
	if s.Scheme() == pull.RTMPS {
		secure = &tls.Config{RootCAs: r.config.RootCAs, MinVersion: tls.VersionTLS12}
	}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	app := path[:max(0, strings.LastIndexByte(path, '/'))]
	server := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + app}
	u.Scheme, u.Host = pull.RTMP, local
	return network.RelayTCP(address, secure), script(u, "protocol_whitelist", "rtmp,tcp", "format_whitelist", "flv,live_flv", "rtmp_tcurl", server.String(), "rtmp_live", "live"), nil
}

// script returns a script of ffmpeg's demuxer concat with one address, which other users of the machine would
// see among the arguments, and its options. They bind what the address is opened with: a source that sends a
// script itself is not read as one.
func script(address *url.URL, options ...string) string {
	var b strings.Builder
	b.WriteString("ffconcat version 1.0\nfile " + quoted(address.String()) + "\n")
	for i := 0; i < len(options); i += 2 {
		b.WriteString("option " + options[i] + " " + quoted(options[i+1]) + "\n")
	}
	b.WriteString("option probesize 500000\noption analyzeduration 1000000\noption fflags nobuffer\n")
	return b.String()
}

// quoted quotes a text for ffmpeg. Texts with line breaks are no URL.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func (rd *relayedReader) pipe() (write *os.File, err error) {
	rd.out, write, err = os.Pipe()
	if err != nil {
		return nil, &pull.Error{Fault: pull.Internal, Detail: "no pipe for ffmpeg"}
	}
	return write, nil
}

// tracks waits for what the source has.
func (rd *relayedReader) tracks() error {
	rd.ts = &mpegts.Reader{R: rd.out}
	if err := rd.ts.Initialize(); err != nil {
		return &pull.Error{Fault: pull.NoMedia, Detail: "the server sends no media"}
	}
	for _, track := range rd.ts.Tracks() {
		switch track.Codec.(type) {
		case *mpegts.CodecH264:
			rd.video, rd.has.video = track, codecH264
		case *mpegts.CodecH265:
			rd.video, rd.has.video = track, codecH265
		case *mpegts.CodecOpus:
			rd.audio, rd.has.audio = track, codecOpus
		case *mpegts.CodecMPEG4Audio:
			rd.audio, rd.has.audio = track, codecAAC
		}
	}
	if rd.has == (format{}) {
		return &pull.Error{Fault: pull.NoMedia, Detail: "no H264, H265, Opus or AAC"}
	}
	return nil
}

func (rd *relayedReader) format() format { return rd.has }

// aac implements passing.
func (rd *relayedReader) aac() *mpeg4audio.Config {
	return &rd.audio.Codec.(*mpegts.CodecMPEG4Audio).Config
}

// allowReorder implements passing.
func (rd *relayedReader) allowReorder() { rd.anyOrder = true }

// run implements reader.
func (rd *relayedReader) run(ctx context.Context, to sink) error {
	stop := context.AfterFunc(ctx, func() { rd.cancel(); _ = rd.out.Close() })
	defer stop()
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &heard{Reader: rd.out}
	h.touch()
	stalled := watchStall(watched, h, rd.stall, func() { _ = rd.out.Close() })
	var clock tsClock
	if rd.video != nil {
		video := func(pts, dts int64, unit [][]byte) error {
			h.touch()
			if pts != dts && !rd.anyOrder {
				return &pull.Error{Fault: pull.NeedsTranscoding, Detail: "video with B-frames"}
			}
			return to.WriteVideo(unit, clock.at(pts))
		}
		if rd.has.video == codecH265 {
			rd.ts.OnDataH265(rd.video, video)
		} else {
			rd.ts.OnDataH264(rd.video, video)
		}
	}
	switch rd.has.audio {
	case codecOpus:
		rd.ts.OnDataOpus(rd.audio, opusTo(&clock, to))
	case codecAAC:
		step := mpeg4audio.SamplesPerAccessUnit * time.Second / time.Duration(max(rd.aac().SampleRate, 1))
		rd.ts.OnDataMPEG4Audio(rd.audio, func(pts int64, frames [][]byte) error {
			at := clock.at(pts)
			for i, frame := range frames {
				if err := to.WriteAudio(frame, at+time.Duration(i)*step); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for {
		err := rd.ts.Read()
		switch {
		case err == nil:
			h.touch()
		case ctx.Err() != nil:
			return ctx.Err()
		case stalled.Load():
			return &pull.Error{Fault: pull.Lost, Detail: "no data"}
		default:
			if fault, _ := pull.FaultOf(err); fault != pull.Internal {
				return err
			}
			return &pull.Error{Fault: pull.Lost, Detail: "connection ended"}
		}
	}
}

// close implements reader.
func (rd *relayedReader) close() {
	rd.cancel()
	_ = rd.out.Close()
	if rd.child != nil {
		_ = rd.child.wait() // it was killed
	}
	rd.relay.Close()
}
