package livekit

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
)

const (
	frameRate  = 30
	frameEvery = time.Second / frameRate
	clockRate  = 90000
	packetLoad = 1040 // bytes of payload; four of them to a frame make 1 Mbit/s
	keyEvery   = 15   // frames
)

// source is a publisher whose every byte is known. It publishes one track and sends on command.
type source struct {
	t        testing.TB
	id       translate.Identity
	codec    string
	pc       *webrtc.PeerConnection
	track    *webrtc.TrackLocalStaticRTP
	sequence uint16
	stamp    uint32
	frames   int
	bytes    int

	mu            sync.Mutex
	width, height int
	pictures      int  // key frame requests received
	onDemand      bool // sends key frames only on request
	shown         int  // pictures at the last key frame
}

// publishSource starts a source. LiveKit has its track only once media arrives.
func publishSource(t testing.TB, sfu *SFU, room translate.RoomName, codec string) *source {
	t.Helper()
	src := &source{t: t, id: publisher(), codec: codec, width: 320, height: 240}
	api := sourceAPI(t, codec)
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	src.pc = pc
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Errorf("close source: %v", err)
		}
	})
	src.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: codec}, "track", "stream")
	if err != nil {
		t.Fatal(err)
	}
	transceiver, err := pc.AddTransceiverFromTrack(src.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	once := sync.OnceFunc(func() { close(up) })
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) {
		if pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
			once()
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	answer, err := sfu.Publish(deadline(t, patience), translate.PublishOffer{Room: room, Identity: src.id, SDP: offer.SDP})
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		t.Fatal(err)
	}
	go src.readRTCP(transceiver.Sender())
	select {
	case <-up:
	case <-time.After(patience):
		t.Fatalf("source is not up after %v", patience)
	}
	return src
}

// sourceAPI supports one codec, so that no other is negotiated, and neither retransmits nor reports.
func sourceAPI(t testing.TB, codec string) *webrtc.API {
	t.Helper()
	var m webrtc.MediaEngine
	parameters := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: codec, ClockRate: clockRate, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack", Parameter: "pli"}},
		},
		PayloadType: 96,
	}
	kind := webrtc.RTPCodecTypeVideo
	switch codec {
	case webrtc.MimeTypeH264:
		parameters.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	case webrtc.MimeTypeVP9:
		parameters.SDPFmtpLine = "profile-id=0"
	case webrtc.MimeTypeOpus:
		kind = webrtc.RTPCodecTypeAudio
		parameters.ClockRate, parameters.Channels, parameters.RTCPFeedback = 48000, 2, nil
	}
	if err := m.RegisterCodec(parameters, kind); err != nil {
		t.Fatal(err)
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
}

func (src *source) readRTCP(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok {
				src.mu.Lock()
				src.pictures++
				src.mu.Unlock()
			}
		}
	}
}

// pictureRequests counts the key frame requests received.
func (src *source) pictureRequests() int {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.pictures
}

// resize changes the size from the next key frame on.
func (src *source) resize(width, height int) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.width, src.height = width, height
}

// send sends so many frames at their pace and returns the number of bytes sent.
func (src *source) send(frames int) (bytes int) {
	src.t.Helper()
	before := src.bytes
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for range frames {
		<-tick.C
		src.frame()
	}
	return src.bytes - before
}

// run sends until the returned function is called.
func (src *source) run() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(frameEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				src.frame()
			}
		}
	})
	stop = sync.OnceFunc(func() { close(quit); wg.Wait() })
	src.t.Cleanup(stop)
	return stop
}

func (src *source) frame() {
	payloads := src.payloads()
	src.frames++
	src.stamp += clockRate / frameRate
	for i, payload := range payloads {
		src.sequence++
		src.bytes += len(payload)
		packet := &rtp.Packet{
			Header: rtp.Header{
				Version: 2, PayloadType: 96, SequenceNumber: src.sequence, Timestamp: src.stamp, Marker: i == len(payloads)-1,
			},
			Payload: payload,
		}
		if err := src.track.WriteRTP(packet); err != nil {
			src.t.Errorf("source: %v", err)
		}
	}
}

// payloads returns the payloads of the next frame.
func (src *source) payloads() [][]byte {
	if src.codec == webrtc.MimeTypeOpus {
		return [][]byte{{0xf8, 0xff, 0xfe}}
	}
	src.mu.Lock()
	w, h := src.width, src.height
	key := src.frames%keyEvery == 0
	if src.onDemand {
		key = src.frames == 0 || src.pictures > src.shown
		src.shown = src.pictures
	}
	src.mu.Unlock()
	switch src.codec {
	case webrtc.MimeTypeVP8:
		return src.vp8(key, w, h)
	case webrtc.MimeTypeVP9:
		return src.vp9(key, w, h)
	case webrtc.MimeTypeH264:
		return src.h264(key, w, h)
	}
	src.t.Errorf("no frames of %s", src.codec)
	return nil
}

func (src *source) vp8(key bool, w, h int) [][]byte {
	id := byte(src.frames >> 8)
	first := []byte{0x90, 0x80, 0x80 | id&0x7f, byte(src.frames), 0x11, 0, 0}
	if key {
		first = append(first[:4], 0x10, 0, 0, 0x9d, 0x01, 0x2a, byte(w), byte(w>>8), byte(h), byte(h>>8))
	}
	rest := []byte{0x80, 0x80, 0x80 | id&0x7f, byte(src.frames)}
	return [][]byte{pad(first), pad(rest), pad(rest), pad(rest)}
}

func (src *source) vp9(key bool, w, h int) [][]byte {
	const pictureID, predicted, begin, end = 0x80, 0x40, 0x08, 0x04
	id := []byte{0x80 | byte(src.frames>>8)&0x7f, byte(src.frames)}
	kind := byte(pictureID | predicted)
	header := []byte{0x86, 0x00}
	if key {
		kind = pictureID
		// The uncompressed header: marker, profile 0, key frame, shown; sync code; colours; size.
		header = append([]byte{0x82, 0x49, 0x83, 0x42}, shifted(w-1, h-1)...)
	}
	var payloads [][]byte
	for _, p := range []struct {
		flags byte
		data  []byte
	}{{begin, header}, {0, nil}, {0, nil}, {end, nil}} {
		payloads = append(payloads, pad(append(append([]byte{kind | p.flags}, id...), p.data...)))
	}
	return payloads
}

// shifted returns color_space 0 and color_range 0 in four bits, and the two numbers in 16 bits each.
func shifted(a, b int) []byte {
	v := uint64(a)<<20 | uint64(b)<<4
	return []byte{byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

// h264 uses parameter sets of x264; only their sizes are known.
func (src *source) h264(key bool, w, h int) [][]byte {
	sets := map[string]string{
		"320x240": "6742c00dd90141fb011000000300100000030320f142a480",
		"642x362": "6764001eacd940a42fe224c044000003000400000300c83c58b658",
	}
	const fragment, start, end = 0x7c, 0x80, 0x40
	unit := byte(1)
	var payloads [][]byte
	if key {
		unit = 5
		sps, err := hex.DecodeString(sets[fmt.Sprintf("%dx%d", w, h)])
		if err != nil || len(sps) == 0 {
			src.t.Errorf("no parameter set for %dx%d", w, h)
		}
		pps := []byte{0x68, 0xcb, 0x83, 0xcb, 0x20}
		payloads = append(payloads, stapA(sps, pps))
	}
	for _, flags := range []byte{start, 0, 0, end} {
		payloads = append(payloads, pad([]byte{fragment, flags | unit}))
	}
	return payloads
}

func stapA(units ...[]byte) []byte {
	payload := []byte{0x78}
	for _, unit := range units {
		payload = append(append(payload, byte(len(unit)>>8), byte(len(unit))), unit...)
	}
	return payload
}

// pad fills a payload to packetLoad.
func pad(payload []byte) []byte {
	return append(payload, []byte(strings.Repeat("\x55", packetLoad-len(payload)))...)
}
