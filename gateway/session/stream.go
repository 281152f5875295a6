package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/cleanup"
	"wcsgateway/gateway/egress"
	"wcsgateway/gateway/hooks"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// role is what differs between a published and a played stream.
type role interface {
	// start runs off the loop: claim, ask LiveKit. ctx ends when the client stops the stream meanwhile; what
	// start has done by then is undone by release and by removing the participant.
	start(ctx context.Context, st *stream) (started, error)
	// ready runs on the loop whenever something was learnt about the stream: is its media there?
	ready(st *stream) bool
	// up runs on the loop when the media is there.
	up(st *stream)
	// write brings the stream's record in Redis up to date, off the loop.
	write(ctx context.Context, st *stream, rec state.Stream) error
	// release undoes in Redis what start did. It may be repeated.
	release(ctx context.Context, st *stream) error
}

// started is what start has done and learnt. What stands first is set on failure, too.
type started struct {
	room    translate.RoomName
	claimed bool // something may be in Redis
	offered bool // LiveKit may have a participant
	sfuTime time.Duration

	sdp       string // the answer for the client
	kinds     translate.MediaKinds
	tracks    []translate.Track  // player: what it plays
	publisher translate.Identity // player: of whom
	record    state.Stream       // player: of what; empty for a native publisher
}

type streamPhase int

const (
	phaseAsking     streamPhase = iota // the backend is asked whether it may start
	phaseStarting                      // start is running
	phaseConnecting                    // the client has its answer, media is not there yet
	phaseUp
)

// streamSpec is what a client requested. It is set once.
type streamSpec struct {
	published bool
	id        string // media id
	name      string
	provider  string
	minKbps   int
	maxKbps   int
	created   time.Time
	inRoom    string // the room of the room API in which it is published; "" if in none
}

// participant is the stream's participant at LiveKit. Except for identity, which start may change, it belongs to the loop.
type participant struct {
	identity translate.Identity
	room     translate.RoomName
	claimed  bool // something may be in Redis
	offered  bool // the participant may exist
	joined   bool // ICE and DTLS are up
}

// streamMedia is what the stream carries. It belongs to the loop.
type streamMedia struct {
	kinds            translate.MediaKinds
	tracks           map[translate.Kind]translate.Track
	waitingForSecond bool            // publisher: one of two tracks has arrived
	mutes            translate.Mutes // by the publisher
}

// playedStream is the stream that a player plays. It belongs to the loop.
type playedStream struct {
	publisher     translate.Identity
	publisherPod  string       // "" is this one, or that of a native publisher
	pendingUpdate state.Stream // the latest record that arrived before the answer
}

// stream is one published or played stream of a session, from its command to its end.
type stream struct {
	// set once
	sess *Session
	role role
	streamSpec
	startedAt time.Time          // after the backend's approval
	cancel    context.CancelFunc // of start

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
	rates    *rateMeter // nil until it is up, and without rates
	egresses egress.Set
	timers   []*time.Timer
	adopt    func(context.Context) error // not nil: the stream may still be another pod's; release needs it to be ours
	ending   *ending
	told     bool
	trace    startTrace
}

// ending is how a stream ends.
type ending struct {
	status wcs.Status
	info   string
	class  class
	silent bool         // there is no client to tell
	undone bool         // tell the client only after everything is released
	moved  bool         // another pod has the stream, or will have: nothing is undone
	since  time.Time    // set by end
	timing notifyTiming // player: that its publisher has ended
}

// begin checks a request and starts the stream, once the application's backend agrees. The client is told of every fault in
// the stream's status. arg is the request as it came.
func (s *Session) begin(r role, published bool, req wcs.StreamRequest, arg json.RawMessage) error {
	if err := s.check(req); err != nil {
		return s.rejectStream(published, req, err)
	}
	st := newStream(s, published, req)
	st.role = r
	if published && s.app.Rooms {
		st.inRoom = wcs.RoomOf(arg)
	}
	st.beginTrace()
	s.addStream(st)
	if m := st.startMethod(); s.hooks.wants(m) {
		st.authorizeStart(m, arg)
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
	s.table.Metrics.Streams.WithLabelValues(st.kind()).Inc()
}

// launch starts the stream off the loop.
func (st *stream) launch() {
	s := st.sess
	st.phase, st.startedAt = phaseStarting, time.Now()
	sfuRole := translate.RolePlay
	if st.published {
		sfuRole = translate.RolePublish
		st.minKbps, st.maxKbps = int(st.req.MinBitrate), int(st.req.MaxBitrate)
	}
	st.identity = s.table.NewIdentity(sfuRole)
	s.table.streams.add(st)
	var ctx context.Context
	ctx, st.cancel = context.WithCancel(st.trace.in(s.table.Context))

	async(s, func() (started, error) { return st.role.start(ctx, st) }, st.onStarted)
}

func newStream(s *Session, published bool, req wcs.StreamRequest) *stream {
	st := &stream{
		sess: s, req: req,
		streamSpec: streamSpec{
			published: published, id: req.MediaSessionID, name: req.Name, provider: req.Provider(), created: time.Now(),
		},
		streamMedia: streamMedia{
			kinds:  translate.MediaKinds{Audio: bool(req.HasAudio), Video: bool(req.HasVideo)},
			tracks: make(map[translate.Kind]translate.Track),
		},
	}
	st.addComponents()
	return st
}

// addComponents connects the stream's components to it.
func (st *stream) addComponents() {
	st.writer.st, st.relay.st = st, st
	st.egresses = st.sess.table.Egress.NewSet(egressOwner{st})
}

// rejectStream answers a publishStream or playStream that does not even start.
func (s *Session) rejectStream(published bool, req wcs.StreamRequest, err error) error {
	newStream(s, published, req).tellStatus(wcs.StatusFailed, classify(err).info)
	return fmt.Errorf("%w: %w", errAnswered, err)
}

func (s *Session) check(req wcs.StreamRequest) error {
	switch {
	case !validMediaID(req.MediaSessionID) || s.table.Settings().Limits.checkID(req.MediaSessionID) != nil:
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
	if err := s.table.Settings().Limits.checkCustom(req.Custom); err != nil {
		return err
	}
	return s.checkName(req.Name)
}

// validMediaID: design.md §2.
func validMediaID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// maxRoomName is LiveKit's default limit for the name of a room, in bytes.
const maxRoomName = 256

func (s *Session) checkName(name string) error {
	if len(s.app.Room.Room(s.app.Key, name)) > maxRoomName {
		return ErrBadName
	}
	return s.table.Settings().Limits.checkName(name)
}

func (st *stream) kind() string {
	if st.published {
		return "publish"
	}
	return "play"
}

// onStarted goes on when start has returned.
func (st *stream) onStarted(got started, err error) {
	s := st.sess
	st.cancel()
	offerBytes := len(st.req.SDP)
	st.req.SDP = "" // several KB that nobody needs any more
	st.room, st.claimed, st.offered, st.publisher = got.room, got.claimed, got.offered, got.publisher
	st.phase = phaseConnecting
	switch {
	case st.ending != nil: // stopped meanwhile
		st.undo()
		return
	case err != nil:
		st.fail(err)
		return
	}
	st.kinds = got.kinds
	if !st.published { // whose own state it is otherwise
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
	st.trace.answered(st)
	own := time.Since(st.startedAt) - got.sfuTime
	s.table.Metrics.OwnShare.WithLabelValues(st.kind()).Observe(own.Seconds())
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

// giveUp ends a stream whose media has not come in time (design.md §9).
func (st *stream) giveUp() {
	info := wcs.InfoFailedByICETimeout
	if st.joined {
		info = wcs.InfoFailedByRTPActivity
	}
	st.end(ending{status: wcs.StatusFailed, info: info, class: classClient})
}

// progress moves a connecting stream on if its media is there.
func (st *stream) progress() {
	if st.ending == nil && st.phase == phaseConnecting && st.role.ready(st) {
		st.becomeUp()
	}
}

func (st *stream) becomeUp() {
	st.phase = phaseUp
	st.settled.Store(true)
	st.stopTimers()
	st.trace.up()
	took := time.Since(st.created)
	st.sess.table.Metrics.StartTime.WithLabelValues(st.kind()).Observe(took.Seconds())
	st.sess.log(zerolog.InfoLevel).Str("media", st.id).Str("room", string(st.room)).Str("identity", string(st.identity)).
		Dur("dur_ms", took).Msg(st.kind() + " is up")
	st.role.up(st)
	st.startKeepAliveHook()
	st.sess.resume.save()
}

func (st *stream) stopTimers() {
	for _, t := range st.timers {
		t.Stop()
	}
	st.timers = nil
	st.egresses.Unwatch()
}

// codec is the name of the codec of a kind, "" without such a track.
func (st *stream) codec(k translate.Kind) string { return translate.CodecName(st.tracks[k].Mime) }

// tellStatus sends the stream's status.
func (st *stream) tellStatus(status wcs.Status, info string) {
	video := st.tracks[translate.Video]
	st.sess.sendAs(wcs.StreamStatus{
		MediaSessionID: st.id, Name: st.name, Published: st.published,
		HasVideo: st.kinds.Video, HasAudio: st.kinds.Audio, Status: status,
		AudioCodec: st.codec(translate.Audio), VideoCodec: st.codec(translate.Video), Info: info,
		Width: video.Width, Height: video.Height, MinBitrate: st.minKbps, MaxBitrate: st.maxKbps,
		Created: st.created, MediaProvider: st.provider,
		AudioMuted: st.mutes.Audio, VideoMuted: st.mutes.Video, Record: st.egresses.Recorded(), RecordName: st.egresses.File(),
	}.Frame(), st.startMethod(), hooks.StreamStatusEvent)
}

// announce tells client and backend, in this order, the stream's status.
func (st *stream) announce(status wcs.Status, info string) {
	st.tellStatus(status, info)
	st.notifyStatus(status, info)
}

// fail ends a stream that could not start.
func (st *stream) fail(err error) {
	v := classify(err)
	if errors.Is(err, context.Canceled) { // by the gateway's own end
		v.level = zerolog.DebugLevel
	}
	log := st.sess.sampledAt
	if v.class == classInternal {
		log = st.sess.log
	}
	log(v.level).Err(err).Str("media", st.id).Str("room", string(st.room)).
		Str("identity", string(st.identity)).Str("class", string(v.class)).Msg(st.kind() + " failed")
	// Redis being away, the client is told at once: what is undone only then would wait for Redis once more.
	undone := !errors.Is(err, state.ErrUnavailable)
	st.end(ending{status: wcs.StatusFailed, info: v.info, class: v.class, undone: undone})
}

// end ends the stream, once: the first reason counts.
func (st *stream) end(e ending) {
	if st.ending != nil {
		if e.silent {
			st.ending.silent = true
			st.tell() // the backend only
		}
		return
	}
	e.since = time.Now()
	st.ending = &e
	st.trace.failed(e)
	st.stopTimers()
	st.sess.table.Poller.Remove(st.room, st)
	st.stopRates()
	if st.phase == phaseUp && !e.moved {
		st.updateRoom()
	}
	if !e.undone {
		st.tell()
	}
	switch {
	case st.phase == phaseAsking:
		st.finished() // nothing has begun
	case st.phase == phaseStarting:
		st.cancel() // onStarted goes on
	case st.writer.saving: // onSaved goes on: a record that is written after its release would stay for good
	default:
		st.undo()
	}
}

// tell sends the terminal status to client and backend, once.
func (st *stream) tell() {
	e := st.ending
	if st.told || e.moved {
		return
	}
	st.told = true
	if !e.silent {
		st.tellStatus(e.status, e.info)
		st.sess.observeDelivered(e.timing)
	}
	st.notifyStatus(e.status, e.info)
}

// stopped is the terminal status of a stream that was stopped.
func (st *stream) stopped() wcs.Status {
	if st.published {
		return wcs.StatusUnpublished
	}
	return wcs.StatusStopped
}

// UndoWait bounds how long a client waits for its UNPUBLISHED or STOPPED while LiveKit or Redis is slow.
const UndoWait = 1500 * time.Millisecond

// undo removes the participant and releases what is claimed. What fails stays owed.
func (st *stream) undo() {
	if st.ending.moved {
		st.finished()
		st.sess.reapUnadopted(st)
		return
	}
	t := st.sess.table
	released := func() {}
	if st.published && st.claimed {
		released = t.streams.releasing(st.name)
		t.publisherEnded(st.name, st.identity, notifyTiming{stageLocal, st.ending.since})
	}
	room, offered, claimed, expiry := st.room, st.offered, st.claimed, cleanup.Expiry
	if !st.joined {
		expiry = cleanup.ExpiryNeverUp
	}
	egresses := st.egresses.StopAll()
	st.sess.offLoop(func() {
		defer released()
		limit := time.NewTimer(UndoWait)
		defer limit.Stop()
		for _, ended := range egresses {
			waitFor(limit, ended)
		}
		if offered {
			// First the participant, then the name: whoever gets the name next shall find the room empty.
			waitFor(limit, t.Cleanup.RemoveParticipant(room, st.identity, expiry))
		}
		if claimed {
			waitFor(limit, t.Cleanup.Add(cleanup.StoreTask("release stream", st.release)))
		}
	}, st.finished)
}

// release undoes in Redis what start did.
func (st *stream) release(ctx context.Context) error {
	if st.adopt != nil {
		if err := st.adopt(ctx); err != nil {
			if errors.Is(err, state.ErrNotFound) || errors.Is(err, state.ErrLostOwnership) {
				return nil // it is over, or another client's
			}
			return err
		}
	}
	return st.role.release(ctx, st)
}

func waitFor(limit *time.Timer, done <-chan struct{}) {
	select {
	case <-done:
	case <-limit.C:
		limit.Reset(0) // over for whatever comes next, too
	}
}

// finished runs on the loop when everything is released, or owed.
func (st *stream) finished() {
	s := st.sess
	delete(s.streams, st.id)
	s.streaming.Add(-1)
	s.table.streams.remove(st)
	s.table.Metrics.Streams.WithLabelValues(st.kind()).Dec()
	s.table.Metrics.Ends.WithLabelValues(st.kind(), string(st.ending.class)).Inc()
	st.tell()
	s.resume.recordEnd(st)
	log := s.log
	if !st.settled.Load() { // clients may try as often as they like
		log = s.sampledAt
	}
	log(zerolog.InfoLevel).Str("media", st.id).Str("room", string(st.room)).Str("identity", string(st.identity)).
		Str("status", string(st.ending.status)).Str("info", st.ending.info).Str("class", string(st.ending.class)).Msg(st.kind() + " ended")
}
