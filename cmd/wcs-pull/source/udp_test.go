package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	rtpformat "github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// overUDP changes a job to ask for UDP.
func overUDP(j *Job) { j.UDP = true }

func TestCameraIsReadOverUDPWhereThePullAsksForIt(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSPOverUDP(t, "admin", "pass word")
	server.Camera("cam", "640x360", rig.CameraH264, rig.CameraG711)
	for _, udp := range []bool{true, false} {
		s := start1(t, server.URL("cam"), func(j *Job) { j.UDP = udp })
		s.await(pull.Running)
		s.frames(50, 50)
		s.stop()
		if s.room.keys == 0 || s.room.reorders > 0 {
			t.Errorf("UDP %v: %d key frames, %d frames out of order", udp, s.room.keys, s.room.reorders)
		}
	}
	if all, over := server.Readers(), server.ReadersOverUDP(); all != 2 || over != 1 {
		t.Errorf("%d reads, %d of them over UDP, want 2 and 1", all, over)
	}
}

// A camera without UDP is read over TCP, also when it was lost and returns.
func TestCameraWithoutUDPIsReadOverTCP(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSP(t, "admin", "secret")
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	s := start1(t, server.URL("cam"), overUDP)
	s.await(pull.Running)
	s.frames(5, 5)
	server.Stop()
	s.await(pull.Interrupted)
	server.Start()
	server.Camera("cam", "320x180", rig.CameraH264, rig.CameraG711)
	s.await(pull.Running)
	s.frames(5, 5)
}

// withUDP answers as a server that has UDP, with media from a socket of its own.
func withUDP(t *testing.T, c *oddCamera, parameters string) (media *net.UDPConn) {
	t.Helper()
	media, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = media.Close() })
	port := strconv.Itoa(localPort(media))
	c.setup = func(transport string) string {
		if !strings.Contains(transport, "client_port=") {
			return "RTP/AVP/TCP;unicast;interleaved=0-1"
		}
		c.player.Store(uint32(portAfter(transport, "client_port=")))
		return transport + ";server_port=" + port + "-" + port + parameters
	}
	return media
}

func portAfter(header, key string) int {
	_, rest, _ := strings.Cut(header, key)
	text, _, _ := strings.Cut(rest, "-")
	port, _ := strconv.Atoi(text) // 0 is no port
	return port
}

func TestCameraThatSendsNothingOverUDPIsReadOverTCP(t *testing.T) {
	t.Parallel()
	c := &oddCamera{sdp: sdpAudio}
	withUDP(t, c, "")
	c.play = func(ctx context.Context, send func(byte, []byte)) {
		if c.conns.Load() == 1 {
			<-ctx.Done()
			return
		}
		each(ctx, 20*time.Millisecond, func(i int) bool {
			send(0, rtpOf(0, uint16(i), uint32(i*160), true, make([]byte, 160)...))
			return true
		})
	}
	room := &fakeRoom{lost: make(chan struct{})}
	r := testRunner(t, room)
	r.publish = func(context.Context, translate.PullTarget) (Publisher, error) { return waitingRoom{room}, nil }
	s := begin(t, r, room, startOdd(t, c), overUDP)
	s.await(pull.Running)
	s.frames(0, 10)
	if c.conns.Load() != 2 {
		t.Errorf("%d connections, want 2", c.conns.Load())
	}
}

// Packets count only from the address that was dialled and the port that the server named. What the server
// says about other addresses changes nothing, and nothing is sent to them.
func TestPacketsOfOthersAreNotTaken(t *testing.T) {
	c := &oddCamera{sdp: sdpAudio}
	media := withUDP(t, c, ";source=127.0.0.2;destination=127.0.0.2")
	elsewhere, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: localPort(media)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = elsewhere.Close() }()
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	c.play = func(ctx context.Context, _ func(byte, []byte)) {
		player := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(c.player.Load())}
		each(ctx, 20*time.Millisecond, func(i int) bool {
			packet := rtpOf(0, uint16(i), uint32(i*160), true, make([]byte, 100)...)
			for _, stranger := range []*net.UDPConn{elsewhere, other} {
				_, _ = stranger.WriteTo(packet, player) // the test looks at what the pull does
			}
			_, _ = media.WriteTo(append(packet, make([]byte, 60)...), player)
			return true
		})
	}
	s := start1(t, startOdd(t, c), overUDP)
	s.frames(0, 50)
	s.stop()
	if s.room.bytes != 160*len(s.room.audio) {
		t.Errorf("%d bytes in %d frames, want 160 in each: those of strangers have 100", s.room.bytes, len(s.room.audio))
	}
	if c.conns.Load() != 1 {
		t.Errorf("%d connections, want 1", c.conns.Load())
	}
	for name, socket := range map[string]*net.UDPConn{"the other address": elsewhere, "the other port": other} {
		_ = socket.SetReadDeadline(time.Now())
		if n, _, err := socket.ReadFrom(make([]byte, 1500)); err == nil {
			t.Errorf("%s got %d bytes", name, n)
		}
	}
	_ = media.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := media.ReadFrom(make([]byte, 1500)); err != nil {
		t.Errorf("the camera got nothing: %v", err)
	}
}

func TestAnswersToSetup(t *testing.T) {
	for header, want := range map[string]string{
		"RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001":                  "6000 6001",
		"RTP/AVP/UDP;unicast;source=10.0.0.1;server_port=6000-7000;ssrc=1":             "6000 7000",
		"RTP/AVP;unicast; server_port=6000":                                            "6000 6001",
		"RTP/AVP;unicast;server_port=53-6001":                                          "",
		"RTP/AVP;unicast;server_port=6000-161":                                         "",
		"RTP/AVP;unicast;server_port=65535":                                            "",
		"RTP/AVP;unicast;server_port=x-y":                                              "",
		"RTP/AVP;unicast;server_port=-1":                                               "",
		"RTP/AVP;unicast;client_port=5000-5001":                                        "",
		"RTP/AVP;multicast;destination=239.0.0.1;port=6000-6001;server_port=6000-6001": "",
		"RTP/AVP/TCP;unicast;interleaved=0-1;server_port=6000-6001":                    "",
		"": "",
	} {
		f := &flow{host: netip.MustParseAddr("192.0.2.1")}
		got := ""
		if f.answered(base.HeaderValue{header}) {
			got = strconv.Itoa(int(f.media.Port())) + " " + strconv.Itoa(int(f.controls.Port()))
			if f.media.Addr() != f.host || f.controls.Addr() != f.host {
				t.Errorf("%q leads to %v and %v", header, f.media, f.controls)
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q", header, got, want)
		}
	}
}

// The library would resolve a name in the answer to SETUP.
func TestAddressesOfAnAnswerAreRemoved(t *testing.T) {
	r := &base.Response{Header: base.Header{"Transport": base.HeaderValue{"RTP/AVP/TCP;unicast;source=a.example.com; destination=b;interleaved=0-1"}}}
	withoutNames(r)
	if got, want := r.Header["Transport"][0], "RTP/AVP/TCP;unicast;interleaved=0-1"; got != want {
		t.Errorf("header %q, want %q", got, want)
	}
}

func TestPacketsAreOrdered(t *testing.T) {
	const late = orderWait
	type event struct {
		number uint16
		after  time.Duration
	}
	for name, tt := range map[string]struct {
		events []event
		want   []uint16
	}{
		"in order":           {[]event{{7, 0}, {8, 0}, {9, 0}}, []uint16{7, 8, 9}},
		"swapped":            {[]event{{7, 0}, {9, 0}, {8, 0}, {10, 0}}, []uint16{7, 8, 9, 10}},
		"twice":              {[]event{{7, 0}, {7, 0}, {9, 0}, {9, 0}, {8, 0}}, []uint16{7, 8, 9}},
		"around zero":        {[]event{{65534, 0}, {0, 0}, {65535, 0}, {1, 0}}, []uint16{65534, 65535, 0, 1}},
		"missing, so far":    {[]event{{7, 0}, {9, 0}, {10, late - 1}}, []uint16{7}},
		"lost":               {[]event{{7, 0}, {9, 0}, {10, late}}, []uint16{7, 9, 10}},
		"lost, and late":     {[]event{{7, 0}, {9, 0}, {10, late}, {8, 0}, {11, 0}}, []uint16{7, 9, 10, 11}},
		"two are lost":       {[]event{{7, 0}, {9, 0}, {11, late}, {12, late}}, []uint16{7, 9, 11, 12}},
		"sender starts over": {[]event{{7, 0}, {8, 0}, {30000, 0}, {30001, 0}}, []uint16{7, 8, 30000, 30001}},
	} {
		t.Run(name, func(t *testing.T) {
			var o inOrder
			var got []uint16
			now := time.Now()
			for _, e := range tt.events {
				now = now.Add(e.after)
				o.put(e.number, binary.BigEndian.AppendUint16(nil, e.number), now)
				for packet := range o.ready(now) {
					got = append(got, binary.BigEndian.Uint16(packet))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if due := o.due(); due.IsZero() != (len(o.held) == 0) {
				t.Errorf("due at %v with %d packets", due, len(o.held))
			}
		})
	}
}

// However packets are numbered, few are kept.
func TestPacketsThatAreKeptAreBounded(t *testing.T) {
	var o inOrder
	now := time.Now()
	most := 0
	o.put(0, nil, now)
	for range o.ready(now) {
	}
	for i := range 1 << 13 {
		o.put(uint16(i*7), nil, now)
		for range o.ready(now) {
		}
		most = max(most, len(o.held))
	}
	if most == 0 || most > orderHeld {
		t.Errorf("%d packets are kept, want up to %d", most, orderHeld)
	}
}

// A frame of which packets are missing is left out, whichever they are, and no other one.
func TestFramesWithMissingPacketsAreLeftOut(t *testing.T) {
	type packet struct {
		number uint16
		frame  uint32
		marker bool
	}
	// Frames of 3 packets.
	at := func(number uint16) packet { return packet{number, uint32(number / 3), number%3 == 2} }
	for name, tt := range map[string]struct {
		missing []uint16
		left    []uint32 // frames
	}{
		"none": {nil, nil}, "first": {[]uint16{6}, []uint32{2}}, "middle": {[]uint16{7}, []uint32{2}}, "last": {[]uint16{8}, []uint32{2}},
		"last and first": {[]uint16{8, 9}, []uint32{2, 3}}, "all": {[]uint16{6, 7, 8}, []uint32{2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			track := newRTSPTrack(&rtpformat.H264{PayloadTyp: 96, PacketizationMode: 1})
			var got []uint32
			for number := uint16(0); number < 18; number++ {
				if slices.Contains(tt.missing, number) {
					continue
				}
				p := at(number)
				payload := []byte{0x7c, 0x05, 0x10 + byte(p.frame), 0x10 + byte(number)} // of a key frame in fragments
				payload[1] |= map[uint16]byte{0: 0x80, 2: 0x40}[number%3]
				in := &rtp.Packet{Header: rtp.Header{SequenceNumber: number, Timestamp: p.frame, Marker: p.marker}, Payload: payload}
				if !track.whole(in) {
					continue
				}
				unit, err := track.decode(in)
				if err != nil {
					continue
				}
				if len(unit) != 1 || len(unit[0]) != 7 {
					t.Errorf("frame %d is %v", p.frame, unit)
				}
				got = append(got, p.frame)
			}
			var want []uint32
			for frame := range uint32(6) {
				if !slices.Contains(tt.left, frame) {
					want = append(want, frame)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("frames %v, want %v", got, want)
			}
		})
	}
}

// keptUnits is a sink that keeps the frames of video.
type keptUnits struct{ units [][][]byte }

func (k *keptUnits) WriteVideo(unit [][]byte, _ time.Duration) error {
	k.units = append(k.units, unit)
	return nil
}

func (*keptUnits) WriteAudio([]byte, time.Duration) error { return nil }

// Parameter sets that only the description has go with each key frame, until the frames have their own.
func TestEachKeyFrameHasParameterSets(t *testing.T) {
	described := &rtpformat.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: []byte{0x67, 1}, PPS: []byte{0x68, 1}}
	rd := &rtspReader{video: newRTSPTrack(described), sets: parameterSets(described)}
	var got keptUnits
	for i, nal := range [][]byte{{0x65, 1}, {0x41, 1}, {0x65, 2}, {0x67, 2}, {0x65, 3}} {
		p := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Timestamp: uint32(i), Marker: true}, Payload: nal}
		if err := rd.onVideo(p, &got); err != nil {
			t.Fatal(err)
		}
	}
	want := [][][]byte{{{0x67, 1}, {0x68, 1}, {0x65, 1}}, {{0x41, 1}}, {{0x67, 1}, {0x68, 1}, {0x65, 2}}, {{0x67, 2}}, {{0x65, 3}}}
	if !reflect.DeepEqual(got.units, want) {
		t.Errorf("got %v, want %v", got.units, want)
	}
}

// unitRoom is a fakeRoom that knows each frame of video, and the longest time without sound.
type unitRoom struct {
	fakeRoom
	units map[[32]byte]bool
	heard time.Time
	pause time.Duration
}

func (u *unitRoom) WriteVideo(unit [][]byte, at time.Duration) error {
	hash := sha256.New()
	for _, nal := range unit {
		if nal[0]&0x1f <= 5 { // slices: parameter sets are added to the first key frame
			hash.Write(nal)
		}
	}
	u.mu.Lock()
	u.units[[32]byte(hash.Sum(nil))] = true
	u.mu.Unlock()
	return u.fakeRoom.WriteVideo(unit, at)
}

func (u *unitRoom) WriteAudio(frame []byte, at time.Duration) error {
	u.mu.Lock()
	if now := time.Now(); !u.heard.IsZero() {
		u.pause, u.heard = max(u.pause, now.Sub(u.heard)), now
	} else {
		u.heard = now
	}
	u.mu.Unlock()
	return u.fakeRoom.WriteAudio(frame, at)
}

func (u *unitRoom) seen() (units [][32]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for unit := range u.units {
		units = append(units, unit)
	}
	return units
}

// On the way of a camera that loses one packet in fifty, each frame that arrives is one that the camera sent,
// most arrive, and sound goes on.
func TestLostPacketsCostOnlyTheirFrames(t *testing.T) {
	t.Parallel()
	server := rig.StartRTSPOverUDP(t, "admin", "secret")
	server.Camera("cam", "640x360", rig.CameraH264, rig.CameraG711)
	relay := rig.StartRTSPRelay(t, server.Port)
	relay.Impair(rig.Impairment{Up: rig.Direction{Loss: 0.02}, Down: rig.Direction{Loss: 0.02}})
	rooms := map[bool]*unitRoom{}
	pulls := map[bool]*started{}
	for _, udp := range []bool{false, true} {
		room := &unitRoom{fakeRoom: fakeRoom{lost: make(chan struct{})}, units: map[[32]byte]bool{}}
		r := testRunner(t, &room.fakeRoom)
		r.publish = func(context.Context, translate.PullTarget) (Publisher, error) { return room, nil }
		url := strings.Replace(server.URL("cam"), strconv.Itoa(server.Port), strconv.Itoa(relay.Port), 1)
		s := begin(t, r, &room.fakeRoom, url, func(j *Job) { j.UDP = udp })
		s.await(pull.Running)
		rooms[udp], pulls[udp] = room, s
	}
	pulls[true].frames(150, 250)
	all := rooms[false].seen()
	pulls[true].stop()
	arrived := rooms[true].seen()
	rig.Eventually(t, patience, "the same frames arrive over TCP", func() bool {
		all = rooms[false].seen()
		return !slices.ContainsFunc(arrived, func(unit [32]byte) bool { return !slices.Contains(all, unit) })
	})
	_, down := relay.Traffic()
	if down.Lost == 0 || server.ReadersOverUDP() != 1 {
		t.Errorf("%d packets were lost, %d readers over UDP", down.Lost, server.ReadersOverUDP())
	}
	room := rooms[true]
	if len(arrived) == len(all) || room.reorders > 0 {
		t.Errorf("%d of %d frames arrived, %d out of order", len(arrived), len(all), room.reorders)
	}
	t.Logf("%d packets lost, %d frames of %d arrived, sound paused for at most %v", down.Lost, len(arrived), len(all), room.pause)
}

func TestPictureAndSoundOverUDPReachPlayers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	server := rig.StartRTSPOverUDP(t, "admin", "secret")
	server.Camera("cam", "640x360", rig.CameraH264, rig.CameraG711)
	relay := rig.StartRTSPRelay(t, server.Port)
	relay.Impair(rig.Impairment{Down: rig.Direction{Loss: 0.02}})
	url := strings.Replace(server.URL("cam"), strconv.Itoa(server.Port), strconv.Itoa(relay.Port), 1)
	p := begin(t, s.runner, &fakeRoom{}, url, func(j *Job) { j.Room, j.Identity, j.UDP = string(testRoom), "wcs-pull-1-1", true })
	p.await(pull.Running)
	peer := s.play(rig.PeerOptions{Audio: true, Video: true})
	s.flows(peer, translate.Audio, translate.Video)
	_, before := relay.Traffic()
	rig.Eventually(t, patience, "packets are lost", func() bool { _, down := relay.Traffic(); return down.Lost > before.Lost+10 })
	s.flows(peer, translate.Audio, translate.Video)
	select {
	case <-peer.Picture():
	case <-time.After(patience):
		t.Error("no key frame arrives")
	}
	if server.ReadersOverUDP() != 1 || server.Readers() != 1 {
		t.Errorf("%d readers, %d over UDP, want 1 and 1", server.Readers(), server.ReadersOverUDP())
	}
}
