package translate

// Mutes is the mute state that the publisher of a stream announced. A muted track is still sent unless
// LiveKit was asked to mute it as well. The state is kept in the participant's attributes.
type Mutes struct {
	Audio, Video bool
	Changes      int // number of changes so far: the state with the larger number is newer
}
