package rig

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"wcsgateway/internal/wcsclient"
	"wcsgateway/translate"
	rtpmedia "wcsgateway/translate/media"
)

const (
	audioInterval = 20 * time.Millisecond
	videoInterval = 40 * time.Millisecond // 25 frames a second, each a key frame
)

// PeerOptions configure what a Peer sends or receives.
type PeerOptions struct {
	Audio, Video  bool   // neither means both
	VideoMime     string // what a publisher sends: webrtc.MimeTypeVP8 (default) or webrtc.MimeTypeH264
	Width, Height int    // of a publisher's video; 320x240 if 0
	TCP           bool   // ICE over TCP only
	Port          int    // for UDP; 0: one that no other peer of the process has had
	Mute          bool   // a publisher connects and sends nothing
	MuteVideo     bool   // a publisher offers video and sends only audio
	OnRequest     bool   // a publisher of VP8 sends key frames only when it is asked for one, as browsers do
	Follow        bool   // a player takes whatever track arrives in an m-line, as browsers do
}

func (o PeerOptions) withDefaults() PeerOptions {
	if !o.Audio && !o.Video {
		o.Audio, o.Video = true, true
	}
	if o.VideoMime == "" {
		o.VideoMime = webrtc.MimeTypeVP8
	}
	if o.Width == 0 || o.Height == 0 {
		o.Width, o.Height = 320, 240
	}
	return o
}

// PeerTrack is a track that a player was given, in the words of the answer.
type PeerTrack struct {
	Kind     translate.Kind
	Mime     string
	StreamID string // the id that browsers make a MediaStream of
	TrackID  string
}

// Peer is the WebRTC half of a WCS client: one offer without candidates, one answer with all of them, no
// trickling. It ends with the test.
type Peer struct {
	t         testing.TB
	pc        *webrtc.PeerConnection
	videoMime string
	offer     string
	up        chan struct{} // closed when ICE and DTLS are up for the first time
	closed    chan struct{}
	close     func()
	send      []func()      // the senders, started by SetAnswer
	picture   chan struct{} // closed when the first key frame arrives
	shown     func()        // closes it, once
	wg        sync.WaitGroup

	onRequest bool // key frames are sent only when one is requested

	mu        sync.Mutex
	silent    bool
	requested bool        // a key frame, since the last one
	frames    []time.Time // when each was sent
	frame     []byte
	tracks    []PeerTrack
	packets   map[translate.Kind]int
}

// NewPublisher makes a peer that sends silence and an even grey picture once SetAnswer was called.
func NewPublisher(t testing.TB, o PeerOptions) *Peer {
	t.Helper()
	o = o.withDefaults()
	p := newPeer(t, o)
	if o.Audio {
		track, _ := p.addTrack(webrtc.MimeTypeOpus, "audio")
		p.send = append(p.send, func() { p.pump(track, audioInterval, func() []byte { return wcsclient.OpusSilence }) })
	}
	if o.Video {
		track, sender := p.addTrack(o.VideoMime, "video")
		p.Resize(o.Width, o.Height)
		p.send = append(p.send, func() { p.pump(track, videoInterval, p.nextFrame) })
		if p.onRequest, p.requested = o.OnRequest, true; o.OnRequest {
			p.send = append(p.send, func() { p.awaitRequests(sender) })
		}
	}
	switch {
	case o.Mute:
		p.send = nil
	case o.MuteVideo:
		p.send = p.send[:1]
	}
	p.makeOffer()
	return p
}

// NewPlayer makes a peer that counts the RTP packets it gets.
func NewPlayer(t testing.TB, o PeerOptions) *Peer {
	t.Helper()
	o = o.withDefaults()
	p := newPeer(t, o)
	kinds := map[webrtc.RTPCodecType]bool{webrtc.RTPCodecTypeAudio: o.Audio, webrtc.RTPCodecTypeVideo: o.Video}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if !kinds[kind] {
			continue
		}
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := p.pc.AddTransceiverFromKind(kind, init); err != nil {
			t.Fatal(err)
		}
	}
	p.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.receive(track) })
	p.makeOffer()
	return p
}

func newPeer(t testing.TB, o PeerOptions) *Peer {
	t.Helper()
	settings, engine := loopback(t, o), new(webrtc.MediaEngine)
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	if o.Follow {
		settings.SetHandleUndeclaredSSRCWithoutAnswer(true)
		for _, uri := range []string{sdp.SDESMidURI, sdp.ABSSendTimeURI} {
			for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
				if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	interceptors := new(interceptor.Registry)
	if err := webrtc.RegisterDefaultInterceptors(engine, interceptors); err != nil {
		t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(interceptors))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{
		t:         t,
		pc:        pc,
		videoMime: o.VideoMime,
		up:        make(chan struct{}),
		picture:   make(chan struct{}),
		closed:    make(chan struct{}),
		packets:   map[translate.Kind]int{},
	}
	p.shown = sync.OnceFunc(func() { close(p.picture) })
	p.close = sync.OnceFunc(func() {
		close(p.closed)
		if err := pc.GracefulClose(); err != nil {
			t.Errorf("close peer: %v", err)
		}
		p.wg.Wait()
	})
	t.Cleanup(p.close)
	once := sync.OnceFunc(func() { close(p.up) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once()
		}
	})
	return p
}

// checks is the number of connectivity checks of a candidate, one every 200 ms. Pion ends them after seven,
// browsers after many seconds: a LiveKit that has no processor for that long is still reached.
const checks = 75

// portsUsed is how many ranges of ports peers have had, portsBegin the first range: other processes have
// peers, too.
var (
	portsUsed  atomic.Uint32
	portsBegin = rand.Uint32N(1 << 16)
)

// freshPorts returns a range of UDP ports that no other peer of this process has had, unless there were
// thousands. The kernel assigns ports again, and LiveKit takes what comes from one for the client that had it
// before, as long as it waits for that client (docs/livekit-notes.md#departures).
func freshPorts() (first, last uint16) {
	const low, high, each = 33000, 60992, 8 // some are in use by others
	first = uint16(low + (portsBegin+portsUsed.Add(1))%((high-low)/each)*each)
	return first, first + each - 1
}

func loopback(t testing.TB, o PeerOptions) webrtc.SettingEngine {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetICEMaxBindingRequests(checks)
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	if o.TCP {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		return s
	}
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	first, last := uint16(o.Port), uint16(o.Port)
	if o.Port == 0 {
		first, last = freshPorts()
	}
	if err := s.SetEphemeralUDPPortRange(first, last); err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *Peer) addTrack(mime, id string) (*webrtc.TrackLocalStaticSample, *webrtc.RTPSender) {
	p.t.Helper()
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, id, "stream")
	if err != nil {
		p.t.Fatal(err)
	}
	init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	sender, err := p.pc.AddTransceiverFromTrack(track, init)
	if err != nil {
		p.t.Fatal(err)
	}
	// What a browser sends is the first codec of the answer, and LiveKit takes the track for that.
	codecs := sender.Sender().GetParameters().Codecs
	slices.SortStableFunc(codecs, func(a, b webrtc.RTPCodecParameters) int {
		return cmp.Compare(rank(a, mime), rank(b, mime))
	})
	if err := sender.SetCodecPreferences(codecs); err != nil {
		p.t.Fatal(err)
	}
	return track, sender.Sender()
}

func rank(c webrtc.RTPCodecParameters, mime string) int {
	if strings.EqualFold(c.MimeType, mime) {
		return 0
	}
	return 1
}

func (p *Peer) makeOffer() {
	p.t.Helper()
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.offer = offer.SDP // gathering begins with SetLocalDescription: no candidates in it
	if err := p.pc.SetLocalDescription(offer); err != nil {
		p.t.Fatal(err)
	}
}

// Offer is the peer's offer.
func (p *Peer) Offer() string { return p.offer }

// SetAnswer takes the answer, and a publisher begins to send.
func (p *Peer) SetAnswer(sdp string) {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		p.t.Fatalf("set answer: %v", err)
	}
	for _, send := range p.send {
		p.wg.Go(send)
	}
}

// Up is closed when ICE and DTLS have come up.
func (p *Peer) Up() <-chan struct{} { return p.up }

// Picture is closed when a player has received the first packet of a key frame.
func (p *Peer) Picture() <-chan struct{} { return p.picture }

// State is the state of the connection now.
func (p *Peer) State() webrtc.PeerConnectionState { return p.pc.ConnectionState() }

// Close closes the connection, and sends LiveKit nothing else about it. It may be repeated.
func (p *Peer) Close() { p.close() }

// Tracks are the tracks a player was given so far, in the order of their first packets.
func (p *Peer) Tracks() []PeerTrack {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tracks)
}

// Packets counts the RTP packets of a kind that a player got.
func (p *Peer) Packets(kind translate.Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.packets[kind]
}

// Silence lets a publisher send nothing more while its connection stays up.
func (p *Peer) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Frames counts the video frames that a publisher has sent in some time. Each one has as many bytes as
// VP8Frame makes.
func (p *Peer) Frames(since, until time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.frames {
		if at.After(since) && !at.After(until) {
			n++
		}
	}
	return n
}

// Resize changes the size of a publisher's video.
func (p *Peer) Resize(width, height int) {
	frame := VP8Frame(width, height)
	if p.videoMime == webrtc.MimeTypeH264 {
		frame = h264Frame(width, height)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frame = frame
}

func (p *Peer) nextFrame() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = append(p.frames, time.Now())
	if !p.onRequest || p.requested {
		p.requested = false
		return p.frame
	}
	frame := slices.Clone(p.frame)
	frame[0] |= 1 // not a key frame (RFC 6386 §9.1); nothing decodes it
	return frame
}

// awaitRequests reads the requests for key frames until the peer is closed.
func (p *Peer) awaitRequests(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok {
				p.mu.Lock()
				p.requested = true
				p.mu.Unlock()
			}
		}
	}
}

func (p *Peer) isSilent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent
}

// pump sends until the peer is closed. What is sent before the connection is up goes nowhere.
func (p *Peer) pump(track *webrtc.TrackLocalStaticSample, every time.Duration, data func() []byte) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.closed:
			return
		case <-tick.C:
		}
		if p.isSilent() {
			return
		}
		if err := track.WriteSample(media.Sample{Data: data(), Duration: every}); err != nil {
			return // closed meanwhile, or the SFU took the track away
		}
	}
}

func (p *Peer) receive(track *webrtc.TrackRemote) {
	kind := translate.Kind(track.Kind().String())
	p.mu.Lock()
	p.tracks = append(p.tracks, PeerTrack{
		Kind: kind, Mime: track.Codec().MimeType, StreamID: track.StreamID(), TrackID: track.ID(),
	})
	p.mu.Unlock()
	var sizes rtpmedia.Sizes
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return // the track ended with the connection
		}
		if _, _, key := sizes.KeyFrame(track.Codec().MimeType, packet.Payload); key {
			p.shown()
		}
		p.mu.Lock()
		p.packets[kind]++
		p.mu.Unlock()
	}
}
