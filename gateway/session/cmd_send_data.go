package session

import (
	"cmp"
	"fmt"

	"wcsgateway/gateway/hooks"
	"wcsgateway/gateway/quota"
	"wcsgateway/translate/wcs"
)

// infoNoDataReceiver is the answer in an application whose backend does not receive data.
const infoNoDataReceiver = "No application server takes data"

// handleSendData passes data to the application's backend (docs/backend-hooks.md) or to the room API. Every
// request is answered: the client's promise would hang.
func handleSendData(s *Session, d wcs.SendData) error {
	limits := &s.table.Settings().Limits
	if err := limits.CheckID(d.OperationID); err != nil {
		return err
	}
	if err := limits.CheckPayload(d.Payload); err != nil {
		s.send(wcs.DataStatus{OperationID: d.OperationID, Status: wcs.DataFailed, Info: classify(err).info}.Frame())
		return fmt.Errorf("%w: %w", errAnswered, err)
	}
	h, room := s.hooks, s.rooms.parse(d.Payload)
	switch {
	case !room.leaves() && !s.quota().Allow(quota.Data), room.joins() && !s.quota().Allow(quota.Joins):
		s.answerData(d.OperationID, errTooManyRequests)
		return fmt.Errorf("%w: %w", errAnswered, errTooManyRequests)
	case h.wants(hooks.OnDataEvent): // room commands too: the backend can refuse them
		h.request(s.table.Context, hooks.OnDataEvent, h.body(d), func(_ hooks.Object, err error) {
			if room != nil && (err == nil || room.leaves()) {
				s.rooms.handle(room, func(fault error) { s.answerData(d.OperationID, cmp.Or(err, fault)) })
				return
			}
			s.answerData(d.OperationID, err)
		})
	case room != nil:
		s.rooms.handle(room, func(fault error) { s.answerData(d.OperationID, fault) })
	default:
		s.send(wcs.DataStatus{OperationID: d.OperationID, Status: wcs.DataFailed, Info: infoNoDataReceiver}.Frame())
	}
	return nil
}

// answerData sends the outcome to client and backend.
func (s *Session) answerData(operationID string, err error) {
	status := wcs.DataStatus{OperationID: operationID, Status: wcs.DataAccepted}
	if err != nil {
		status.Status, status.Info = wcs.DataFailed, classify(err).info
		s.sampled().Err(err).Msg("data not accepted")
	}
	s.sendAs(status.Frame(), hooks.DataStatusEvent)
	s.hooks.event(hooks.DataStatusEvent, status)
}
