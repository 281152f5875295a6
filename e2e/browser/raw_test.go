package browser

import (
	"slices"

	"wcsgateway/translate/wcs"
)

// rawClient is a client without an SDK: m-lines called audio and video, and only the required members.
func rawClient(s *scene) {
	name := s.name("raw")
	gateway := s.world.stage.Gateway.URL + name // such clients connect to /<stream name>
	publishers, viewers := s.newTab("page/raw.js"), s.newTab("page/raw.js")
	session := call[int](publishers, "open", gateway, defaultApp)
	publisher := call[int](publishers, "begin", session, "publishStream", name)
	wantRaw(s, publishers, publisher, 0, wcs.StatusPublishing, "")
	if mids := call[[]string](publishers, "mids", publisher); !slices.Equal(mids, []string{"audio", "video"}) {
		s.t.Errorf("mids %v", mids)
	}

	session = call[int](viewers, "open", gateway, defaultApp)
	player := call[int](viewers, "begin", session, "playStream", name)
	wantRaw(s, viewers, player, 0, wcs.StatusPlaying, "")
	checkTracks(s.t, call[media](viewers, "watching", player), cameraMedia)

	s.legacyTab(newestSDK).login(defaultApp).play(name, nil).wantMedia(cameraMedia)

	viewers.do("end", player)
	wantRaw(s, viewers, player, 1, wcs.StatusStopped, wcs.InfoStoppedByUser)
	publishers.do("end", publisher)
	wantRaw(s, publishers, publisher, 1, wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
}

func wantRaw(s *scene, tb *tab, stream, n int, status wcs.Status, info string) {
	s.t.Helper()
	if got := call[statusInfo](tb, "status", stream, n); got != (statusInfo{string(status), info}) {
		s.t.Errorf("status %d is %+v, want %s %q", n, got, status, info)
	}
}
