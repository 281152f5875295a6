package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"wcsgateway/gateway/socket"
	"wcsgateway/translate"
)

// fakeSFU is a LiveKit in memory, at the level of the SFU interface.
type fakeSFU struct {
	mu        sync.Mutex
	rooms     map[translate.RoomName]map[translate.Identity]*translate.Participant
	fail      map[string]error         // by operation: publish, play, remove, participants
	hold      map[string]chan struct{} // an operation waits until its channel is closed
	held      map[string]int           // operations that wait
	called    chan string              // operations as they begin
	published map[translate.Identity]translate.PublishOffer
	played    map[translate.Identity]string // offers of players
	players   map[string]translate.Identity // by media id
	up        []translate.Identity          // players reported as up
	followed  []translate.Following
	data      []string // that was sent to rooms
	bound     []string // of whom the next answers to players have the tracks; then of the right publisher
}

func newFakeSFU() *fakeSFU {
	return &fakeSFU{
		rooms:     make(map[translate.RoomName]map[translate.Identity]*translate.Participant),
		fail:      make(map[string]error),
		hold:      make(map[string]chan struct{}),
		held:      make(map[string]int),
		called:    make(chan string, 1000),
		published: make(map[translate.Identity]translate.PublishOffer),
		played:    make(map[translate.Identity]string),
		players:   make(map[string]translate.Identity),
	}
}

// enter begins an operation; the caller must leave with mu locked.
func (f *fakeSFU) enter(ctx context.Context, op string) error {
	trace.SpanFromContext(ctx).AddEvent("sfu " + op)
	select {
	case f.called <- op:
	default: // a test that looks makes room
	}
	f.mu.Lock() // left locked
	hold := f.hold[op]
	if hold == nil {
		return f.fail[op]
	}
	f.held[op]++
	f.mu.Unlock()
	var err error
	select {
	case <-hold:
	case <-ctx.Done():
		err = &translate.Error{Kind: translate.ErrKindUnavailable, Op: op, Err: ctx.Err()}
	}
	f.mu.Lock()
	f.held[op]--
	return cmp.Or(err, f.fail[op])
}

func (f *fakeSFU) join(room translate.RoomName, p translate.Participant) {
	if f.rooms[room] == nil {
		f.rooms[room] = make(map[translate.Identity]*translate.Participant)
	}
	f.rooms[room][p.Identity] = &p
}

func (f *fakeSFU) Publish(ctx context.Context, o translate.PublishOffer) (translate.Answer, error) {
	err := f.enter(ctx, "publish")
	defer f.mu.Unlock()
	if err != nil {
		return translate.Answer{}, err
	}
	f.published[o.Identity] = o
	f.join(o.Room, translate.Participant{Identity: o.Identity})
	return translate.Answer{SDP: answerTo(o.SDP)}, nil
}

func (f *fakeSFU) Play(ctx context.Context, o translate.PlayOffer) (translate.Answer, error) {
	err := f.enter(ctx, "play")
	defer f.mu.Unlock()
	if err != nil {
		return translate.Answer{}, err
	}
	source := f.rooms[o.Room][o.Publisher]
	if source == nil {
		return translate.Answer{}, &translate.Error{Kind: translate.ErrKindNotFound, Op: "play", Err: translate.ErrPublisherGone}
	}
	offer, _, err := o.Offer(*source)
	if err != nil {
		return translate.Answer{}, err
	}
	f.played[o.Identity], f.players[o.MediaID] = offer, o.Identity
	f.join(o.Room, translate.Participant{Identity: o.Identity})
	publisher := o.Publisher
	if len(f.bound) > 0 {
		publisher, f.bound = translate.Identity(f.bound[0]), f.bound[1:]
	}
	sdp := answerTo(offer)
	for _, t := range f.rooms[o.Room][publisher].Tracks {
		mline := "m=" + string(t.Kind)
		at := strings.Index(sdp, mline)
		at += strings.Index(sdp[at:], "a=mid")
		sdp = sdp[:at] + "a=msid:PA_x|" + t.SID + " " + t.SID + "\r\n" + sdp[at:]
	}
	return translate.Answer{SDP: sdp, SID: "PA_" + string(o.Identity), Follows: true}, nil
}

func (f *fakeSFU) Follow(ctx context.Context, to translate.Following) error {
	err := f.enter(ctx, "follow")
	defer f.mu.Unlock()
	if err == nil {
		f.followed = append(f.followed, to)
	}
	return err
}

func (f *fakeSFU) PlayerUp(id translate.Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.up = append(f.up, id)
}

func (f *fakeSFU) Remove(ctx context.Context, room translate.RoomName, id translate.Identity) error {
	err := f.enter(ctx, "remove")
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	delete(f.rooms[room], id)
	return nil
}

func (f *fakeSFU) Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (translate.Participant, error) {
	err := f.enter(ctx, "participant")
	defer f.mu.Unlock()
	if err != nil {
		return translate.Participant{}, err
	}
	p := f.rooms[room][id]
	if p == nil {
		return translate.Participant{}, &translate.Error{Kind: translate.ErrKindNotFound, Op: "participant", Err: errors.New("no such participant")}
	}
	return *p, nil
}

func (f *fakeSFU) Participants(ctx context.Context, room translate.RoomName) ([]translate.Participant, error) {
	err := f.enter(ctx, "participants")
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var list []translate.Participant
	for _, p := range f.rooms[room] {
		list = append(list, *p)
	}
	return list, nil
}

// set changes the fake under its lock.
func (f *fakeSFU) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// participants counts who is in any room.
func (f *fakeSFU) participants() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rooms {
		n += len(r)
	}
	return n
}

// only returns the only participant of a role.
func (f *fakeSFU) only(t *testing.T, role translate.Role) (translate.RoomName, translate.Identity) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var room translate.RoomName
	var id translate.Identity
	for r, list := range f.rooms {
		for i := range list {
			if _, have, _, _ := i.Parse(); have == role {
				if id != "" {
					t.Fatalf("several participants of role %s", role)
				}
				room, id = r, i
			}
		}
	}
	if id == "" {
		t.Fatalf("no participant of role %s", role)
	}
	return room, id
}

// inRoom returns the participants of a role.
func (f *fakeSFU) inRoom(room translate.RoomName, role translate.Role) (all []translate.Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.rooms[room] {
		if _, have, _, _ := id.Parse(); have == role {
			all = append(all, id)
		}
	}
	return all
}

// answerTo makes an answer with the shape that the gateway needs of an offer.
func answerTo(offer string) string {
	return strings.NewReplacer("a=sendonly", "a=recvonly", "a=recvonly", "a=sendonly", "a=setup:actpass", "a=setup:active").Replace(offer)
}

// noWebhooks refuses all: the tests of this package call route.
type noWebhooks struct{}

var errNoWebhooks = errors.New("no webhooks here")

func (noWebhooks) Webhook(http.ResponseWriter, *http.Request) (translate.Event, bool, error) {
	return translate.Event{}, false, errNoWebhooks
}

func connConfig() socket.Config {
	return socket.Config{
		HelloTimeout: time.Minute, WriteTimeout: time.Minute, MaxMessageBytes: 1 << 20,
		MaxQueueBytes: 1 << 20, MaxQueueMessages: 1000, PingInterval: time.Minute, PingProbes: 3,
	}
}
