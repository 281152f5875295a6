package gateway

import (
	"fmt"

	"wcsgateway/gateway/hooks"
	"wcsgateway/translate/wcs"
)

// infoNobodyTakesData is for clients of an application without a backend that takes data: nobody would get them.
const infoNobodyTakesData = "No application server takes data"

// handleSendData hands the application's own data to its backend (integration.md §1.4, OnDataEvent). Every request is answered:
// the client's promise would hang.
func handleSendData(s *session, d wcs.SendData) error {
	limits := &s.g.live().limits
	if err := limits.checkID(d.OperationID); err != nil {
		return err
	}
	if err := limits.checkPayload(d.Payload); err != nil {
		s.send(wcs.DataStatus(d.OperationID, wcs.DataFailed, classify(err).info))
		return fmt.Errorf("%w: %w", errStreamRefused, err)
	}
	h := s.hooks
	if !h.wants(hooks.OnDataEvent) {
		s.send(wcs.DataStatus(d.OperationID, wcs.DataFailed, infoNobodyTakesData))
		return nil
	}
	h.ask(hooks.OnDataEvent, h.body(dataBody{OperationID: d.OperationID, Payload: d.Payload}), func(_ hooks.Object, err error) {
		status := dataStatusBody{OperationID: d.OperationID, Status: wcs.DataAccepted}
		if err != nil {
			status.Status, status.Info = wcs.DataFailed, classify(err).info
		}
		s.sendAs(wcs.DataStatus(d.OperationID, status.Status, status.Info), hooks.DataStatusEvent)
		if h.wants(hooks.DataStatusEvent) {
			h.tell(hooks.DataStatusEvent, h.body(status))
		}
	})
	return nil
}
