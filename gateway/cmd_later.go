package gateway

import (
	"wcsgateway/translate/wcs"
)

// Commands whose feature does not exist yet are answered so that no app waits for ever (design.md §9).

const infoUnsupported = "Not supported by this server"

func handleSnapshot(s *session, ref wcs.StreamRef) error {
	if err := s.g.live().limits.checkID(ref.MediaSessionID); err != nil {
		return err
	}
	if err := s.g.live().limits.checkID(ref.MediaSessionID); err != nil {
		return err
	}
	s.send(wcs.SnapshotFailed(ref.MediaSessionID, infoUnsupported))
	return nil
}
