package gateway

import "wcsgateway/translate/wcs"

// endCall answers any message about a SIP call: there are none here, so it is over (protocol.md §2.16). It is always finish, which the SDK takes
// for calls that it does not know any more, too; of notifyTransferEvent it would throw.
func endCall(status wcs.Status) spec {
	return on(func(s *session, c wcs.Call) error {
		if err := s.g.live().limits.checkID(c.CallID); err != nil {
			return err
		}
		s.send(wcs.CallFinished(c.CallID, status))
		return nil
	})
}
