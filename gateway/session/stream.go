package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/pulls"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/rates"
	"wcsgateway/gateway/tracing"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// role holds the differences between a published and a played stream.
type role interface {
	// start claims the stream in Redis and sends the offer to LiveKit. It runs off the loop. ctx ends when the
	// client stops the stream before start returns; release and the removal of the participant then undo what
	// start did.
	start(ctx context.Context, st *stream) (started, error)
	// mediaReady reports whether the media has arrived. It runs on the loop after every event about the stream.
	mediaReady(st *stream) bool
	// onMedia announces the stream. It runs on the loop when the media has arrived; for a publisher, when the
	// record is written, too.
	onMedia(st *stream)
	// write updates the stream's record in Redis. It runs off the loop.
	write(ctx context.Context, st *stream, rec state.Stream) error
	// release undoes in Redis what start did. It can be repeated.
	release(ctx context.Context, st *stream) error
}

// kindOfStream is what distinguishes published and played streams.
type kindOfStream struct {
	role        role
	published   bool
	kind        string // ends.Publish or ends.Play
	sfuRole     translate.Role
	startMethod hooks.Method // authorizes the stream
	stopMethod  hooks.Method // notifies of the client's stop
	upStatus    wcs.Status
	stopped     wcs.Status // at a regular end
	stopInfo    string     // at the client's stop
}

var (
	published = &kindOfStream{
		publisher{}, true, ends.Publish, translate.RolePublish, hooks.PublishStream, hooks.UnPublishStream,
		wcs.StatusPublishing, wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop,
	}
	played = &kindOfStream{
		player{}, false, ends.Play, translate.RolePlay, hooks.PlayStream, hooks.StopStream,
		wcs.StatusPlaying, wcs.StatusStopped, wcs.InfoStoppedByUser,
	}
)

// started is the result of start. The first group is set on failure, too.
type started struct {
	room    translate.RoomName
	claimed bool // something may be in Redis
	offered bool // LiveKit may have a participant
	sfuTime time.Duration

	sdp        string // the answer for the client
	candidates translate.Candidates
	kinds      translate.MediaKinds
	tracks     []translate.Track  // player: the tracks that it plays
	publisher  translate.Identity // player: the publisher of the tracks
	sid        string             // of a native publisher's connection
	record     state.Stream       // player: the stream's record; empty for a native publisher
}

type streamPhase int

const (
	phaseAuthorizing streamPhase = iota // the backend is asked for approval
	phaseStarting                       // start is running
	phaseConnecting                     // the client has its answer, the media has not arrived
	phaseUp
)

// streamSpec is what a client requested. It is set once.
type streamSpec struct {
	*kindOfStream
	id       string      // media id
	name     string      // for records, logs and operators; see said
	pull     *pulls.Pull // of a player: the source that it plays; nil: a stream
	provider string
	minKbps  int
	maxKbps  int
	created  time.Time
	inRoom   string // the room of the room API in which it is published; "" if in none
}

// participant is the stream's participant at LiveKit. Except for identity, which start may change, it belongs
// to the loop.
type participant struct {
	identity translate.Identity
	room     translate.RoomName
	claimed  bool // something may be in Redis
	offered  bool // the participant may exist
	joined   bool // ICE and DTLS are up

	candidates translate.Candidates // of LiveKit's answer; empty in a resumed session
}

// streamMedia is what the stream carries. It belongs to the loop.
type streamMedia struct {
	kinds          translate.MediaKinds
	tracks         map[translate.Kind]translate.Track
	awaitingSecond bool            // publisher: one of two tracks has arrived
	secondOverdue  bool            // publisher: it goes on without the second track
	mutes          translate.Mutes // by the publisher
	mutesWait      bool            // they will be announced when the session is allowed to
}

// playedStream is the stream that a player plays. It belongs to the loop.
type playedStream struct {
	publisher     translate.Identity
	publisherSID  string       // of a native publisher's connection: it keeps its identity when it reconnects
	publisherPod  string       // "" is this one, or that of a native publisher
	following     bool         // the publisher has left, and another one of the source is waited for
	pendingUpdate state.Stream // the latest record that arrived before the answer
	shown
}

// stream is one published or played stream of a session, from its command to its end.
type stream struct {
	// set once
	sess *Session
	streamSpec
	launchedAt time.Time          // after the backend's approval
	cancel     context.CancelFunc // of start

	// any goroutine
	settled atomic.Bool // it is up; a player is then polled only for its presence

	// start until it has returned, then the loop
	req wcs.StreamRequest
	participant

	// loop
	phase streamPhase
	streamMedia
	playedStream
	writer   recordWriter
	relay    relay
	rates    *rates.Meter // nil until it is up, and without rates
	egresses egress.Set
	timers   []*time.Timer
	adopt    func(context.Context) error // not nil: the stream may still be another pod's; release needs it to be ours
	ending   *endCause
	notified bool
	trace    tracing.Start
}

// startStream handles publishStream and playStream. It checks the request and starts the stream, after the
// approval of the application's backend. The client gets every fault as the stream's status, unless the media
// id cannot be read.
func (s *Session) startStream(kind *kindOfStream, c wcs.Command) error {
	var req wcs.StreamRequest
	if s.quota().Exhausted(quota.Starts) && c.Bind(&req.StreamRequestHead) == nil && validMediaID(req.MediaSessionID) {
		return s.requestedStream(kind, req).reject(errTooManyRequests) // a flood of offers must not be decoded
	}
	if err := c.Bind(&req); err != nil {
		id, ok := mediaIDOf(c)
		if !ok {
			return err
		}
		req = wcs.StreamRequest{StreamRequestHead: wcs.StreamRequestHead{MediaSessionID: id}}
		return s.requestedStream(kind, req).reject(err)
	}
	if !kind.published && (req.Width != 0 || req.Height != 0 || req.Bitrate != 0 || req.Quality != 0) {
		s.sampled().Str("media", translate.Abridge(req.MediaSessionID, 128)).Int("width", int(req.Width)).Int("height", int(req.Height)).
			Int("bitrate", int(req.Bitrate)).Int("quality", int(req.Quality)).Msg("play parameters ignored")
	}
	st := s.requestedStream(kind, req)
	if err := s.check(st); err != nil {
		return st.reject(err)
	}
	if kind.published && s.app.Rooms {
		st.inRoom = wcs.RoomOf(c.Arg)
	}
	st.trace = tracing.Begin(s.table.Context, s.table.Tracer, string(kind.startMethod), s.app.Key, s.id, st.id)
	s.addStream(st)
	if s.hooks.wants(kind.startMethod) {
		st.authorizeStart(kind.startMethod, c.Arg)
	} else {
		st.launch()
	}
	return nil
}

func (s *Session) addStream(st *stream) {
	if s.streams == nil {
		s.streams = make(map[string]*stream)
	}
	s.streams[st.id] = st
	s.streaming.Add(1)
	s.table.Metrics.Streams.WithLabelValues(st.kind, s.app.Key).Inc()
}

// launch starts the stream off the loop.
func (st *stream) launch() {
	s := st.sess
	st.phase, st.launchedAt = phaseStarting, time.Now()
	if st.published {
		st.minKbps, st.maxKbps = int(st.req.MinBitrate), int(st.req.MaxBitrate)
	}
	st.identity = s.table.NewIdentity(st.sfuRole)
	s.table.streams.add(st)
	var ctx context.Context
	ctx, st.cancel = context.WithCancel(st.trace.In(s.table.Context))

	if err := s.table.Cleanup.CheckBacklog(s.Conn.Key); err != nil {
		st.onStarted(started{}, err)
		return
	}
	async(s, func() (started, error) { return st.role.start(ctx, st) }, st.onStarted)
}

// turn waits until it is the client's turn to make LiveKit start a stream.
func (st *stream) turn(ctx context.Context) (release func(), err error) {
	t := st.sess.table
	ctx, cancel := context.WithTimeout(ctx, t.Config.Media.SFUTimeout)
	defer cancel()
	release, err = t.Turns.Acquire(ctx, st.sess.Conn.Key)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errTooManyRequests
	}
	return release, err
}

func (s *Session) requestedStream(kind *kindOfStream, req wcs.StreamRequest) *stream {
	st := newStream(s, streamSpec{
		kindOfStream: kind, id: req.MediaSessionID, name: req.Name, provider: req.Provider(), created: time.Now(),
	}, translate.MediaKinds{Audio: bool(req.HasAudio), Video: bool(req.HasVideo)})
	st.req = req
	return st
}

func newStream(s *Session, spec streamSpec, kinds translate.MediaKinds) *stream {
	st := &stream{
		sess: s, streamSpec: spec, streamMedia: streamMedia{kinds: kinds, tracks: make(map[translate.Kind]translate.Track)},
	}
	st.writer.st, st.relay.st = st, st
	st.egresses = s.table.Egress.NewSet(egressOwner{st})
	return st
}

// reject answers a publishStream or playStream that is not started.
func (st *stream) reject(err error) error {
	v := classify(err)
	st.sendStatus(wcs.StatusFailed, v.info)
	st.sess.ended(st.kind, v.reason)
	return fmt.Errorf("%w: %w", errAnswered, err)
}

// startMessages is how many messages a start counts as in a client's burst. It takes 1 to 2 ms of a processor
// and some calls to Redis: at the rate of other messages, the starts of one client leave others no processor.
const startMessages = 10

// check checks the request for a stream and takes it from the client's quota.
func (s *Session) check(st *stream) error {
	req := st.req
	switch {
	case st.published && req.RTMPURL != "" && !s.app.RTMPHosts.Allow(req.RTMPURL):
		s.table.Metrics.Egresses.WithLabelValues(string(translate.EgressRTMP), egress.Forbidden).Inc()
		return errRTMP // not ignored: viewers wait for the stream at that address
	case !validMediaID(req.MediaSessionID) || s.table.Settings().Limits.CheckID(req.MediaSessionID) != nil:
		return errMediaIDNull
	case s.streams[req.MediaSessionID] != nil:
		return errMediaIDInUse
	case len(s.streams) >= s.table.Config.MaxStreams:
		return errTooManyStreams
	case req.Provider() != wcs.ProviderWebRTC:
		return errNotWebRTC
	case req.SDP == "":
		return translate.ErrNoMedia
	}
	if err := cmp.Or(s.table.Settings().Limits.CheckCustom(req.Custom), st.rename(req.Name)); err != nil {
		return err
	}
	if !s.quota().Allow(quota.Starts) {
		return errTooManyRequests
	}
	s.conn.Owe(startMessages - 1)
	return nil
}

// validMediaID reports whether a media id is 1 to 128 printable ASCII characters: it becomes part of Redis
// keys and log lines.
func validMediaID(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' })
}

// maxRoomName is LiveKit's default limit for the name of a room, in bytes.
const maxRoomName = 256

func (s *Session) checkName(name string) error {
	if room := s.app.Room.Room(s.app.Key, name); len(room) > maxRoomName || pulls.Reserved(room) {
		return apps.ErrBadName
	}
	return s.table.Settings().Limits.CheckName(name)
}

// onStarted continues after start.
func (st *stream) onStarted(got started, err error) {
	s := st.sess
	st.cancel()
	offerBytes := len(st.req.SDP)
	st.req.SDP = "" // several KB that are not needed any more
	st.room, st.claimed, st.offered, st.publisher, st.publisherSID = got.room, got.claimed, got.offered, got.publisher, got.sid
	st.phase = phaseConnecting
	switch {
	case st.ending != nil: // stopped during start
		st.cleanUp()
		st.removeLate()
		return
	case err != nil:
		st.fail(err)
		return
	}
	st.kinds, st.candidates = got.kinds, got.candidates
	if !st.published {
		st.mutes = mutesOf(got.record)
		st.publisherPod = got.record.Owner.Pod
		if st.pendingUpdate.Identity == string(st.publisher) {
			st.applyMutes(mutesOf(st.pendingUpdate))
		}
	}
	for _, t := range got.tracks {
		st.tracks[t.Kind] = t
	}
	if codec := st.codec(translate.Audio); !st.published && codec != "" {
		s.send(wcs.AudioCodec(st.id, codec))
	}
	s.send(wcs.RemoteSDP(st.id, got.sdp))
	st.trace.Answered(string(st.room), string(st.identity))
	own := time.Since(st.launchedAt) - got.sfuTime
	s.table.Metrics.OwnShare.WithLabelValues(st.kind).Observe(own.Seconds())
	s.log(zerolog.DebugLevel).Str("media", st.id).Int("offer_bytes", offerBytes).Int("answer_bytes", len(got.sdp)).Dur("own_ms", own).Msg("answered")
	s.table.Poller.Add(st.room, st)
	st.after(s.table.Config.Media.ICETimeout, func() {
		if !st.joined {
			st.giveUp()
		}
	})
	st.after(s.table.Config.Media.MediaTimeout, st.giveUp)
	st.progress()
}

// after runs f on the loop unless the stream has ended or is up by then.
func (st *stream) after(d time.Duration, f func()) {
	st.timers = append(st.timers, time.AfterFunc(d, func() {
		st.sess.loop.Post(func() {
			if st.ending == nil && st.phase == phaseConnecting {
				f()
			}
		})
	}))
}

// giveUp ends a stream whose media has not arrived in time.
func (st *stream) giveUp() {
	e := endCause{status: wcs.StatusFailed, info: wcs.InfoFailedByICETimeout, reason: ends.ICETimeout}
	if st.joined {
		e.info, e.reason = wcs.InfoFailedByRTPActivity, ends.RTPActivity
	}
	st.end(e)
}

// progress moves a connecting stream up once its media has arrived.
func (st *stream) progress() {
	if st.ending != nil || st.phase != phaseConnecting || !st.role.mediaReady(st) {
		return
	}
	st.phase = phaseUp
	st.settled.Store(true)
	st.stopTimers()
	st.trace.Up()
	took := time.Since(st.created)
	st.sess.table.Metrics.StartTime.WithLabelValues(st.kind).Observe(took.Seconds())
	st.sess.log(zerolog.InfoLevel).Str("media", st.id).Str("room", string(st.room)).Str("identity", string(st.identity)).
		Dur("dur_ms", took).Msg(st.kind + " is up")
	st.sess.resume.save() // before the client can know that the stream is up
	onMedia := func() { st.role.onMedia(st) }
	if !st.published {
		onMedia()
		onMedia = nil
	}
	st.writer.save(onMedia) // a publisher is announced once other pods can find it
	st.startKeepAliveHook()
}

func (st *stream) stopTimers() {
	for _, t := range st.timers {
		t.Stop()
	}
	st.timers = nil
	st.egresses.Unwatch()
}

// codec returns the name of the codec of a kind, "" without a track of that kind.
func (st *stream) codec(k translate.Kind) string { return translate.CodecName(st.tracks[k].Mime) }

// announce sends client and backend the status of a stream that has come up.
func (st *stream) announce() {
	st.sendStatus(st.upStatus, "")
	st.notifyStatus(st.upStatus, "")
}

// sendStatus sends the stream's status.
func (st *stream) sendStatus(status wcs.Status, info string) {
	st.shown.mutes = st.mutes
	st.sess.sendAs(st.status(status, info).Frame(), st.startMethod, hooks.StreamStatusEvent)
}

func (st *stream) status(status wcs.Status, info string) wcs.StreamStatus {
	video := st.tracks[translate.Video]
	return wcs.StreamStatus{
		StreamHead: st.head(status), AudioCodec: st.codec(translate.Audio), VideoCodec: st.codec(translate.Video), Info: info,
		Record: st.egresses.Recorded(), RecordName: st.egresses.File(),
		Width: video.Width, Height: video.Height, MinBitrate: st.minKbps, MaxBitrate: st.maxKbps, MediaProvider: st.provider,
		CreateDate: st.created.UnixMilli(), MediaType: st.kind,
		AudioState: wcs.MuteState{Muted: st.mutes.Audio}, VideoState: wcs.MuteState{Muted: st.mutes.Video},
	}
}

func (st *stream) head(status wcs.Status) wcs.StreamHead {
	return wcs.StreamHead{
		MediaSessionID: st.id, Name: st.said(), Published: st.published, HasVideo: st.kinds.Video, HasAudio: st.kinds.Audio, Status: status,
	}
}

// fail ends a stream that could not start.
func (st *stream) fail(err error) {
	v := classify(err)
	if !st.published && (errors.Is(err, errNoStream) || errors.Is(err, state.ErrNotFound)) {
		v.info = cmp.Or(st.sess.app.MissingStream, wcs.InfoSessionDoesNotExist)
	}
	// Without Redis, the client is notified at once: the release would wait for Redis again.
	undone := !errors.Is(err, state.ErrUnavailable)
	st.end(endCause{status: wcs.StatusFailed, info: v.info, reason: v.reason, err: err, afterCleanup: undone})
}

func wantsTCP(req wcs.StreamRequest) bool { return req.Transport == "TCP" }
