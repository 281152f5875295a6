package translate

// Mutes is what the publisher of a stream has muted, by its own word: a muted track is still sent unless LiveKit was asked to mute
// it, too. It is in the participant's attributes.
type Mutes struct {
	Audio, Video bool
	Changes      int // so far: what has more of them is newer
}
