package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/cmd/wcs-pull/sandbox"
	"wcsgateway/translate/pull"
)

const (
	probeTimeout = 12 * time.Second
	maxProbe     = 64 << 10 // bytes of ffprobe's answer

	// containers are the formats that ffmpeg may read: none that names files, devices or other addresses but
	// HLS, whose addresses lead through the proxy.
	containers    = "mov,mp4,m4a,3gp,3g2,mj2,mpegts,matroska,webm,flv,aac,mp3,ogg,wav,avi,mpeg"
	webContainers = "hls," + containers
	webProtocols  = "http,tcp,crypto"
)

// ffmpegReader reads a source with ffmpeg: files, and everything over http(s).
type ffmpegReader struct {
	runner *Runner
	input  ffmpegInput
	has    format
	copy   bool // the video passes unchanged
}

// ffmpegInput is how ffmpeg reaches a source.
type ffmpegInput struct {
	options []string // before -i
	url     string
	env     []string
	files   []*os.File
	proxy   *guard.Proxy // nil for files
}

func (in *ffmpegInput) close() {
	for _, f := range in.files {
		_ = f.Close() // it was read only
	}
	if in.proxy != nil {
		in.proxy.Close()
	}
}

// openFFmpeg finds what a source has. Its errors are *pull.Error.
func (r *Runner) openFFmpeg(ctx context.Context, j Job) (_ reader, err error) {
	in, err := r.input(j.Source)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	probed, err := r.probe(ctx, in)
	if err != nil {
		return nil, err
	}
	rd := &ffmpegReader{runner: r, input: *in}
	for _, s := range probed.Streams {
		switch {
		case s.Type == "video" && rd.has.video == "" && s.Picture.Attached == 0:
			rd.has.video = s.Codec
			rd.copy = s.Codec == codecH264 && s.Reorders == 0 && (s.Pixels == "yuv420p" || s.Pixels == "yuvj420p")
			if s.Width > maxSourceSide || s.Height > maxSourceSide {
				return nil, &pull.Error{Fault: pull.NoMedia, Detail: "the picture is too large"}
			}
		case s.Type == "audio" && rd.has.audio == "" && s.Codec != "":
			rd.has.audio = s.Codec
		}
	}
	if rd.has == (format{}) {
		return nil, &pull.Error{Fault: pull.NoMedia, Detail: "no video and no audio"}
	}
	return rd, nil
}

// input prepares the way to a source. Nothing of its URL is visible in the arguments of ffmpeg.
func (r *Runner) input(s pull.Source) (*ffmpegInput, error) {
	if s.IsFile() {
		return r.fileInput(s.File())
	}
	origin, err := url.Parse(s.Reveal())
	if err != nil {
		return nil, &pull.Error{Fault: pull.BadURL, Detail: "not a URL"}
	}
	proxy, err := r.proxy(s, origin)
	if err != nil {
		return nil, &pull.Error{Fault: pull.Internal, Detail: "no proxy for ffmpeg"}
	}
	return &ffmpegInput{
		// Not -rw_timeout: ffmpeg ends after it as if the source had ended.
		options: []string{"-protocol_whitelist", webProtocols, "-format_whitelist", webContainers, "-user_agent", userAgent},
		url:     proxy.Source(), proxy: proxy, env: []string{"http_proxy=" + proxy.Address()},
	}, nil
}

// proxy returns the proxy of a source.
func (r *Runner) proxy(s pull.Source, origin *url.URL) (*guard.Proxy, error) {
	address, socket, err := r.loopback(sandbox.TCP)
	if err != nil {
		return nil, err
	}
	proxy, err := r.network(s).Proxy(origin, r.config.RootCAs, address)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return proxy, serveHere(socket, proxy.Serve)
}

// command returns what describes a program that reads the source.
func (in *ffmpegInput) command(program string, args []string) command {
	c := command{program: program, args: args, env: in.env, files: in.files}
	if in.proxy != nil {
		c.network, c.serve = sandbox.TCP, in.proxy.Serve
	}
	return c
}

// fileInput opens a file of the folder. ffmpeg gets it as an open file, so that no link leads it elsewhere.
func (r *Runner) fileInput(name string) (*ffmpegInput, error) {
	missing := &pull.Error{Fault: pull.FileNotFound, Detail: "no such file in the folder"}
	if r.config.Folder == "" {
		return nil, &pull.Error{Fault: pull.FileNotFound, Detail: "the worker has no folder of files"}
	}
	root, err := os.OpenRoot(r.config.Folder)
	if err != nil {
		return nil, &pull.Error{Fault: pull.FileUnreadable, Detail: "the folder of files cannot be opened"}
	}
	defer func() { _ = root.Close() }() // nothing was written
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, &pull.Error{Fault: pull.FileUnreadable, Detail: "no permission"}
	case err != nil || !info.Mode().IsRegular():
		return nil, missing
	}
	f, err := root.Open(name)
	if errors.Is(err, os.ErrPermission) {
		return nil, &pull.Error{Fault: pull.FileUnreadable, Detail: "no permission"}
	}
	if err != nil {
		return nil, missing
	}
	return &ffmpegInput{
		options: []string{"-protocol_whitelist", "file", "-format_whitelist", containers},
		url:     "/proc/self/fd/3", files: []*os.File{f},
	}, nil
}

// probed is the answer of ffprobe.
type probed struct {
	Streams []struct {
		Type     string `json:"codec_type"`
		Codec    codec  `json:"codec_name"`
		Reorders int    `json:"has_b_frames"`
		Pixels   string `json:"pix_fmt"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
		Picture  struct {
			Attached int `json:"attached_pic"`
		} `json:"disposition"`
	} `json:"streams"`
}

func (r *Runner) probe(ctx context.Context, in *ffmpegInput) (*probed, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var out limitedBuffer
	args := append([]string{"-hide_banner", "-loglevel", "quiet", "-probesize", "1000000", "-analyzeduration", "2000000"}, in.options...)
	args = append(args,
		"-show_entries", "stream=codec_type,codec_name,has_b_frames,pix_fmt,width,height:stream_disposition=attached_pic",
		"-of", "json", "-i", in.url)
	c := in.command(r.config.FFprobe, args)
	c.stdout = &out
	p, err := r.start(ctx, c)
	if err != nil {
		return nil, &pull.Error{Fault: pull.Internal, Detail: "ffprobe cannot be started"}
	}
	failed := p.wait()
	if ctx.Err() != nil {
		return nil, &pull.Error{Fault: pull.Unreachable, Detail: "no answer in time"}
	}
	if failed != nil {
		return nil, in.fault()
	}
	var answer probed
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return nil, &pull.Error{Fault: pull.Internal, Detail: "the answer of ffprobe cannot be read"}
	}
	return &answer, nil
}

// fault classifies the failed start of a source.
func (in *ffmpegInput) fault() *pull.Error {
	if in.proxy != nil && in.proxy.Fault() != nil {
		return httpFault(in.proxy.Fault())
	}
	return &pull.Error{Fault: pull.NoMedia, Detail: "not a known container"}
}

// lossDetail says why a source that was read is lost.
func (in *ffmpegInput) lossDetail() string {
	if in.proxy != nil && in.proxy.Fault() != nil {
		return httpFault(in.proxy.Fault()).Detail
	}
	return "connection ended"
}

// limitedBuffer is a buffer that refuses more than maxProbe bytes.
type limitedBuffer struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxProbe {
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}

func (rd *ffmpegReader) format() format { return rd.has }

func (rd *ffmpegReader) close() { rd.input.close() }

// run reads the source in real time: ffmpeg waits while the frames that it wrote are not due.
func (rd *ffmpegReader) run(ctx context.Context, to sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read, write, err := os.Pipe()
	if err != nil {
		return &pull.Error{Fault: pull.Internal, Detail: "no pipe for ffmpeg"}
	}
	defer func() { _ = read.Close() }()
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "quiet", "-probesize", "1000000", "-analyzeduration", "2000000"}
	args = append(append(args, rd.input.options...), "-i", rd.input.url)
	args = append(args, output(rd.has, !rd.copy, true)...)
	for _, f := range rd.input.files {
		if _, err := f.Seek(0, io.SeekStart); err != nil { // the child shares the offset of ffprobe's
			_ = write.Close()
			return &pull.Error{Fault: pull.FileUnreadable, Detail: "the file cannot be read"}
		}
	}
	c := rd.input.command(rd.runner.config.FFmpeg, args)
	c.stdout, c.encodes = write, !rd.copy && rd.has.video != ""
	p, err := rd.runner.start(ctx, c)
	_ = write.Close() // the child has it
	if err != nil {
		return &pull.Error{Fault: pull.Internal, Detail: "ffmpeg cannot be started"}
	}
	stop := context.AfterFunc(ctx, func() { _ = read.Close() })
	defer stop()
	heard := &heard{Reader: read}
	heard.touch()
	stalled := watchStall(ctx, heard, rd.runner.stall.other, cancel)
	_ = readTS(heard, &pacer{ctx: ctx, to: heard.sink(to)}) // the end of the process says more
	lost := ctx.Err() != nil && stalled.Load()
	if ctx.Err() == nil {
		// ffmpeg has closed its output, or wrote what is not MPEG-TS.
		end := time.NewTimer(time.Second)
		select {
		case <-p.done:
		case <-end.C:
		}
		end.Stop()
	}
	ended := ctx.Err() == nil && isDone(p) && p.err == nil
	cancel()
	_ = p.wait()
	switch {
	case lost:
		return &pull.Error{Fault: pull.Lost, Detail: "no data"}
	case ended && (rd.input.proxy == nil || rd.input.proxy.Fault() == nil):
		return &pull.Error{Fault: pull.Ended}
	case rd.input.proxy == nil:
		return &pull.Error{Fault: pull.FileUnreadable, Detail: "ffmpeg cannot read the file to its end"}
	}
	return &pull.Error{Fault: pull.Lost, Detail: rd.input.lossDetail()}
}

func isDone(p *process) bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// heard notes when data came, or was passed on.
type heard struct {
	io.Reader
	at atomic.Int64
}

func (h *heard) touch() { h.at.Store(time.Now().UnixNano()) }

// Read implements io.Reader.
func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.touch()
	return n, err
}

// sink returns a sink that counts as data what it passes on: a source that is paced is not read meanwhile.
func (h *heard) sink(to sink) sink { return heardSink{h, to} }

type heardSink struct {
	heard *heard
	to    sink
}

// WriteVideo implements sink.
func (s heardSink) WriteVideo(unit [][]byte, at time.Duration) error {
	s.heard.touch()
	return s.to.WriteVideo(unit, at)
}

// WriteAudio implements sink.
func (s heardSink) WriteAudio(frame []byte, at time.Duration) error {
	s.heard.touch()
	return s.to.WriteAudio(frame, at)
}

// watchStall cancels when there was no data for a time, and says so.
func watchStall(ctx context.Context, h *heard, after time.Duration, cancel func()) *atomic.Bool {
	var stalled atomic.Bool
	go func() {
		tick := time.NewTicker(after / 10)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if now.Sub(time.Unix(0, h.at.Load())) > after {
					stalled.Store(true)
					cancel()
					return
				}
			}
		}
	}()
	return &stalled
}

// muxed are ffmpeg's arguments for MPEG-TS on standard output without delay.
var muxed = []string{
	"-f", "mpegts", "-muxdelay", "0", "-muxpreload", "0", "-pes_payload_size", "0", "-flush_packets", "1", "-omit_video_pes_length", "0", "pipe:1",
}

// output returns ffmpeg's arguments for MPEG-TS on standard output. A track that is not encoded passes.
func output(f format, encodeVideo, encodeAudio bool) []string {
	var args []string
	if f.video != "" {
		args = append(args, "-map", "0:v:0")
		if encodeVideo {
			args = append(args, "-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-profile:v", "main",
				"-pix_fmt", "yuv420p", "-bf", "0", "-g", "60", "-force_key_frames", "expr:gte(t,n_forced*2)",
				"-crf", "25", "-maxrate", "2500k", "-bufsize", "2500k", "-vf", "scale='min(1280,iw)':-2", "-fpsmax", "30")
		} else {
			args = append(args, "-c:v", "copy")
		}
	}
	if f.audio != "" {
		args = append(args, "-map", "0:a:0")
		if encodeAudio && f.audio != codecOpus {
			args = append(args, "-c:a", "libopus", "-b:a", "64k", "-ac", "2", "-ar", "48000", "-frame_duration", "20")
		} else {
			args = append(args, "-c:a", "copy")
		}
	}
	return append(append(args, "-threads", "2", "-filter_threads", "1", "-sn", "-dn"), muxed...)
}

const userAgent = "wcs-pull"
