package gateway

import "wcsgateway/translate/wcs"

// Commands whose feature does not exist yet are answered so that no app waits for ever (design.md §9).

const infoUnsupported = "Not supported by this server"

func handleSnapshot(s *session, ref wcs.StreamRef) error {
	s.send(wcs.SnapshotFailed(ref.MediaSessionID, infoUnsupported))
	return nil
}

func handleCall(s *session, c wcs.Call) error {
	s.send(wcs.CallFailed(c.CallID))
	return nil
}
