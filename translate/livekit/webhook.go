package livekit

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/protojson"
	"github.com/livekit/protocol/webhook"

	"wcsgateway/translate"
)

// maxWebhook bounds the body of a webhook.
const maxWebhook = 1 << 20

// webhookKeys gives the secret of each accepted key. It implements auth.KeyProvider.
type webhookKeys map[string]string

func newWebhookKeys(cfg Config) webhookKeys {
	keys := make(webhookKeys, len(cfg.WebhookKeys)+1)
	maps.Copy(keys, cfg.WebhookKeys)
	keys[cfg.Key] = cfg.Secret
	return keys
}

// GetSecret gives the secret of an accepted key, or nothing.
func (k webhookKeys) GetSecret(key string) string { return k[key] }

// NumKeys counts the accepted keys.
func (k webhookKeys) NumKeys() int { return len(k) }

// Webhook reads and verifies a webhook request. It writes no response: w is needed to end the connection
// of a sender whose body is too long. ok is false, without an error, for events that are none of ours
// (an egress of other than a participant, ingress, whatever comes later): answer them as received.
//
// The signature covers the body and a time of expiry (with a minute's tolerance), so a webhook may be
// replayed until then. That does no harm, because an identity of ours is used for one participant only. Errors are *translate.Error: ErrKindDenied for a bad signature, ErrKindRefused for
// what is signed but no event, or too long, ErrKindUnavailable for a body that did not arrive. LiveKit
// repeats a webhook that was answered 5xx or 429 and drops one answered with another 4xx (feasibility.md §3).
func (s *SFU) Webhook(w http.ResponseWriter, r *http.Request) (e translate.Event, ok bool, err error) {
	start := time.Now()
	defer func() { s.observe(OpWebhook, time.Since(start), err) }()

	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err != nil {
		return translate.Event{}, false, unread(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if _, err := webhook.Receive(r, s.keys); err != nil {
		return translate.Event{}, false, &translate.Error{Kind: translate.ErrKindDenied, Op: OpWebhook, Err: err}
	}
	var ev lkproto.WebhookEvent
	if err := protojson.Unmarshal(data, &ev); err != nil {
		return translate.Event{}, false, &translate.Error{Kind: translate.ErrKindRefused, Op: OpWebhook, Err: err}
	}
	e, ok = event(&ev)
	return e, ok, nil
}

func unread(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return &translate.Error{Kind: translate.ErrKindRefused, Op: OpWebhook, Err: err}
	}
	return &translate.Error{Kind: translate.ErrKindUnavailable, Op: OpWebhook, Err: err}
}

// event converts a webhook; ok is false for one that is none of ours. Events about tracks carry the
// participant's identity and SID only, those about rooms no participant.
func event(ev *lkproto.WebhookEvent) (e translate.Event, ok bool) {
	kind := eventKind(ev.GetEvent())
	if kind == 0 {
		return translate.Event{}, false
	}
	if kind == translate.EventEgress {
		return egressEvent(ev)
	}
	e = translate.Event{
		ID:       ev.GetId(),
		Kind:     kind,
		Room:     translate.RoomName(ev.GetRoom().GetName()),
		Identity: translate.Identity(ev.GetParticipant().GetIdentity()),
		SID:      ev.GetParticipant().GetSid(),
	}
	if at := ev.GetCreatedAt(); at != 0 {
		e.At = time.Unix(at, 0)
	}
	switch kind {
	case translate.EventLeft, translate.EventAborted:
		e.Reason = endReason(ev.GetParticipant().GetDisconnectReason())
	case translate.EventTrack, translate.EventTrackGone:
		e.Track = track(ev.GetTrack())
	default: // nothing more to tell
	}
	return e, true
}

// egressEvent converts a webhook about an egress, which names room and participant only inside what was asked for.
func egressEvent(ev *lkproto.WebhookEvent) (e translate.Event, ok bool) {
	info := ev.GetEgressInfo()
	e = translate.Event{
		ID: ev.GetId(), Kind: translate.EventEgress, Room: translate.RoomName(info.GetRoomName()),
		Identity: translate.Identity(info.GetParticipant().GetIdentity()), Egress: egressOf(info),
	}
	if at := ev.GetCreatedAt(); at != 0 {
		e.At = time.Unix(at, 0)
	}
	if e.Identity == "" || e.Egress.ID == "" || e.Egress.Kind == "" {
		return translate.Event{}, false
	}
	return e, true
}

func eventKind(name string) translate.EventKind {
	switch name {
	case webhook.EventParticipantJoined:
		return translate.EventJoined
	case webhook.EventParticipantLeft:
		return translate.EventLeft
	case webhook.EventParticipantConnectionAborted:
		return translate.EventAborted
	case webhook.EventTrackPublished:
		return translate.EventTrack
	case webhook.EventTrackUnpublished:
		return translate.EventTrackGone
	case webhook.EventRoomStarted:
		return translate.EventRoomStarted
	case webhook.EventRoomFinished:
		return translate.EventRoomEnded
	case webhook.EventEgressStarted, webhook.EventEgressUpdated, webhook.EventEgressEnded:
		return translate.EventEgress
	}
	return 0
}
