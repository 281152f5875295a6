package bench

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"wcsgateway/e2e/rig"
)

// direct is a client of LiveKit's WHIP endpoint without a gateway.
type direct struct {
	livekit *rig.LiveKit
	rooms   *lksdk.RoomServiceClient
	http    *http.Client
}

func newDirect(s *stage) *direct {
	return &direct{livekit: s.livekit, rooms: s.livekit.Rooms(), http: &http.Client{Timeout: patience}}
}

// token returns a token like the gateway's: same grants, same room timeouts. Creating it is not measured.
func (d *direct) token(b *testing.B, room, identity string, publish bool) string {
	b.Helper()
	g := &auth.VideoGrant{RoomJoin: true, Room: room, Hidden: !publish}
	g.SetCanPublish(publish)
	g.SetCanSubscribe(!publish)
	g.SetCanPublishData(false)
	token, err := auth.NewAccessToken(d.livekit.Key, d.livekit.Secret).SetIdentity(identity).SetVideoGrant(g).
		SetRoomConfig(&lkproto.RoomConfiguration{EmptyTimeout: 10, DepartureTimeout: 2}).SetValidFor(time.Minute).ToJWT()
	if err != nil {
		b.Fatal(err)
	}
	return token
}

// post sends an offer and reads the answer. clientInfo may be empty.
func (d *direct) post(b *testing.B, token, offer, clientInfo string) {
	b.Helper()
	req, err := http.NewRequest(http.MethodPost, d.livekit.URL+"/whip/v1", strings.NewReader(offer))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Authorization", "Bearer "+token)
	if clientInfo != "" {
		req.Header.Set("X-LiveKit-ClientInfo", clientInfo)
	}
	res, err := d.http.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // already read
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		b.Fatalf("direct offer: %s, %v: %s", res.Status, err, answer)
	}
}

// tracks lists the tracks published in a room, as the value of X-LiveKit-ClientInfo.
func (d *direct) tracks(b *testing.B, room string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := d.rooms.ListParticipants(ctx, &lkproto.ListParticipantsRequest{Room: room})
	if err != nil {
		b.Fatal(err)
	}
	names := make(map[string][]string)
	for _, p := range list.GetParticipants() {
		for _, t := range p.GetTracks() {
			names[p.GetIdentity()] = append(names[p.GetIdentity()], t.GetName())
		}
	}
	info, err := json.Marshal(map[string]any{"subscribedParticipantTrackNames": names})
	if err != nil {
		b.Fatal(err)
	}
	return string(info)
}

func (d *direct) remove(b *testing.B, room, identity string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := d.rooms.RemoveParticipant(ctx, &lkproto.RoomParticipantIdentity{Room: room, Identity: identity}); err != nil {
		b.Fatal(err)
	}
}
