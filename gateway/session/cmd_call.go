package session

import "wcsgateway/translate/wcs"

// endCall answers a message about a SIP call with the end of that call, since this server has no calls
// (docs/wcs-protocol.md#call). The answer is always finish: the SDK accepts it for calls that it has
// forgotten, and throws on notifyTransferEvent.
func endCall(status wcs.Status) spec {
	return on(func(s *Session, c wcs.Call) error {
		if err := s.table.Settings().Limits.checkID(c.CallID); err != nil {
			return err
		}
		s.send(wcs.CallFinished(c.CallID, status))
		return nil
	})
}
