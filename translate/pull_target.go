package translate

// PullTarget says where and as which participant a pulled source is published, and which tracks it has.
type PullTarget struct {
	Room     RoomName
	Identity Identity // must be Native
	Video    bool     // H264
	Audio    string   // MimeOpus, MimePCMU or MimePCMA; "" without audio
}

// Mime types of the audio that is published unchanged, as LiveKit writes them.
const (
	MimeOpus = "audio/opus"
	MimePCMU = "audio/PCMU"
	MimePCMA = "audio/PCMA"
)
