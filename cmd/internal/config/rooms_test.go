package config

import "testing"

func TestApplicationHasRoomsUnlessOff(t *testing.T) {
	for _, c := range []struct {
		key, rooms string
		want       bool
	}{
		{"roomApp", "", true}, {"roomApp", RoomsOff, false}, {"defaultApp", "", false}, {"chat", RoomsOn, true},
	} {
		if got := (Application{Rooms: c.rooms}).HasRooms(c.key); got != c.want {
			t.Errorf("%s with rooms %q: %v", c.key, c.rooms, got)
		}
	}
}
