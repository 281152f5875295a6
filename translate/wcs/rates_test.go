package wcs

import "testing"

func TestVideoRateHasMembersOfSDK(t *testing.T) {
	figures := VideoFigures{Rate: 5_000_000_000, FPS: 30, NACK: 1, PLI: 2, Lost: 3, Width: 640, Height: 360}
	const members = `[{"mediaSessionId":"m","videoRate":5000000000,"fps":30,"nack":1,"pli":2,"lostPackets":3,"width":640,"height":360}]}`
	for published, want := range map[bool]string{
		true: `{"message":"inboundVideoRate","data":` + members, false: `{"message":"outboundVideoRate","data":` + members,
	} {
		if got := string((VideoRate{MediaSessionID: "m", Published: published, Figures: figures}).Frame()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
