package translate

import (
	"slices"
	"strings"
)

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

// SDPCodec is the codec of a LiveKit mime type in the words of SDP, for PlayEdit: as CodecName, but "red" for
// redundant audio.
func SDPCodec(mime string) string {
	_, name, _ := strings.Cut(mime, "/")
	return name
}

// Natives are the native participants of a room, the one that has been there for longest first.
func Natives(list []Participant) []Participant {
	natives := slices.DeleteFunc(slices.Clone(list), func(p Participant) bool { return !p.Identity.Native() })
	slices.SortStableFunc(natives, func(a, b Participant) int { return a.JoinedAt.Compare(b.JoinedAt) })
	return natives
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
