package translate

import "strings"

// CodecName is the codec in the words of WCS of a LiveKit mime type: "opus" of "audio/opus", "VP8" of "video/VP8". Audio that LiveKit
// calls "audio/red" is opus with redundancy. It is "" for an empty mime type.
func CodecName(mime string) string {
	_, name, found := strings.Cut(mime, "/")
	if !found {
		return ""
	}
	switch strings.ToLower(name) {
	case "opus", "red":
		return "opus"
	case "vp8", "vp9", "av1", "h264", "h265", "pcmu", "pcma":
		return strings.ToUpper(name)
	}
	return name
}

// NativePublisher picks, of a room's participants, the native one that publishes and has been there for longest.
func NativePublisher(list []Participant) (Participant, bool) {
	var found *Participant
	for i, p := range list {
		if p.Identity.Native() && len(p.Tracks) > 0 && (found == nil || p.JoinedAt.Before(found.JoinedAt)) {
			found = &list[i]
		}
	}
	if found == nil {
		return Participant{}, false
	}
	return *found, true
}

// Find gives the participant with the identity.
func Find(list []Participant, id Identity) (Participant, bool) {
	for _, p := range list {
		if p.Identity == id {
			return p, true
		}
	}
	return Participant{}, false
}

// Has tells whether the kind is among them.
func (k MediaKinds) Has(kind Kind) bool {
	switch kind {
	case Audio:
		return k.Audio
	case Video:
		return k.Video
	}
	return false
}
