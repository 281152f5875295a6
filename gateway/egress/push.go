package egress

import (
	"context"

	"wcsgateway/translate"
)

// Push sends a published stream to an RTMP server for an operator. No Set has it: the stream goes on without
// it, and LiveKit is the only place that knows it. It takes up to Config.StartTimeout. Errors are
// *translate.Error; their text can contain the address.
func (s *Service) Push(ctx context.Context, room translate.RoomName, publisher translate.Identity, address string) (translate.Egress, error) {
	e, err := s.start(ctx, translate.EgressRequest{Room: room, Publisher: publisher, Kind: translate.EgressRTMP, URL: address})
	result := started
	if err != nil {
		result = Failed
	}
	s.d.Egresses.WithLabelValues(string(translate.EgressRTMP), result).Inc()
	return e, err
}

// Running returns the egresses of participants that have not ended, those of other systems included. Errors
// are *translate.Error.
func (s *Service) Running(ctx context.Context) ([]translate.ListedEgress, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.d.Client.ListEgresses(ctx)
}

// Stop ends an egress. One that has ended is not an error. Errors are *translate.Error.
func (s *Service) Stop(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, stopExpiry)
	defer cancel()
	_, err := s.d.Client.StopEgress(ctx, id)
	return err
}

// Mask returns an RTMP address as in ListedEgress.Address.
func (s *Service) Mask(address string) string { return s.d.Client.MaskRTMP(address) }
