package livekit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// Operations of Deps.Observe and errors of a diagnosis.
const (
	opReach      = "reach"
	opVersion    = "join"
	opDeleteRoom = "delete room"
)

// errNotLiveKit is the error for an HTTP server that does not answer as LiveKit does.
var errNotLiveKit = errors.New("the server there is not LiveKit")

// Reach reports whether a LiveKit answers. It needs no credentials.
func (s *SFU) Reach(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/", nil)
	if err != nil {
		return failed(ctx, opReach, err)
	}
	res, err := s.whip.http.Do(req)
	if err != nil {
		return failed(ctx, opReach, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFault))
	switch {
	case err != nil:
		return failed(ctx, opReach, err)
	case res.StatusCode >= http.StatusInternalServerError:
		return failed(ctx, opReach, statusError(res.StatusCode))
	case res.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != "OK":
		return &translate.Error{Kind: translate.ErrKindRefused, Op: opReach, Err: fmt.Errorf("%w: status %d%s", errNotLiveKit, res.StatusCode, named(res))}
	}
	return nil
}

// named returns how a server names itself. A proxy or a firewall can answer for a LiveKit that does not
// exist.
func named(res *http.Response) string {
	if name := res.Header.Get("Server"); name != "" {
		return fmt.Sprintf(", from the server %q", translate.Abridge(name, 64))
	}
	return ""
}

// Version joins a room as a hidden participant, returns LiveKit's version, and leaves.
func (s *SFU) Version(ctx context.Context, room translate.RoomName, id translate.Identity) (string, error) {
	token, err := s.signer.player(translate.PlayOffer{Room: room, Identity: id})
	if err != nil {
		return "", &translate.Error{Kind: translate.ErrKindRefused, Op: opVersion, Err: err}
	}
	sub, err := newGuest("", nil)
	if err != nil {
		return "", failed(ctx, opVersion, err)
	}
	defer sub.leave()
	if err := sub.dial(ctx, s.base, token); err != nil {
		return "", failed(ctx, opVersion, err)
	}
	version := sub.joinResponse.GetServerInfo().GetVersion()
	sub.transport.Start()
	return version, nil
}

// TrySignalling opens LiveKit's signalling as a play does, waits for LiveKit's first message, and leaves.
func (s *SFU) TrySignalling(ctx context.Context, room translate.RoomName, id translate.Identity) error {
	token, err := s.signer.player(translate.PlayOffer{Room: room, Identity: id})
	if err != nil {
		return &translate.Error{Kind: translate.ErrKindRefused, Op: opSignalPlay, Err: err}
	}
	c, unbind, err := dialSignalling(ctx, s.base, token, "")
	if err != nil {
		return err
	}
	n := &playNegotiation{ctx: ctx, c: c}
	err = n.await(func() bool { return n.join != nil })
	unbind()
	c.leave()
	c.drain()
	if err != nil {
		return n.classify(err)
	}
	return nil
}

// DeleteRoom deletes a room with its participants. A missing room is not an error.
func (s *SFU) DeleteRoom(ctx context.Context, room translate.RoomName) (err error) {
	defer s.done(opDeleteRoom, time.Now(), room, "", &err)
	_, err = call(ctx, s, opDeleteRoom, &auth.VideoGrant{RoomCreate: true}, s.rooms.DeleteRoom, &lkproto.DeleteRoomRequest{Room: string(room)})
	return unlessMissing(err)
}
