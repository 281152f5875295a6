package gateway

import (
	"context"

	"wcsgateway/translate"
)

func (f *fakeSFU) SetMutes(ctx context.Context, room translate.RoomName, id translate.Identity, m translate.Mutes) error {
	err := f.enter(ctx, "mutes")
	defer f.mu.Unlock()
	if p := f.rooms[room][id]; err == nil && p != nil {
		p.Mutes = m
	}
	return err
}

func (f *fakeSFU) MuteTrack(ctx context.Context, room translate.RoomName, id translate.Identity, trackSID string, muted bool) error {
	err := f.enter(ctx, "mute track")
	defer f.mu.Unlock()
	if p := f.rooms[room][id]; err == nil && p != nil {
		tracks := make([]translate.Track, len(p.Tracks)) // others have the old ones
		for i, t := range p.Tracks {
			if t.SID == trackSID {
				t.Muted = muted
			}
			tracks[i] = t
		}
		p.Tracks = tracks
	}
	return err
}

func (f *fakeSFU) SendData(ctx context.Context, _ translate.RoomName, data []byte) error {
	err := f.enter(ctx, "data")
	defer f.mu.Unlock()
	if err == nil {
		f.data = append(f.data, string(data))
	}
	return err
}
