package browser

import (
	"net/http/httptest"
	"strings"
	"testing"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate/wcs"
)

// recordingTests check what users of the SDK see of recordings and of RTMP.
var recordingTests = map[string]func(s *scene, egress *rig.Egress, sdk string){
	"a stream is recorded":                 recorded,
	"a failed recording is reported":       recordingFails,
	"a stream is republished":              republished,
	"a forbidden address fails the stream": republishingForbidden,
}

// TestSDKRecordsStreams runs on a world whose LiveKit has a simulated egress service.
func TestSDKRecordsStreams(t *testing.T) {
	requireSDKs(t)
	s := &rig.Stage{Ports: rig.NewPorts(t), Redis: rig.StartRedis(t)}
	s.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: s.Ports.Webhook(), Redis: s.Redis.Addr})
	egress := rig.StartEgress(t, s.LiveKit, s.Redis.Addr)
	egress.SetOutcome(func(r *lkproto.ParticipantEgressRequest) rig.EgressOutcome {
		if strings.HasPrefix(r.GetRoomName(), "broken") {
			return rig.Fails
		}
		return rig.Works
	})
	s.Gateway = rig.StartGateway(t, rig.GatewayOptions{Ports: s.Ports, LiveKit: s.LiveKit, Redis: s.Redis.Addr, Env: map[string]string{
		"WCS_APPLICATIONS":     `{defaultApp: {room: "{name}", record: allowed, rtmpHosts: [live.example.com]}}`,
		"WCS_RECORDING_PREFIX": "/out/", "WCS_RECORDING_TEMPLATE": "{streamName}",
	}})
	s.Gateway.AwaitReady(t)
	pages := httptest.NewServer(pageHandler())
	t.Cleanup(pages.Close)
	w := &world{stage: s, pages: pages.URL + "/", browser: startBrowser(t)}
	t.Run("all", func(t *testing.T) {
		for _, sdk := range versionsOfFeatures() {
			for name, test := range recordingTests {
				t.Run(sdk+" "+name, func(t *testing.T) {
					t.Parallel()
					test(w.newScene(t), egress, sdk)
				})
			}
		}
	})
	s.WantClean(t)
}

// awaitEgress waits until the egress of a stream has a status, and until the gateway knows it if it is
// active.
func (s *scene) awaitEgress(e *rig.Egress, name string, status lkproto.EgressStatus) {
	s.t.Helper()
	rig.Eventually(s.t, patience, name+" is "+status.String(), func() bool {
		infos := e.Infos(name)
		return len(infos) == 1 && infos[0].GetStatus() == status
	})
	if status == lkproto.EgressStatus_EGRESS_ACTIVE {
		rig.Eventually(s.t, patience, "the gateway knows of "+name, func() bool {
			for line := range strings.Lines(s.world.stage.Gateway.Output()) {
				if strings.Contains(line, "egress is active") && strings.Contains(line, `"room":"`+name+`"`) {
					return true
				}
			}
			return false
		})
	}
}

// recordInfo returns the name of the recording's file as the SDK reports it to its app, "" without one.
func (st *stream) recordInfo() string {
	st.tab.t.Helper()
	return call[string](st.tab.tab, "recordInfo", st.index)
}

func recorded(s *scene, egress *rig.Egress, sdk string) {
	name := s.name("rec")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, options{"record": true})
	s.awaitEgress(egress, name, lkproto.EgressStatus_EGRESS_ACTIVE)
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	if got := publisher.recordInfo(); got != name+".mp4" {
		s.t.Errorf("record name %q", got)
	}
	s.awaitEgress(egress, name, lkproto.EgressStatus_EGRESS_COMPLETE)
}

func recordingFails(s *scene, _ *rig.Egress, sdk string) {
	name := s.name("broken")
	c := s.legacyTab(sdk).login(defaultApp)
	publisher := c.publish(name, options{"record": true})
	c.tab.do("sessionTold", c.index, "WARN", "Recording of "+name+" has failed")
	s.legacyTab(sdk).login(defaultApp).play(name, nil).wantMedia(cameraMedia)
	publisher.stop()
	publisher.want(wcs.StatusUnpublished, wcs.InfoStoppedByPublisherStop)
	if got := publisher.recordInfo(); got != "" {
		s.t.Errorf("record name %q", got)
	}
}

func republished(s *scene, egress *rig.Egress, sdk string) {
	name := s.name("rtmp")
	publisher := s.legacyTab(sdk).login(defaultApp).publish(name, options{"rtmpUrl": "rtmp://live.example.com/app"})
	s.awaitEgress(egress, name, lkproto.EgressStatus_EGRESS_ACTIVE)
	if got := egress.Requests(name)[0].GetStreamOutputs()[0].GetUrls(); len(got) != 1 || got[0] != "rtmp://live.example.com/app/rtmp_"+name {
		s.t.Errorf("sent to %v", got)
	}
	egress.Fail(name, "connection reset")
	publisher.want(wcs.StatusFailed, wcs.InfoFailedByRTMPWriterError)
}

func republishingForbidden(s *scene, _ *rig.Egress, sdk string) {
	c := s.legacyTab(sdk).login(defaultApp)
	c.start("publish", s.name("rtmp"), options{"rtmpUrl": "rtmp://elsewhere.example/app"}).want(wcs.StatusFailed, wcs.InfoFailedByRTMPWriterError)
}
