package config

// Rooms bounds the room API of the applications that have it.
type Rooms struct {
	// Members of a room. Further ones are rejected with `Room is full`. Each change is sent to all members.
	MaxMembers int `koanf:"maxMembers" rule:"min=1"`
	// Rooms that one session may join at the same time.
	PerSession int `koanf:"perSession" rule:"min=1"`
}

// Values of an application's rooms.
const (
	RoomsOn  = "on"
	RoomsOff = "off"
)

// roomApp is the app key that the SDK's room API uses unless the app names another.
const roomApp = "roomApp"

// HasRooms reports whether an application has the room API.
func (a Application) HasRooms(appKey string) bool {
	return a.Rooms == RoomsOn || a.Rooms == "" && appKey == roomApp
}
