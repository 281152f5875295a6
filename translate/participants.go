package translate

import (
	"slices"
	"strings"
)

// CodecName returns WCS's name for the codec of a LiveKit mime type: "opus" for "audio/opus", "VP8" for
// "video/VP8". LiveKit's "audio/red" is opus with redundancy. An empty mime type has the name "".
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

// SDPCodec returns SDP's name for the codec of a LiveKit mime type, for PlayEdit: as CodecName, but "red" for
// redundant audio.
func SDPCodec(mime string) string {
	_, name, _ := strings.Cut(mime, "/")
	return name
}

// Natives returns the native participants of a room, the earliest first.
func Natives(list []Participant) []Participant {
	natives := slices.DeleteFunc(slices.Clone(list), func(p Participant) bool { return !p.Identity.Native() })
	slices.SortStableFunc(natives, func(a, b Participant) int { return a.JoinedAt.Compare(b.JoinedAt) })
	return natives
}

// Has reports whether kind is in the set.
func (k MediaKinds) Has(kind Kind) bool {
	return kind == Audio && k.Audio || kind == Video && k.Video
}
