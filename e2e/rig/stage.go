package rig

import (
	"context"
	"slices"
	"strings"
	"testing"

	lkproto "github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// Stage is everything a client needs: Redis, LiveKit with webhooks, one gateway.
type Stage struct {
	Redis   *Redis
	LiveKit *LiveKit
	Gateway *Gateway
	Ports   Ports
}

// NewStage starts a stage. env are settings of the gateway, liveKit further YAML for LiveKit.
func NewStage(t testing.TB, env map[string]string, liveKit string) *Stage {
	t.Helper()
	s := &Stage{Ports: NewPorts(t), Redis: StartRedis(t)}
	s.LiveKit = StartLiveKit(t, LiveKitOptions{Webhook: s.Ports.Webhook(), Extra: liveKit})
	s.Gateway = StartGateway(t, GatewayOptions{Ports: s.Ports, LiveKit: s.LiveKit, Redis: s.Redis.Addr, Env: env})
	s.Gateway.AwaitReady(t)
	return s
}

// Rooms is LiveKit's RoomService as an administrator sees it.
func (lk *LiveKit) Rooms() *lksdk.RoomServiceClient {
	return lksdk.NewRoomServiceClient(lk.URL, lk.Key, lk.Secret)
}

// Participants lists who is in a room, or in all rooms if room is empty.
func (lk *LiveKit) Participants(t testing.TB, room string) (list []*lkproto.ParticipantInfo) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	names := []string{room}
	if room == "" {
		rooms, err := lk.Rooms().ListRooms(ctx, &lkproto.ListRoomsRequest{})
		if err != nil {
			t.Fatalf("list rooms: %v", err)
		}
		names = nil
		for _, r := range rooms.GetRooms() {
			names = append(names, r.GetName())
		}
	}
	for _, name := range names {
		res, err := lk.Rooms().ListParticipants(ctx, &lkproto.ListParticipantsRequest{Room: name})
		if err != nil {
			t.Fatalf("list participants: %v", err)
		}
		list = append(list, res.GetParticipants()...)
	}
	return list
}

// Claims are the keys of streams, players and media ids that Redis holds (state/keys.go).
func (r *Redis) Claims() (keys []string) {
	r.t.Helper()
	for key := range strings.FieldsSeq(r.CLI("--raw", "KEYS", "wcs:*")) {
		claimed := strings.Contains(key, "{stream:") || strings.Contains(key, ":media:") || strings.HasSuffix(key, ":index")
		if claimed && !strings.Contains(key, ":void:") { // marks of released claims, which go by themselves
			keys = append(keys, key)
		}
	}
	return keys
}

// WantClean waits until nothing is left over: no participant of ours in LiveKit, no claim in Redis. With
// names, only these streams are looked at: other tests may be using the stage.
func (s *Stage) WantClean(t testing.TB, names ...string) {
	t.Helper()
	WantClean(t, s.LiveKit, s.Redis, names...)
}

// WantClean is Stage.WantClean for parts.
func WantClean(t testing.TB, lk *LiveKit, r *Redis, names ...string) {
	t.Helper()
	var left []string
	if !Holds(patience, func() bool { left = leftovers(t, lk, r, names); return len(left) == 0 }) {
		t.Errorf("left over: %s", strings.Join(left, " "))
	}
}

func leftovers(t testing.TB, lk *LiveKit, r *Redis, names []string) (left []string) {
	t.Helper()
	for _, key := range r.Claims() {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.Contains(key, "{stream:"+n+"}") }) {
			left = append(left, key)
		}
	}
	rooms := []string{""}
	if len(names) > 0 {
		rooms = nil
		for _, n := range names {
			rooms = append(rooms, "wcs."+n)
		}
	}
	for _, room := range rooms {
		for _, p := range lk.Participants(t, room) {
			if strings.HasPrefix(p.GetIdentity(), "wcs:") {
				left = append(left, room+"/"+p.GetIdentity())
			}
		}
	}
	return left
}
