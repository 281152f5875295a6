package gateway

import (
	"wcsgateway/translate/wcs"
)

// Commands whose feature does not exist yet are answered so that no app waits for ever (design.md §9).

func handleCall(s *session, c wcs.Call) error {
	if err := s.g.live().limits.checkID(c.CallID); err != nil {
		return err
	}
	s.send(wcs.CallFailed(c.CallID))
	return nil
}
