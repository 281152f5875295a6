package livekit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils"

	"wcsgateway/translate"
)

var errNoEgress = errors.New("no such egress")

// StartEgress requests an egress of a participant, who need not have tracks yet; the room must exist. The
// egress service replies after half a second, some seconds before it writes media. Without an egress service
// the call runs into its deadline. An egress whose reply was late can have begun nevertheless.
func (s *SFU) StartEgress(ctx context.Context, r translate.EgressRequest) (e translate.Egress, err error) {
	defer s.done(opStartEgress, time.Now(), r.Room, r.Publisher, &err)
	request := &lkproto.ParticipantEgressRequest{RoomName: string(r.Room), Identity: string(r.Publisher)}
	switch r.Kind {
	case translate.EgressRecord:
		request.FileOutputs = []*lkproto.EncodedFileOutput{{FileType: lkproto.EncodedFileType_MP4, Filepath: r.File, DisableManifest: true}}
	case translate.EgressRTMP:
		request.StreamOutputs = []*lkproto.StreamOutput{{Protocol: lkproto.StreamProtocol_RTMP, Urls: []string{r.URL}}}
	}
	info, err := callEgress(ctx, s, opStartEgress, request, s.egress.StartParticipantEgress)
	if err != nil {
		return translate.Egress{}, err
	}
	return egressOf(info), nil
}

// StopEgress ends an egress and returns its state at that time; the output is complete some time later. An
// egress that has ended is not an error.
func (s *SFU) StopEgress(ctx context.Context, id string) (e translate.Egress, err error) {
	defer s.done(opStopEgress, time.Now(), "", "", &err)
	info, err := callEgress(ctx, s, opStopEgress, &lkproto.StopEgressRequest{EgressId: id}, s.egress.StopEgress)
	if translate.KindOf(err) == translate.ErrKindRefused { // LiveKit answers so after 3 s (docs/livekit-notes.md#egress)
		info, err = s.listed(ctx, &lkproto.ListEgressRequest{EgressId: id}, func(*lkproto.EgressInfo) bool { return true })
	}
	if err != nil {
		return translate.Egress{}, unlessMissing(err)
	}
	return egressOf(info), nil
}

// FindEgress returns the state of an egress. With an empty id it finds the participant's current egress of
// that kind, except those in r.Not. If there is none, the error is translate.ErrKindNotFound. LiveKit answers
// from the last update of the egress service.
func (s *SFU) FindEgress(ctx context.Context, r translate.EgressRequest, id string) (e translate.Egress, err error) {
	defer s.done(opFindEgress, time.Now(), r.Room, r.Publisher, &err)
	request := &lkproto.ListEgressRequest{EgressId: id}
	if id == "" {
		request = &lkproto.ListEgressRequest{RoomName: string(r.Room), Active: true}
	}
	info, err := s.listed(ctx, request, func(i *lkproto.EgressInfo) bool {
		return id != "" || i.GetParticipant().GetIdentity() == string(r.Publisher) && egressKind(i) == r.Kind && !slices.Contains(r.Not, i.GetEgressId())
	})
	if err != nil {
		return translate.Egress{}, err
	}
	return egressOf(info), nil
}

// ListEgresses returns the participants' egresses that have not ended, of all rooms of LiveKit, those of
// other systems included.
func (s *SFU) ListEgresses(ctx context.Context) (all []translate.ListedEgress, err error) {
	defer s.done(opListEgresses, time.Now(), "", "", &err)
	list, err := callEgress(ctx, s, opListEgresses, &lkproto.ListEgressRequest{Active: true}, s.egress.ListEgress)
	if err != nil {
		return nil, err
	}
	for _, i := range list.GetItems() {
		if e := listedEgress(i); e.Kind != "" && !e.State.Over() {
			all = append(all, e)
		}
	}
	return all, nil
}

func listedEgress(i *lkproto.EgressInfo) translate.ListedEgress {
	e := translate.ListedEgress{Egress: egressOf(i), Room: translate.RoomName(i.GetRoomName()), Publisher: translate.Identity(i.GetParticipant().GetIdentity())}
	if outputs := i.GetStreamResults(); len(outputs) > 0 {
		e.Address = outputs[0].GetUrl()
	}
	return e
}

// MaskRTMP returns an RTMP address as LiveKit shows it: of the stream key there are a few letters.
func (s *SFU) MaskRTMP(address string) string {
	masked, _ := utils.RedactStreamKey(address)
	return masked
}

// listed returns the first matching egress in LiveKit's list.
func (s *SFU) listed(ctx context.Context, r *lkproto.ListEgressRequest, fits func(*lkproto.EgressInfo) bool) (*lkproto.EgressInfo, error) {
	list, err := callEgress(ctx, s, opFindEgress, r, s.egress.ListEgress)
	if err != nil {
		return nil, err
	}
	for _, i := range list.GetItems() {
		if fits(i) {
			return i, nil
		}
	}
	return nil, &translate.Error{Kind: translate.ErrKindNotFound, Op: opFindEgress, Err: errNoEgress}
}

// callEgress calls LiveKit's egress API with a token that names no room. The text of a rejection can quote
// the output, which can contain a key.
func callEgress[Q, R any](ctx context.Context, s *SFU, op string, q Q, do func(context.Context, Q) (R, error)) (R, error) {
	r, err := call(ctx, s, op, &auth.VideoGrant{RoomRecord: true}, do, q)
	if translate.KindOf(err) == translate.ErrKindRefused {
		err = &translate.Error{Kind: translate.ErrKindRefused, Op: op, Err: errors.New("refused: see LiveKit's log")}
	}
	return r, err
}

func egressOf(i *lkproto.EgressInfo) translate.Egress {
	e := translate.Egress{ID: i.GetEgressId(), Kind: egressKind(i), State: egressState(i), Error: cut(i.GetError())}
	if files := i.GetFileResults(); len(files) > 0 {
		e.File = files[0].GetFilename()
	}
	if e.State == translate.EgressFailed && e.Error == "" {
		e.Error = fmt.Sprintf("status %s", i.GetStatus())
	}
	return e
}

// egressKind returns "" for an egress that the gateway did not request.
func egressKind(i *lkproto.EgressInfo) translate.EgressKind {
	p := i.GetParticipant()
	switch {
	case len(p.GetFileOutputs()) > 0:
		return translate.EgressRecord
	case len(p.GetStreamOutputs()) > 0:
		return translate.EgressRTMP
	}
	return ""
}

// egressState maps LiveKit's state. With one output an egress fails when its output does; the output reports
// it first.
func egressState(i *lkproto.EgressInfo) translate.EgressState {
	for _, r := range i.GetStreamResults() {
		if r.GetStatus() == lkproto.StreamInfo_FAILED {
			return translate.EgressFailed
		}
	}
	switch i.GetStatus() {
	case lkproto.EgressStatus_EGRESS_ACTIVE, lkproto.EgressStatus_EGRESS_ENDING:
		return translate.EgressActive
	case lkproto.EgressStatus_EGRESS_COMPLETE, lkproto.EgressStatus_EGRESS_LIMIT_REACHED:
		return translate.EgressComplete
	case lkproto.EgressStatus_EGRESS_FAILED, lkproto.EgressStatus_EGRESS_ABORTED:
		return translate.EgressFailed
	default:
		return translate.EgressStarting
	}
}
