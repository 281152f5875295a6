package livekit

import (
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/translate"
)

// attributeMediaID is the participant attribute that holds the client's mediaSessionId.
const attributeMediaID = "wcs.mediaSessionId"

// tokenLifetime is the validity of a token. Each token is made for one call.
const tokenLifetime = time.Minute

// signer creates the access tokens.
type signer struct {
	key, secret string
	room        *lkproto.RoomConfiguration // read only; nil keeps LiveKit's defaults
}

func newSigner(cfg Config) *signer {
	s := &signer{key: cfg.Key, secret: cfg.Secret}
	if cfg.EmptyTimeout > 0 || cfg.DepartureTimeout > 0 {
		s.room = &lkproto.RoomConfiguration{
			EmptyTimeout:     wholeSeconds(cfg.EmptyTimeout),
			DepartureTimeout: wholeSeconds(cfg.DepartureTimeout),
		}
	}
	return s
}

func wholeSeconds(d time.Duration) uint32 {
	return uint32((d + time.Second - 1) / time.Second)
}

func (s *signer) publisher(o translate.PublishOffer) (string, error) {
	g := grant(o.Room)
	g.SetCanPublish(true)
	g.SetCanSubscribe(false)
	return s.sign(o.Identity, o.MediaID, g)
}

func (s *signer) player(o translate.PlayOffer) (string, error) {
	g := grant(o.Room)
	g.SetCanPublish(false)
	g.SetCanSubscribe(true)
	g.Hidden = true
	return s.sign(o.Identity, o.MediaID, g)
}

// service returns a token for a call of LiveKit's API.
func (s *signer) service(g *auth.VideoGrant) (string, error) {
	return auth.NewAccessToken(s.key, s.secret).SetVideoGrant(g).SetValidFor(tokenLifetime).ToJWT()
}

// grant sets every grant explicitly that LiveKit treats as true if unset, or could in a later version.
func grant(room translate.RoomName) *auth.VideoGrant {
	g := &auth.VideoGrant{RoomJoin: true, Room: string(room)}
	g.SetCanPublishData(false)
	g.SetCanUpdateOwnMetadata(false)
	g.SetCanSubscribeMetrics(false)
	g.SetCanManageAgentSession(false)
	return g
}

func (s *signer) sign(id translate.Identity, mediaID string, g *auth.VideoGrant) (string, error) {
	return auth.NewAccessToken(s.key, s.secret).
		SetIdentity(string(id)).
		SetAttributes(map[string]string{attributeMediaID: mediaID}).
		SetVideoGrant(g).
		SetRoomConfig(s.room).
		SetValidFor(tokenLifetime).
		ToJWT()
}
