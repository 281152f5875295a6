package livekit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"
	lkproto "github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/protojson"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"wcsgateway/translate"
)

// egressAPI is LiveKit's egress API with answers of the test. Package e2e tests the real one.
type egressAPI struct {
	lkproto.Egress // nil: the gateway does not call the other methods

	asked  proto.Message
	answer *lkproto.EgressInfo
	list   []*lkproto.EgressInfo
	err    error
}

func (a *egressAPI) StartParticipantEgress(_ context.Context, r *lkproto.ParticipantEgressRequest) (*lkproto.EgressInfo, error) {
	a.asked = r
	return a.answer, a.err
}

func (a *egressAPI) StopEgress(_ context.Context, r *lkproto.StopEgressRequest) (*lkproto.EgressInfo, error) {
	a.asked = r
	return a.answer, a.err
}

func (a *egressAPI) ListEgress(_ context.Context, r *lkproto.ListEgressRequest) (*lkproto.ListEgressResponse, error) {
	a.asked = r
	return &lkproto.ListEgressResponse{Items: a.list}, nil
}

func newEgressSFU(t *testing.T, api *egressAPI) *SFU {
	t.Helper()
	twirpServer := lkproto.NewEgressServer(api)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := auth.ParseAPIToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			t.Errorf("token: %v", err)
			return
		}
		if _, grants, err := token.Verify(testSecret); err != nil || !cmp.Equal(*grants.Video, auth.VideoGrant{RoomRecord: true}) {
			t.Errorf("token does not grant exactly recording: %+v, %v", grants, err)
		}
		twirpServer.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	sfu, err := New(Config{URL: server.URL, Key: "key", Secret: testSecret}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	return sfu
}

var (
	fileRequest = &lkproto.ParticipantEgressRequest{
		RoomName: "wcs.a", Identity: "wcs:d:pub:1",
		FileOutputs: []*lkproto.EncodedFileOutput{{FileType: lkproto.EncodedFileType_MP4, Filepath: "/out/a.mp4", DisableManifest: true}},
	}
	rtmpRequest = &lkproto.ParticipantEgressRequest{
		RoomName: "wcs.a", Identity: "wcs:d:pub:1",
		StreamOutputs: []*lkproto.StreamOutput{{Protocol: lkproto.StreamProtocol_RTMP, Urls: []string{"rtmp://h/app/s3cret"}}},
	}
	recordOrder = translate.EgressRequest{Room: "wcs.a", Publisher: "wcs:d:pub:1", Kind: translate.EgressRecord, File: "/out/a.mp4"}
	rtmpOrder   = translate.EgressRequest{Room: "wcs.a", Publisher: "wcs:d:pub:1", Kind: translate.EgressRTMP, URL: "rtmp://h/app/s3cret"}
)

func infoOf(id string, r *lkproto.ParticipantEgressRequest, status lkproto.EgressStatus) *lkproto.EgressInfo {
	i := &lkproto.EgressInfo{EgressId: id, RoomName: r.GetRoomName(), Status: status, Request: &lkproto.EgressInfo_Participant{Participant: r}}
	for _, f := range r.GetFileOutputs() {
		i.FileResults = append(i.FileResults, &lkproto.FileInfo{Filename: f.GetFilepath()})
	}
	return i
}

func TestStartEgressSendsRequest(t *testing.T) {
	api := &egressAPI{}
	sfu := newEgressSFU(t, api)
	for _, c := range []struct {
		order translate.EgressRequest
		want  *lkproto.ParticipantEgressRequest
		file  string
	}{{recordOrder, fileRequest, "/out/a.mp4"}, {rtmpOrder, rtmpRequest, ""}} {
		api.answer = infoOf("EG_1", c.want, lkproto.EgressStatus_EGRESS_STARTING)
		e, err := sfu.StartEgress(t.Context(), c.order)
		if want := (translate.Egress{ID: "EG_1", Kind: c.order.Kind, State: translate.EgressStarting, File: c.file}); e != want || err != nil {
			t.Errorf("%+v, %v, want %+v", e, err, want)
		}
		if diff := cmp.Diff(c.want, api.asked, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	api.err = twirp.NewError(twirp.InvalidArgument, "invalid output rtmp://h/app/s3cret")
	if _, err := sfu.StartEgress(t.Context(), rtmpOrder); translate.KindOf(err) != translate.ErrKindRefused || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("refused: %v", err)
	}
}

func TestStartEgressWithoutEgressService(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // otherwise the server does not notice that the client cancels
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	sfu, err := New(Config{URL: silent.URL, Key: "key", Secret: testSecret}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sfu.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sfu.StartEgress(ctx, recordOrder); translate.KindOf(err) != translate.ErrKindUnavailable {
		t.Errorf("%v", err)
	}
}

func TestStopEgressReturnsStateOfEndedEgress(t *testing.T) {
	api := &egressAPI{answer: infoOf("EG_1", fileRequest, lkproto.EgressStatus_EGRESS_ENDING)}
	sfu := newEgressSFU(t, api)
	e, err := sfu.StopEgress(t.Context(), "EG_1")
	if e.State != translate.EgressActive || e.File != "/out/a.mp4" || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	api.err = twirp.NewError(twirp.FailedPrecondition, "egress with status EGRESS_COMPLETE cannot be stopped")
	api.list = []*lkproto.EgressInfo{infoOf("EG_1", fileRequest, lkproto.EgressStatus_EGRESS_COMPLETE)}
	if e, err = sfu.StopEgress(t.Context(), "EG_1"); e.State != translate.EgressComplete || err != nil {
		t.Errorf("ended egress: %+v, %v", e, err)
	}
	api.err = twirp.NotFoundError("egress does not exist")
	if e, err = sfu.StopEgress(t.Context(), "EG_1"); e != (translate.Egress{}) || err != nil {
		t.Errorf("egress unknown to LiveKit: %+v, %v", e, err)
	}
	api.err = twirp.NewError(twirp.DeadlineExceeded, "no response")
	if _, err = sfu.StopEgress(t.Context(), "EG_1"); translate.KindOf(err) != translate.ErrKindUnavailable {
		t.Errorf("no egress service: %v", err)
	}
}

func TestFindEgressSelectsByRequest(t *testing.T) {
	active := lkproto.EgressStatus_EGRESS_ACTIVE
	other := proto.CloneOf(fileRequest)
	other.Identity = "wcs:d:pub:2"
	api := &egressAPI{list: []*lkproto.EgressInfo{infoOf("EG_other", other, active), infoOf("EG_rtmp", rtmpRequest, active), infoOf("EG_file", fileRequest, active), infoOf("EG_again", fileRequest, active)}}
	sfu := newEgressSFU(t, api)
	again := recordOrder
	again.Not = []string{"EG_before", "EG_file"}
	for want, order := range map[string]translate.EgressRequest{"EG_file": recordOrder, "EG_rtmp": rtmpOrder, "EG_again": again} {
		if e, err := sfu.FindEgress(t.Context(), order, ""); e.ID != want || err != nil {
			t.Errorf("%+v, %v, want %s", e, err, want)
		}
		if diff := cmp.Diff(&lkproto.ListEgressRequest{RoomName: "wcs.a", Active: true}, api.asked, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := sfu.FindEgress(t.Context(), translate.EgressRequest{Room: "wcs.a", Publisher: "x", Kind: translate.EgressRecord}, ""); translate.KindOf(err) != translate.ErrKindNotFound || !errors.Is(err, errNoEgress) {
		t.Errorf("none: %v", err)
	}
	api.list = api.list[2:]
	if e, err := sfu.FindEgress(t.Context(), recordOrder, "EG_file"); e.ID != "EG_file" || e.State != translate.EgressActive || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if diff := cmp.Diff(&lkproto.ListEgressRequest{EgressId: "EG_file"}, api.asked, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestListedEgressHasMaskedAddress(t *testing.T) {
	active := lkproto.EgressStatus_EGRESS_ACTIVE
	push := infoOf("EG_push", rtmpRequest, active)
	push.StreamResults = []*lkproto.StreamInfo{{Url: "rtmp://h/app/{sec...key}", Status: lkproto.StreamInfo_ACTIVE}}
	web := &lkproto.EgressInfo{EgressId: "EG_web", RoomName: "wcs.a", Status: active, Request: &lkproto.EgressInfo_Web{Web: &lkproto.WebEgressRequest{}}}
	api := &egressAPI{list: []*lkproto.EgressInfo{push, web, infoOf("EG_file", fileRequest, active), infoOf("EG_over", fileRequest, lkproto.EgressStatus_EGRESS_COMPLETE)}}
	sfu := newEgressSFU(t, api)
	all, err := sfu.ListEgresses(t.Context())
	if err != nil || len(all) != 2 || all[0].ID != "EG_push" || all[1].ID != "EG_file" || all[0].Publisher != rtmpOrder.Publisher || all[0].Room != rtmpOrder.Room || all[0].Kind != translate.EgressRTMP {
		t.Fatalf("%+v, %v", all, err)
	}
	if masked := sfu.MaskRTMP("rtmp://h/app/secretkey"); masked != all[0].Address {
		t.Errorf("masked %s, listed %s", masked, all[0].Address)
	}
	if diff := cmp.Diff(&lkproto.ListEgressRequest{Active: true}, api.asked, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestEveryEgressStatusHasState(t *testing.T) {
	for number, name := range lkproto.EgressStatus_name {
		want := map[string]translate.EgressState{
			"EGRESS_STARTING": translate.EgressStarting, "EGRESS_ACTIVE": translate.EgressActive, "EGRESS_ENDING": translate.EgressActive,
			"EGRESS_COMPLETE": translate.EgressComplete, "EGRESS_LIMIT_REACHED": translate.EgressComplete,
			"EGRESS_FAILED": translate.EgressFailed, "EGRESS_ABORTED": translate.EgressFailed,
		}[name]
		if got := egressState(infoOf("EG", fileRequest, lkproto.EgressStatus(number))); got != want || want == 0 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	lost := infoOf("EG", rtmpRequest, lkproto.EgressStatus_EGRESS_ACTIVE)
	lost.StreamResults = []*lkproto.StreamInfo{{Status: lkproto.StreamInfo_FAILED}}
	if got := egressState(lost); got != translate.EgressFailed {
		t.Errorf("failed output: %v", got)
	}
}

func TestEgressWebhooksBecomeEvents(t *testing.T) {
	sfu := webhookSFU(t)
	failed := infoOf("EG_1", fileRequest, lkproto.EgressStatus_EGRESS_FAILED)
	failed.Error = "no space left"
	composite := &lkproto.EgressInfo{EgressId: "EG_2", RoomName: "wcs.a", Request: &lkproto.EgressInfo_RoomComposite{RoomComposite: &lkproto.RoomCompositeEgressRequest{RoomName: "wcs.a"}}}
	for name, c := range map[string]struct {
		info *lkproto.EgressInfo
		want translate.Egress
	}{
		"egress_started": {infoOf("EG_1", fileRequest, lkproto.EgressStatus_EGRESS_STARTING), translate.Egress{ID: "EG_1", Kind: translate.EgressRecord, State: translate.EgressStarting, File: "/out/a.mp4"}},
		"egress_updated": {infoOf("EG_1", rtmpRequest, lkproto.EgressStatus_EGRESS_ACTIVE), translate.Egress{ID: "EG_1", Kind: translate.EgressRTMP, State: translate.EgressActive}},
		"egress_ended":   {failed, translate.Egress{ID: "EG_1", Kind: translate.EgressRecord, State: translate.EgressFailed, File: "/out/a.mp4", Error: "no space left"}},
		"egress_created": {failed, translate.Egress{}}, // no such kind
		"egress_ended ":  {composite, translate.Egress{}},
	} {
		body, err := protojson.Marshal(&lkproto.WebhookEvent{Event: strings.TrimSpace(name), Id: "EV_1", CreatedAt: 1700000000, EgressInfo: c.info})
		if err != nil {
			t.Fatal(err)
		}
		e, ok, err := sfu.Webhook(httptest.NewRecorder(), post(t, "key", testSecret, string(body), time.Minute))
		want := translate.Event{}
		if c.want.ID != "" {
			want = translate.Event{ID: "EV_1", Kind: translate.EventEgress, Room: "wcs.a", Identity: "wcs:d:pub:1", Egress: c.want, At: time.Unix(1700000000, 0)}
		}
		if e != want || ok != (c.want.ID != "") || err != nil {
			t.Errorf("%s: %+v, %v, %v", name, e, ok, err)
		}
	}
}
