package translate

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Identity is the identity of a LiveKit participant.
type Identity string

// Role is the role of one of the gateway's participants in a room.
type Role string

// Roles in an Identity (docs/architecture.md#names).
const (
	RolePublish  Role = "pub"
	RolePlay     Role = "play"
	RoleProbe    Role = "probe"
	RoleSnapshot Role = "snap"
)

// podTagLength is the length of the pod's part of an identity, in hex digits.
const podTagLength = 8

const identityPrefix = "wcs:"

// NewIdentity returns the identity wcs:<deployment>:<role>:<16 hex digits>. The first half of the digits is
// the tag of the pod, which it chose at random at its start, so that a webhook can be forwarded to the pod
// that owns the participant without asking Redis. The other half is random. Clients must not influence it:
// LiveKit removes the earlier participant of an identity.
func NewIdentity(deployment string, role Role, podTag string) Identity {
	return Identity(identityPrefix + deployment + ":" + string(role) + ":" + podTag + RandomHex(podTagLength))
}

// NewPodTag returns a random tag for the identities of a pod.
func NewPodTag() string { return RandomHex(podTagLength) }

// RandomHex returns so many random hex digits; digits must be even.
func RandomHex(digits int) string {
	b := make([]byte, digits/2)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// Parse splits one of the gateways' identities. ok is false for any other identity.
func (id Identity) Parse() (deployment string, role Role, podTag string, ok bool) {
	rest, found := strings.CutPrefix(string(id), identityPrefix)
	if !found {
		return "", "", "", false
	}
	parts := strings.Split(rest, ":")
	if len(parts) != 3 || len(parts[2]) != 2*podTagLength {
		return "", "", "", false
	}
	return parts[0], Role(parts[1]), parts[2][:podTagLength], true
}

// Native reports whether the participant was not created by a WCS gateway.
func (id Identity) Native() bool { return !strings.HasPrefix(string(id), identityPrefix) }

// RoomTemplate is the template of room names. {app} and {name} stand for the application key and the stream
// name. {name} must occur exactly once.
type RoomTemplate string

// ErrRoomTemplate is wrapped by the errors about a RoomTemplate.
var ErrRoomTemplate = errors.New("room template")

const (
	appMark  = "{app}"
	nameMark = "{name}"
)

// Validate checks the template on its own; see OneToOne for several templates.
func (t RoomTemplate) Validate() error {
	if strings.Count(string(t), nameMark) != 1 {
		return fmt.Errorf("%w %q: must contain %s exactly once", ErrRoomTemplate, string(t), nameMark)
	}
	return nil
}

// Room returns the room of a stream.
func (t RoomTemplate) Room(app, name string) RoomName {
	prefix, suffix := t.split(app)
	return RoomName(prefix + name + suffix)
}

// Name returns the stream name of a room of the application. ok is false if the template does not produce the
// room.
func (t RoomTemplate) Name(app string, room RoomName) (name string, ok bool) {
	prefix, suffix := t.split(app)
	rest, ok := strings.CutPrefix(string(room), prefix)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, suffix)
	return name, ok && name != ""
}

// split returns the template with {app} filled in, split at {name}.
func (t RoomTemplate) split(app string) (prefix, suffix string) {
	prefix, suffix, _ = strings.Cut(string(t), nameMark)
	return strings.ReplaceAll(prefix, appMark, app), strings.ReplaceAll(suffix, appMark, app)
}

// OneToOne checks that no two stream names of any applications (key: application key) share a room. Stream
// names are common to all applications. Two applications with equal filled-in templates are therefore valid;
// two that differ must not be able to produce the same room.
func OneToOne(templates map[string]RoomTemplate) error {
	type filled struct{ app, prefix, suffix string }
	var all []filled
	for app, t := range templates {
		if err := t.Validate(); err != nil {
			return fmt.Errorf("application %q: %w", app, err)
		}
		p, s := t.split(app)
		all = append(all, filled{app, p, s})
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.prefix == b.prefix && a.suffix == b.suffix {
				continue
			}
			if overlap(a.prefix, b.prefix, strings.HasPrefix) && overlap(a.suffix, b.suffix, strings.HasSuffix) {
				return fmt.Errorf("%w: applications %q and %q map two streams to the same room", ErrRoomTemplate, a.app, b.app)
			}
		}
	}
	return nil
}

func overlap(a, b string, has func(s, part string) bool) bool { return has(a, b) || has(b, a) }
