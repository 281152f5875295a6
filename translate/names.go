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

// Role is what a participant of ours does in a room.
type Role string

// Roles that stand in an Identity (design.md §2).
const (
	RolePublish  Role = "pub"
	RolePlay     Role = "play"
	RoleProbe    Role = "probe"
	RoleSnapshot Role = "snap"
)

// PodTagLength is the length of the pod's part of an identity, in hex digits.
const PodTagLength = 8

const identityPrefix = "wcs:"

// NewIdentity makes the identity wcs:<deployment>:<role>:<16 hex digits>. The first half of the digits
// is the tag of the pod, which it chose at random when it started, so that a webhook can be passed on to
// the pod that knows the participant without asking Redis; the other half is random.
// The client has no say in it: LiveKit throws out the earlier participant of an identity.
func NewIdentity(deployment string, role Role, podTag string) Identity {
	return Identity(identityPrefix + deployment + ":" + string(role) + ":" + podTag + randomHex(8))
}

// NewPodTag makes the random tag of a pod for its identities.
func NewPodTag() string { return randomHex(PodTagLength) }

func randomHex(digits int) string {
	b := make([]byte, digits/2)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// Parse takes an identity of ours apart. ok is false for anybody else's.
func (id Identity) Parse() (deployment string, role Role, podTag string, ok bool) {
	rest, found := strings.CutPrefix(string(id), identityPrefix)
	if !found {
		return "", "", "", false
	}
	parts := strings.Split(rest, ":")
	if len(parts) != 3 || len(parts[2]) != 2*PodTagLength {
		return "", "", "", false
	}
	return parts[0], Role(parts[1]), parts[2][:PodTagLength], true
}

// Native tells whether the participant is nobody's of any WCS gateway.
func (id Identity) Native() bool { return !strings.HasPrefix(string(id), identityPrefix) }

// RoomTemplate makes a room name of an application key and a stream name:
// text in which {app} and {name} stand for the two. {name} stands in it once.
type RoomTemplate string

// ErrRoomTemplate is wrapped by the errors about templates.
var ErrRoomTemplate = errors.New("room template")

const (
	appMark  = "{app}"
	nameMark = "{name}"
)

// Validate checks the template by itself.
func (t RoomTemplate) Validate() error {
	if strings.Count(string(t), nameMark) != 1 {
		return fmt.Errorf("%w %q: must have %s exactly once", ErrRoomTemplate, string(t), nameMark)
	}
	return nil
}

// Room is the room of a stream.
func (t RoomTemplate) Room(app, name string) RoomName {
	return RoomName(strings.NewReplacer(appMark, app, nameMark, name).Replace(string(t)))
}

// Name is the stream name that a room of the application is for; ok is false for a room that is not made by the template.
func (t RoomTemplate) Name(app string, room RoomName) (name string, ok bool) {
	prefix, suffix := t.split(app)
	rest, ok := strings.CutPrefix(string(room), prefix)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, suffix)
	return name, ok && name != ""
}

// split is the template with {app} filled in, cut at {name}.
func (t RoomTemplate) split(app string) (prefix, suffix string) {
	prefix, suffix, _ = strings.Cut(string(t), nameMark)
	return strings.ReplaceAll(prefix, appMark, app), strings.ReplaceAll(suffix, appMark, app)
}

// OneToOne checks that over all applications (key: application key) no two different stream names can
// share a room. Stream names are shared by all applications (design.md §2), so two applications whose
// filled-in templates are the same are fine; two that differ must not be able to make the same room.
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
				return fmt.Errorf("%w: applications %q and %q can give two streams the same room", ErrRoomTemplate, a.app, b.app)
			}
		}
	}
	return nil
}

func overlap(a, b string, has func(s, part string) bool) bool { return has(a, b) || has(b, a) }
