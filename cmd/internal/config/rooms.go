package config

// Rooms bounds the room API of the applications that have it.
type Rooms struct {
	// Members that a room may have; more are refused with `Room is full`. Each of them is told of each change.
	MaxMembers int `koanf:"maxMembers"`
	// Rooms that one session may be in at a time.
	PerSession int `koanf:"perSession"`
}

// Values of an application's rooms.
const (
	RoomsOn  = "on"
	RoomsOff = "off"
)

// roomApp is the app key that the SDK's room API uses unless the app names another (protocol.md §7).
const roomApp = "roomApp"

// HasRooms tells whether an application has the room API.
func (a Application) HasRooms(appKey string) bool {
	return a.Rooms == RoomsOn || a.Rooms == "" && appKey == roomApp
}

func (r Rooms) validate(f *faults) {
	f.check(r.MaxMembers > 0, "rooms.maxMembers", "must be at least 1")
	f.check(r.PerSession > 0, "rooms.perSession", "must be at least 1")
}
