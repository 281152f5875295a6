package rig

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/protocol/utils"
	"github.com/livekit/psrpc"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
)

// EgressOutcome is how a simulated egress behaves.
type EgressOutcome int

// Outcomes of an egress.
const (
	Works        EgressOutcome = iota
	Refused                    // StartEgress fails
	NeverAnswers               // as without an egress service
	Fails                      // before it is active
)

// Egress simulates LiveKit's egress service, which is no Go module: LiveKit reaches it by its RPC over Redis
// and receives the reports that it would receive from the real one. Like the real one, it joins the room as a
// hidden participant, waits for the publisher's tracks, and ends when the publisher leaves. It writes no
// file.
type Egress struct {
	lk     *LiveKit
	bus    psrpc.MessageBus
	io     rpc.IOInfoClient
	server rpc.EgressInternalServer
	ctx    context.Context
	work   sync.WaitGroup

	mu       sync.Mutex
	outcome  func(*lkproto.ParticipantEgressRequest) EgressOutcome
	requests []*lkproto.ParticipantEgressRequest
	runs     map[string]*egressRun
}

// egressRun is one egress.
type egressRun struct {
	egress   *Egress
	identity string // of the publisher
	handler  rpc.EgressHandlerServer
	room     *lksdk.Room
	over     context.CancelFunc

	mu   sync.Mutex
	info *lkproto.EgressInfo
}

// StartEgress starts the simulated service for a LiveKit that has this Redis. It ends with the test.
func StartEgress(t testing.TB, lk *LiveKit, redisAddr string) *Egress {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: redisAddr})
	e := &Egress{
		lk: lk, bus: psrpc.NewRedisMessageBus(client), runs: make(map[string]*egressRun),
		outcome: func(*lkproto.ParticipantEgressRequest) EgressOutcome { return Works },
	}
	var stop context.CancelFunc
	e.ctx, stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		if e.server != nil {
			e.server.Kill()
		}
		e.work.Wait()
		_ = client.Close() // the test is over
	})
	var err error
	if e.io, err = rpc.NewIOInfoClient(e.bus); err != nil {
		t.Fatal(err)
	}
	if e.server, err = rpc.NewEgressInternalServer(e, e.bus); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.server.RegisterListActiveEgressTopic(""), e.server.RegisterStartEgressTopic("")); err != nil {
		t.Fatal(err)
	}
	return e
}

// SetOutcome sets the outcome of later requests.
func (e *Egress) SetOutcome(outcome func(*lkproto.ParticipantEgressRequest) EgressOutcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outcome = outcome
}

// Requests are those that came for a room.
func (e *Egress) Requests(room string) []*lkproto.ParticipantEgressRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.requests), func(r *lkproto.ParticipantEgressRequest) bool { return r.GetRoomName() != room })
}

// Infos are the egresses of a room as they are now.
func (e *Egress) Infos(room string) (all []*lkproto.EgressInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.runs {
		if info := r.snapshot(); info.GetRoomName() == room {
			all = append(all, info)
		}
	}
	return all
}

// Fail lets all egresses of a room fail.
func (e *Egress) Fail(room, why string) {
	e.mu.Lock()
	runs := slices.Collect(maps.Values(e.runs))
	e.mu.Unlock()
	for _, r := range runs {
		if r.snapshot().GetRoomName() == room {
			r.end(lkproto.EgressStatus_EGRESS_FAILED, why)
		}
	}
}

// StartEgressAffinity is how willing the service is.
func (e *Egress) StartEgressAffinity(context.Context, *rpc.StartEgressRequest) float32 { return 1 }

// StartEgress handles LiveKit's request for an egress.
func (e *Egress) StartEgress(ctx context.Context, req *rpc.StartEgressRequest) (*lkproto.EgressInfo, error) {
	p := req.GetParticipant()
	if p == nil {
		return nil, psrpc.NewErrorf(psrpc.InvalidArgument, "the stand-in knows egresses of participants only")
	}
	e.mu.Lock()
	outcome := e.outcome(p)
	e.requests = append(e.requests, p)
	e.mu.Unlock()
	switch outcome {
	case Refused:
		return nil, psrpc.NewErrorf(psrpc.InvalidArgument, "refused by the test")
	case NeverAnswers:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r, err := e.newRun(req, p)
	if err != nil {
		return nil, err
	}
	info := r.snapshot()
	if _, err := e.io.CreateEgress(ctx, info); err != nil { // whence the webhook egress_started
		return nil, err
	}
	e.work.Go(func() { r.run(outcome) })
	return info, nil
}

func (e *Egress) newRun(req *rpc.StartEgressRequest, p *lkproto.ParticipantEgressRequest) (*egressRun, error) {
	now := time.Now().UnixNano()
	r := &egressRun{egress: e, identity: p.GetIdentity(), info: &lkproto.EgressInfo{
		EgressId: req.GetEgressId(), RoomId: req.GetRoomId(), RoomName: p.GetRoomName(), Status: lkproto.EgressStatus_EGRESS_STARTING,
		Request: &lkproto.EgressInfo_Participant{Participant: p}, StartedAt: now, UpdatedAt: now,
	}}
	for _, f := range p.GetFileOutputs() {
		r.info.FileResults = append(r.info.FileResults, &lkproto.FileInfo{Filename: f.GetFilepath(), StartedAt: now})
	}
	for _, s := range p.GetStreamOutputs() {
		for _, url := range s.GetUrls() {
			masked, _ := utils.RedactStreamKey(url) // as the real one does
			r.info.StreamResults = append(r.info.StreamResults, &lkproto.StreamInfo{Url: masked, StartedAt: now, Status: lkproto.StreamInfo_ACTIVE})
		}
	}
	var err error
	if r.handler, err = rpc.NewEgressHandlerServer(r, e.bus); err != nil {
		return nil, err
	}
	id := req.GetEgressId()
	if err := errors.Join(r.handler.RegisterStopEgressTopic(id), r.handler.RegisterUpdateEgressTopic(id), r.handler.RegisterUpdateStreamTopic(id)); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[id] = r
	return r, nil
}

// ListActiveEgress names what is not over.
func (e *Egress) ListActiveEgress(context.Context, *rpc.ListActiveEgressRequest) (*rpc.ListActiveEgressResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var active rpc.ListActiveEgressResponse
	for id, r := range e.runs {
		if !over(r.snapshot().GetStatus()) {
			active.EgressIds = append(active.EgressIds, id)
		}
	}
	return &active, nil
}

// run is the life of the egress.
func (r *egressRun) run(outcome EgressOutcome) {
	ctx, over := context.WithCancel(r.egress.ctx)
	defer over()
	defer r.handler.Kill()
	r.mu.Lock()
	r.over = over
	r.mu.Unlock()
	room, err := r.join(over)
	if err != nil {
		r.end(lkproto.EgressStatus_EGRESS_FAILED, err.Error())
		return
	}
	defer room.Disconnect()
	if !r.awaitTracks(ctx, room) {
		r.end(lkproto.EgressStatus_EGRESS_ABORTED, "no tracks of the participant")
		return
	}
	if outcome == Fails {
		r.end(lkproto.EgressStatus_EGRESS_FAILED, "failed by the test")
		return
	}
	r.change(lkproto.EgressStatus_EGRESS_ACTIVE, "")
	<-ctx.Done()
	if r.egress.ctx.Err() == nil { // the publisher has left, or it was stopped
		r.change(lkproto.EgressStatus_EGRESS_ENDING, "")
		r.end(lkproto.EgressStatus_EGRESS_COMPLETE, "")
	}
}

// join joins the room as egress does; gone is called when the publisher has left.
func (r *egressRun) join(gone func()) (*lksdk.Room, error) {
	grant := &auth.VideoGrant{RoomJoin: true, Room: r.snapshot().GetRoomName(), Hidden: true, Recorder: true}
	grant.SetCanPublish(false)
	token, err := auth.NewAccessToken(r.egress.lk.Key, r.egress.lk.Secret).SetIdentity(r.snapshot().GetEgressId()).
		SetKind(lkproto.ParticipantInfo_EGRESS).SetVideoGrant(grant).ToJWT()
	if err != nil {
		return nil, err
	}
	return lksdk.ConnectToRoomWithToken(r.egress.lk.URL, token, &lksdk.RoomCallback{
		OnDisconnected: gone,
		OnParticipantDisconnected: func(p *lksdk.RemoteParticipant) {
			if p.Identity() == r.identity {
				gone()
			}
		},
	}, lksdk.WithAutoSubscribe(false))
}

// awaitTracks waits until the publisher has tracks.
func (r *egressRun) awaitTracks(ctx context.Context, room *lksdk.Room) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, p := range room.GetRemoteParticipants() {
			if p.Identity() == r.identity && len(p.TrackPublications()) > 0 {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// StopEgress ends the egress in an orderly way.
func (r *egressRun) StopEgress(context.Context, *lkproto.StopEgressRequest) (*lkproto.EgressInfo, error) {
	if r.snapshot().GetStatus() == lkproto.EgressStatus_EGRESS_STARTING {
		r.end(lkproto.EgressStatus_EGRESS_ABORTED, "stopped before it had started")
	} else {
		r.change(lkproto.EgressStatus_EGRESS_ENDING, "")
	}
	info := r.snapshot()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		r.over()
	}
	return info, nil
}

// UpdateEgress is not needed.
func (r *egressRun) UpdateEgress(context.Context, *lkproto.UpdateEgressRequest) (*lkproto.EgressInfo, error) {
	return nil, psrpc.ErrUnimplemented
}

// UpdateStream is not needed.
func (r *egressRun) UpdateStream(context.Context, *lkproto.UpdateStreamRequest) (*lkproto.EgressInfo, error) {
	return nil, psrpc.ErrUnimplemented
}

func (r *egressRun) snapshot() *lkproto.EgressInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return proto.CloneOf(r.info)
}

// end is the last change of the egress.
func (r *egressRun) end(status lkproto.EgressStatus, why string) {
	r.change(status, why)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		r.over()
	}
}

// change reports a state to LiveKit, which then sends the webhooks egress_updated and egress_ended. An egress
// that has ended does not change.
func (r *egressRun) change(status lkproto.EgressStatus, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over(r.info.GetStatus()) || r.info.GetStatus() >= status {
		return
	}
	now := time.Now().UnixNano()
	r.info.Status, r.info.Error, r.info.UpdatedAt = status, why, now
	if over(status) {
		r.info.EndedAt = now
		for _, f := range r.info.GetFileResults() {
			f.EndedAt, f.Duration, f.Size = now, now-f.GetStartedAt(), 1000
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = r.egress.io.UpdateEgress(ctx, proto.CloneOf(r.info)) // LiveKit may have ended
}

func over(s lkproto.EgressStatus) bool { return s >= lkproto.EgressStatus_EGRESS_COMPLETE }
