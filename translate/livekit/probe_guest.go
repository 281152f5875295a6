package livekit

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/livekit/server-sdk-go/v2/signalling"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"wcsgateway/translate"
)

const (
	// silentAfter is how long a track may take to bring its first packet. One that takes longer is silent: LiveKit binds
	// it, and asks its publisher for a key frame, within milliseconds.
	silentAfter = 5 * time.Second
	// goodbyeWait is how long LiveKit may take to let a guest go: milliseconds, if it is there.
	goodbyeWait = time.Second
)

// guest is a hidden participant who looks at one publisher: it subscribes to one audio and one video track, as far as it takes
// them, and to their successors. Signalling is server-sdk-go's. The PeerConnection is not: the SDK's Room has two of them, asks for
// lost packets, looks for names by multicast, asks the STUN servers that LiveKit names, and goes on connecting for
// seconds after it was told to stop.
//
// It implements signalling.SignalHandler and signalling.SignalTransportHandler (probe_signals.go).
type guest struct {
	// set once
	publisher translate.Identity
	pc        *webrtc.PeerConnection
	transport signalling.SignalTransport
	messages  signalling.Signalling
	onTrack   func(*webrtc.TrackRemote) // until the track ends
	onData    func(translate.Data)      // nil: nobody wants it
	connected chan struct{}             // closed when media is up for the first time
	over      chan struct{}             // closed with err
	quiet     chan struct{}             // closed when the signalling connection has ended

	// the goroutine that joins, then the SDK's reader
	welcome *lkproto.JoinResponse
	sid     string // the publisher's
	version uint32 // of what is known of the publisher

	choosing sync.Mutex // held until what was chosen is sent: LiveKit shall get the latest choice last

	readers sync.WaitGroup // added to under mu, while not left

	mu     sync.Mutex
	err    error                  // why it is over
	kinds  translate.MediaKinds   // what it takes
	offers []*lkproto.TrackInfo   // what there is
	upAt   time.Time              // since when media is up; zero while it is not
	tracks map[string]*subscribed // by SID
	left   bool
}

// subscribed is a track that was asked for.
type subscribed struct {
	kind  lkproto.TrackType
	asked time.Time
	came  time.Time // the first packet
}

// join brings a guest into a room. onTrack is called for each track of the publisher once its first packet has come, in
// a goroutine of its own that leave waits for.
func (s *SFU) join(ctx context.Context, t translate.ProbeTarget, kinds translate.MediaKinds, onTrack func(*webrtc.TrackRemote)) (g *guest, err error) {
	defer s.done(OpProbe, time.Now(), t.Room, t.Identity, &err)
	token, err := s.signer.player(translate.PlayOffer{Room: t.Room, Identity: t.Identity}) // it may do the same
	if err != nil {
		return nil, &translate.Error{Kind: translate.ErrKindRefused, Op: OpProbe, Err: err}
	}
	g, err = newGuest(t.Publisher, onTrack)
	if err != nil {
		return nil, failed(ctx, OpProbe, err)
	}
	g.kinds, g.onData = kinds, t.OnData
	if err := g.enter(ctx, s.base, token); err != nil {
		g.leave()
		return nil, err
	}
	return g, nil
}

func newGuest(publisher translate.Identity, onTrack func(*webrtc.TrackRemote)) (*guest, error) {
	pc, err := newGuestConnection()
	if err != nil {
		return nil, err
	}
	// What the SDK logs of a failed call may hold a token.
	log := logger.GetDiscardLogger()
	g := &guest{
		publisher: publisher, pc: pc, onTrack: onTrack,
		messages:  signalling.NewSignalling(signalling.SignallingParams{Logger: log}),
		connected: make(chan struct{}), over: make(chan struct{}), quiet: make(chan struct{}),
		tracks: make(map[string]*subscribed),
	}
	g.transport = signalling.NewSignalTransportWebSocket(signalling.SignalTransportWebSocketParams{
		Logger: log, Version: lksdk.Version, Protocol: lksdk.PROTOCOL,
		Signalling: g.messages, SignalTransportHandler: g, SignalHandler: g,
	})
	pc.OnTrack(g.receive)
	pc.OnDataChannel(g.listen)
	pc.OnConnectionStateChange(g.connectionChanged)
	return g, nil
}

// enter joins, subscribes, and waits for media to be up.
func (g *guest) enter(ctx context.Context, url, token string) error {
	if err := g.dial(ctx, url, token); err != nil {
		return failed(ctx, OpProbe, err)
	}
	if g.welcome == nil { // LiveKit said something else, perhaps goodbye
		g.end(lost(errors.New("no join response")))
		return g.reason()
	}
	present := false
	for _, p := range g.welcome.GetOtherParticipants() {
		if p.GetIdentity() == string(g.publisher) {
			present = true
			g.follow(p)
		}
	}
	g.transport.Start()
	if !present {
		return gone(errors.New("publisher is not in the room"))
	}
	select {
	case <-g.connected:
		return nil
	case <-g.over:
		return g.reason()
	case <-ctx.Done():
		return failed(ctx, OpProbe, fmt.Errorf("media is not up: %w", ctx.Err()))
	}
}

// dial connects and waits for LiveKit's first message. The SDK does so without a limit, so the connection is taken
// from it when ctx is done.
func (g *guest) dial(ctx context.Context, url, token string) error {
	release := func() bool { return true }
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		release = context.AfterFunc(ctx, func() { _ = info.Conn.Close() }) // its reader learns of it
	}}
	// Without the parameter adaptive_stream LiveKit sends the best quality there is.
	err := g.transport.Join(httptrace.WithClientTrace(ctx, trace), url, token, signalling.ConnectParams{}, nil, webrtc.SessionDescription{})
	release()
	return err
}

// leave ends everything and waits for it.
func (g *guest) leave() {
	g.mu.Lock()
	g.left = true
	g.mu.Unlock()
	g.sayGoodbye()
	g.transport.Close()
	_ = g.pc.GracefulClose() // nothing of it is needed any more
	g.readers.Wait()
}

// sayGoodbye tells LiveKit, which else would wait 15 s for the guest to come back, and waits until it has closed the
// connection: closed from here while something of LiveKit's is still unread, the goodbye would be lost with it.
func (g *guest) sayGoodbye() {
	if !g.transport.IsStarted() {
		return
	}
	leave := &lkproto.LeaveRequest{Reason: lkproto.DisconnectReason_CLIENT_INITIATED}
	if err := g.transport.SendMessage(g.messages.SignalLeaveRequest(leave)); err != nil {
		return // the connection is lost already
	}
	limit := time.NewTimer(goodbyeWait)
	defer limit.Stop()
	select {
	case <-g.quiet:
	case <-limit.C:
	}
}

// end says why it is over. The first reason counts.
func (g *guest) end(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
		close(g.over)
	}
}

// reason is why it is over.
func (g *guest) reason() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// settled gives the time since when all that the publisher sends arrives here, zero if it does not: media is up, and
// each track has brought something or is silent.
func (g *guest) settled(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil || g.upAt.IsZero() {
		return time.Time{}
	}
	since := g.upAt
	for _, t := range g.tracks {
		at := t.came
		if at.IsZero() {
			at = t.asked.Add(silentAfter)
		}
		if at.After(now) {
			return time.Time{}
		}
		if at.After(since) {
			since = at
		}
	}
	return since
}

// askKeyFrame asks for a key frame.
func (g *guest) askKeyFrame(ssrc webrtc.SSRC) {
	// An error is that of a connection that is lost.
	_ = g.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(ssrc)}})
}

// receive is called with each track once its first packet has come.
func (g *guest) receive(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	g.mu.Lock()
	if g.left {
		g.mu.Unlock()
		return
	}
	if t := g.tracks[track.ID()]; t != nil && t.came.IsZero() {
		t.came = time.Now()
	}
	g.readers.Go(func() { g.onTrack(track) })
	g.readers.Go(func() { drain(receiver) })
	g.mu.Unlock()
}

// drain reads the sender reports, which pion would keep.
func drain(receiver *webrtc.RTPReceiver) {
	packet := make([]byte, packetSize)
	for {
		if _, _, err := receiver.Read(packet); err != nil {
			return
		}
	}
}

// connectionChanged is called in no certain order.
func (g *guest) connectionChanged(webrtc.PeerConnectionState) {
	state := g.pc.ConnectionState()
	if state == webrtc.PeerConnectionStateFailed {
		g.end(lost(errors.New("media connection failed")))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case state != webrtc.PeerConnectionStateConnected:
		g.upAt = time.Time{}
	case g.upAt.IsZero():
		g.upAt = time.Now()
		select {
		case <-g.connected:
		default:
			close(g.connected)
		}
	}
}
