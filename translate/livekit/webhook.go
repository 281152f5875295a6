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

// maxWebhook is the largest accepted body of a webhook.
const maxWebhook = 1 << 20

// webhookKeys maps each accepted key to its secret. It implements auth.KeyProvider.
type webhookKeys map[string]string

func newWebhookKeys(cfg Config) webhookKeys {
	keys := make(webhookKeys, len(cfg.WebhookKeys)+1)
	maps.Copy(keys, cfg.WebhookKeys)
	keys[cfg.Key] = cfg.Secret
	return keys
}

// GetSecret returns the secret of an accepted key, or "".
func (k webhookKeys) GetSecret(key string) string { return k[key] }

// NumKeys returns the number of accepted keys.
func (k webhookKeys) NumKeys() int { return len(k) }

// Webhook reads and verifies a webhook request. It writes no response; it needs w to close the connection of
// a sender whose body is too long. ok is false without an error for events that do not concern the gateway
// (an egress of anything but a participant, ingress, unknown types): confirm them as received.
//
// The signature covers the body and an expiry time (with a minute's tolerance), so a webhook can be replayed
// until then. That is harmless, because the gateway uses an identity for one participant only. Errors are
// *translate.Error: ErrKindDenied for a bad signature, ErrKindRefused for a signed body that is not an event
// or is too long, ErrKindUnavailable for a body that did not arrive. LiveKit repeats a webhook that was
// answered with 5xx or 429 and drops it after another 4xx (docs/livekit-notes.md#webhooks).
func (s *SFU) Webhook(w http.ResponseWriter, r *http.Request) (e translate.Event, ok bool, err error) {
	start := time.Now()
	defer func() { s.observe(opWebhook, time.Since(start), err) }()

	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err != nil {
		return translate.Event{}, false, unread(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if _, err := webhook.Receive(r, s.keys); err != nil {
		return translate.Event{}, false, &translate.Error{Kind: translate.ErrKindDenied, Op: opWebhook, Err: err}
	}
	var ev lkproto.WebhookEvent
	if err := protojson.Unmarshal(data, &ev); err != nil {
		return translate.Event{}, false, &translate.Error{Kind: translate.ErrKindRefused, Op: opWebhook, Err: err}
	}
	e, ok = event(&ev)
	return e, ok, nil
}

func unread(err error) error {
	kind := translate.ErrKindUnavailable
	if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
		kind = translate.ErrKindRefused
	}
	return &translate.Error{Kind: kind, Op: opWebhook, Err: err}
}

// event converts a webhook; ok is false if it does not concern the gateway. Events about tracks carry only
// the participant's identity and SID; events about rooms carry no participant.
func event(ev *lkproto.WebhookEvent) (e translate.Event, ok bool) {
	kind, ok := eventKinds[ev.GetEvent()]
	if !ok {
		return translate.Event{}, false
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
	case translate.EventEgress: // room and participant are only in the original request
		info := ev.GetEgressInfo()
		e.Room, e.Identity, e.Egress = translate.RoomName(info.GetRoomName()), translate.Identity(info.GetParticipant().GetIdentity()), egressOf(info)
		if e.Identity == "" || e.Egress.ID == "" || e.Egress.Kind == "" {
			return translate.Event{}, false
		}
	default: // no further fields
	}
	return e, true
}

var eventKinds = map[string]translate.EventKind{
	webhook.EventParticipantJoined:            translate.EventJoined,
	webhook.EventParticipantLeft:              translate.EventLeft,
	webhook.EventParticipantConnectionAborted: translate.EventAborted,
	webhook.EventTrackPublished:               translate.EventTrack,
	webhook.EventTrackUnpublished:             translate.EventTrackGone,
	webhook.EventRoomStarted:                  translate.EventRoomStarted,
	webhook.EventRoomFinished:                 translate.EventRoomEnded,
	webhook.EventEgressStarted:                translate.EventEgress,
	webhook.EventEgressUpdated:                translate.EventEgress,
	webhook.EventEgressEnded:                  translate.EventEgress,
}
