package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lkproto "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/testing/protocmp"

	"wcsgateway/e2e/rig"
	"wcsgateway/translate"
)

// egressScene is a LiveKit that knows the stand-in of an egress service, and two pods.
type egressScene struct {
	*rig.Stage
	pods   []*rig.Gateway
	egress *rig.Egress // nil without an egress service
}

// egressPatience is for what takes a second on an idle machine.
const egressPatience = 40 * time.Second

const egressApps = `{defaultApp: {record: allowed, rtmpHosts: [live.example.com, "*.cdn.example:1936"]},` +
	` full: {record: allowed, rtmpHosts: ["*"], rtmpFullUrl: true}, plain: {}}`

// newEgressScene lets LiveKit send its webhooks to one of the pods.
func newEgressScene(t *testing.T, service bool, webhooks int) *egressScene {
	t.Helper()
	s := &egressScene{Stage: &rig.Stage{Redis: rig.StartRedis(t)}}
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	s.LiveKit = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[webhooks].Webhook(), Redis: s.Redis.Addr})
	if service {
		s.egress = rig.StartEgress(t, s.LiveKit, s.Redis.Addr)
		s.egress.SetOutcome(outcomeOf)
	}
	env := map[string]string{"WCS_APPLICATIONS": egressApps, "WCS_RECORDING_PREFIX": "records/", "WCS_RECORDING_STARTTIMEOUT": "4s"}
	if !service {
		env["WCS_RECORDING_STARTTIMEOUT"] = "500ms"
	}
	maps.Copy(env, restEnv(t))
	for _, p := range ports {
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: s.LiveKit, Redis: s.Redis.Addr, Env: env})
		g.AwaitReady(t)
		s.pods = append(s.pods, g)
	}
	s.Gateway = s.pods[0]
	return s
}

// publish publishes with further members in the request.
func publish(t *testing.T, c *rig.Client, id, name string, extra map[string]any) rig.Status {
	t.Helper()
	c.StartPublish(id, name, rig.NewPublisher(t, rig.PeerOptions{}), extra)
	return c.WantStatus(id, "PUBLISHING", "")
}

// awaitEgress waits until the stream's egress has a status, and the pod has logged it.
func (s *egressScene) awaitEgress(t *testing.T, room string, status lkproto.EgressStatus) *lkproto.EgressInfo {
	t.Helper()
	var last *lkproto.EgressInfo
	rig.Eventually(t, egressPatience, fmt.Sprintf("egress of %s is %s", room, status), func() bool {
		for _, i := range s.egress.Infos(room) {
			last = i
			if i.GetStatus() == status {
				return true
			}
		}
		return false
	})
	return last
}

// awaitLine waits until a pod has logged a line with all of the words.
func awaitLine(t *testing.T, g *rig.Gateway, words ...string) {
	t.Helper()
	rig.Eventually(t, egressPatience, fmt.Sprintf("log line with %q", words), func() bool {
		for line := range strings.Lines(g.Output()) {
			missing := false
			for _, w := range words {
				missing = missing || !strings.Contains(line, w)
			}
			if !missing {
				return true
			}
		}
		return false
	})
}

// wantError waits for an ErrorEvent.
func wantError(t *testing.T, c *rig.Client, info string) {
	t.Helper()
	c.AwaitMatch("ErrorEvent "+info, func(m rig.Message) bool {
		return m.Name == "fail" && strings.Contains(m.Raw, `"ErrorEvent"`) && strings.Contains(m.Raw, info)
	})
}

// TestEgressRecordsAndRepublishes runs on one scene whose webhooks go to the pod that has none of the
// streams.
func TestEgressRecordsAndRepublishes(t *testing.T) {
	t.Parallel()
	s := newEgressScene(t, true, 1)
	t.Run("all", func(t *testing.T) {
		for name, test := range egressTests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s)
			})
		}
	})
	s.WantClean(t)
	if m := s.pods[1].Metrics(t); !strings.Contains(m, `wcs_webhooks_total{result="forwarded"}`) {
		t.Error("no webhook was forwarded")
	}
	for _, secret := range []string{"s3cret-key", "panic"} {
		if strings.Contains(s.pods[0].Output(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

var egressTests = map[string]func(*testing.T, *egressScene){
	"a stream is recorded":                               recorded,
	"hostile names stay in the directory":                recordedUnderHostileNames,
	"a forbidden recording is not started":               recordingForbidden,
	"a stream continues when its recording is refused":   func(t *testing.T, s *egressScene) { recordingFails(t, s, "refused") },
	"a stream continues when its recording never begins": func(t *testing.T, s *egressScene) { recordingFails(t, s, "fails") },
	"a stream continues when its recording breaks":       recordingBreaks,
	"a stream is republished":                            republished,
	"a forbidden address fails the stream":               republishingForbidden,
	"a stream fails when its republishing is refused":    func(t *testing.T, s *egressScene) { republishingFails(t, s, "refused") },
	"a stream fails when its republishing never begins":  func(t *testing.T, s *egressScene) { republishingFails(t, s, "fails") },
	"a stream fails when its republishing breaks":        republishingBreaks,
	"backends record and republish by REST":              restMedia,
}

func recorded(t *testing.T, s *egressScene) {
	c := rig.Dial(t, s.pods[0].URL)
	c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "custom": map[string]any{"login": "bob"}})
	c.Await("getUserData")
	if st := publish(t, c, "rec", "rec", map[string]any{"record": true}); !st.Record || st.RecordName != "" {
		t.Errorf("PUBLISHING %+v", st)
	}
	s.awaitEgress(t, "wcs.rec", lkproto.EgressStatus_EGRESS_ACTIVE)
	awaitLine(t, s.pods[0], "egress is active", "wcs.rec")
	want := &lkproto.ParticipantEgressRequest{RoomName: "wcs.rec", FileOutputs: []*lkproto.EncodedFileOutput{
		{FileType: lkproto.EncodedFileType_MP4, Filepath: "records/stream-rec-bob.mp4", DisableManifest: true},
	}}
	got := s.egress.Requests("wcs.rec")
	if len(got) != 1 {
		t.Fatalf("requests %v", got)
	}
	want.Identity = got[0].GetIdentity()
	if _, role, _, ok := translate.Identity(want.Identity).Parse(); !ok || role != translate.RolePublish {
		t.Errorf("recorded is %s", want.Identity)
	}
	if diff := cmp.Diff(want, got[0], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	c.Unpublish("rec", "rec")
	if st := c.WantStatus("rec", "UNPUBLISHED", "Stopped by publisher stop"); st.RecordName != "stream-rec-bob.mp4" || !st.Record {
		t.Errorf("UNPUBLISHED %+v", st)
	}
	s.awaitEgress(t, "wcs.rec", lkproto.EgressStatus_EGRESS_COMPLETE)
}

// What a client may choose cannot lead out of the directory, nor be taken for a template by the egress
// service.
func recordedUnderHostileNames(t *testing.T, s *egressScene) {
	c := rig.Dial(t, s.pods[0].URL)
	c.Send("connection", map[string]any{"appKey": "defaultApp", "mediaProviders": []string{"WebRTC"}, "custom": map[string]any{"login": "/../../root\x00\"{room_id}$(id)"}})
	c.Await("getUserData")
	const id, name = `../../etc/cron.d/x;{time}`, `host ile/"x"`
	publish(t, c, id, name, map[string]any{"record": true})
	s.awaitEgress(t, "wcs."+name, lkproto.EgressStatus_EGRESS_ACTIVE)
	awaitLine(t, s.pods[0], "egress is active", "host ile")
	const file = "stream-______etc_cron.d_x__time_-_______root___room_id___id_.mp4"
	if got := s.egress.Requests("wcs." + name)[0].GetFileOutputs()[0].GetFilepath(); got != "records/"+file {
		t.Errorf("file %s", got)
	}
	c.Unpublish(id, name)
	if st := c.WantStatus(id, "UNPUBLISHED", "Stopped by publisher stop"); st.RecordName != file {
		t.Errorf("UNPUBLISHED %+v", st)
	}
}

func recordingForbidden(t *testing.T, s *egressScene) {
	c := rig.Connect(t, s.pods[0].URL, "plain")
	if st := publish(t, c, "plain", "plain", map[string]any{"record": true}); st.Record {
		t.Errorf("PUBLISHING %+v", st)
	}
	awaitLine(t, s.pods[0], "not allowed", `"media":"plain"`)
	c.Unpublish("plain", "plain")
	if st := c.WantStatus("plain", "UNPUBLISHED", "Stopped by publisher stop"); st.Record || st.RecordName != "" {
		t.Errorf("UNPUBLISHED %+v", st)
	}
	if got := s.egress.Requests("wcs.plain"); len(got) != 0 {
		t.Errorf("asked for %v", got)
	}
}

// outcomeOf is what becomes of egresses of rooms by the rooms' names.
func outcomeOf(r *lkproto.ParticipantEgressRequest) rig.EgressOutcome {
	switch {
	case strings.HasSuffix(r.GetRoomName(), "-refused"):
		return rig.Refused
	case strings.HasSuffix(r.GetRoomName(), "-fails"):
		return rig.Fails
	}
	return rig.Works
}

func recordingFails(t *testing.T, s *egressScene, how string) {
	name := "rec-" + how
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	publish(t, c, name, name, map[string]any{"record": true})
	wantError(t, c, "Recording of "+name+" has failed")
	wantPublishing(t, s, c, name)
}

// wantPublishing checks that the stream has not suffered, and that it has no file.
func wantPublishing(t *testing.T, s *egressScene, c *rig.Client, name string) {
	t.Helper()
	screen := rig.NewPlayer(t, rig.PeerOptions{})
	rig.Connect(t, s.pods[1].URL, "defaultApp").Play("play-"+name, name, screen)
	wantMedia(t, screen, translate.Audio, translate.Video)
	c.Unpublish(name, name)
	if st := c.WantStatus(name, "UNPUBLISHED", "Stopped by publisher stop"); st.Record || st.RecordName != "" {
		t.Errorf("UNPUBLISHED %+v", st)
	}
}

func recordingBreaks(t *testing.T, s *egressScene) {
	const name = "rec-breaks"
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	publish(t, c, name, name, map[string]any{"record": true})
	s.awaitEgress(t, "wcs."+name, lkproto.EgressStatus_EGRESS_ACTIVE)
	awaitLine(t, s.pods[0], "egress is active", name)
	s.egress.Fail("wcs."+name, "no space left")
	wantError(t, c, "Recording of "+name+" has failed")
	awaitLine(t, s.pods[0], "egress failed", "no space left")
	wantPublishing(t, s, c, name)
}

func republished(t *testing.T, s *egressScene) {
	for app, want := range map[string]string{
		"defaultApp": "rtmp://live.example.com/app/s3cret-key/rtmp_rtmp-defaultApp", "full": "rtmp://live.example.com/app/s3cret-key",
	} {
		name := "rtmp-" + app
		c := rig.Connect(t, s.pods[0].URL, app)
		publish(t, c, name, name, map[string]any{"rtmpUrl": "rtmp://live.example.com/app/s3cret-key"})
		s.awaitEgress(t, "wcs."+name, lkproto.EgressStatus_EGRESS_ACTIVE)
		got := s.egress.Requests("wcs." + name)
		if diff := cmp.Diff([]*lkproto.StreamOutput{{Protocol: lkproto.StreamProtocol_RTMP, Urls: []string{want}}}, got[0].GetStreamOutputs(), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		c.Unpublish(name, name)
		if st := c.WantStatus(name, "UNPUBLISHED", "Stopped by publisher stop"); st.Record || st.RecordName != "" {
			t.Errorf("UNPUBLISHED %+v", st)
		}
		s.awaitEgress(t, "wcs."+name, lkproto.EgressStatus_EGRESS_COMPLETE)
	}
}

func republishingForbidden(t *testing.T, s *egressScene) {
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	for i, url := range []string{"rtmp://elsewhere.example/app", "rtmp://live.example.com@elsewhere.example/app", "http://live.example.com/app", "rtmp://cdn.example:1936/app"} {
		id := fmt.Sprintf("forbidden-%d", i)
		peer := rig.NewPublisher(t, rig.PeerOptions{})
		c.Send("publishStream", rig.StreamRequest(id, id, peer.Offer(), true, map[string]any{"rtmpUrl": url}))
		c.WantStatus(id, "FAILED", "Failed by RTMP writer error")
		if got := s.egress.Requests("wcs." + id); len(got) != 0 {
			t.Errorf("%s: asked for %v", url, got)
		}
	}
}

func republishingFails(t *testing.T, s *egressScene, how string) {
	name := "rtmp-" + how
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	publish(t, c, name, name, map[string]any{"rtmpUrl": "rtmp://a.cdn.example:1936/app"})
	c.WantStatus(name, "FAILED", "Failed by RTMP writer error")
}

func republishingBreaks(t *testing.T, s *egressScene) {
	const name = "rtmp-breaks"
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	publish(t, c, name, name, map[string]any{"rtmpUrl": "rtmp://live.example.com/app"})
	s.awaitEgress(t, "wcs."+name, lkproto.EgressStatus_EGRESS_ACTIVE)
	s.egress.Fail("wcs."+name, "connection reset")
	c.WantStatus(name, "FAILED", "Failed by RTMP writer error")
}

// Without an egress service LiveKit does not answer.
func TestStreamGoesOnWithoutEgressService(t *testing.T) {
	t.Parallel()
	s := newEgressScene(t, false, 0)
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	publish(t, c, "alone", "alone", map[string]any{"record": true})
	wantError(t, c, "Recording of alone has failed")
	wantPublishing(t, s, c, "alone")
	publish(t, c, "rtmp", "rtmp", map[string]any{"rtmpUrl": "rtmp://live.example.com/app"})
	c.WantStatus("rtmp", "FAILED", "Failed by RTMP writer error")
	s.WantClean(t)
}

// A recording continues when its stream is resumed on another pod. LiveKit's events about it are forwarded to
// that pod by the previous one.
func TestRecordingContinuesAfterResume(t *testing.T) {
	t.Parallel()
	s := newEgressScene(t, true, 0)
	for _, name := range []string{"goes-on", "breaks"} {
		c, token := rig.ConnectKept(t, s.pods[0].URL, "defaultApp", "")
		publish(t, c, name, name, map[string]any{"record": true})
		s.awaitEgress(t, "wcs."+name, lkproto.EgressStatus_EGRESS_ACTIVE)
		awaitLine(t, s.pods[0], "egress is active", name)
		c.Drop()
		back, _ := rig.ConnectKept(t, s.pods[1].URL, "defaultApp", token)
		st := back.WantStatus(name, "PUBLISHING", "")
		if !st.Record || !strings.HasPrefix(st.RecordName, "stream-"+name+"-") {
			t.Errorf("resumed %+v", st)
		}
		if name == "breaks" {
			s.egress.Fail("wcs."+name, "no space left")
			wantError(t, back, "Recording of "+name+" has failed")
			st.RecordName = ""
		}
		back.Unpublish(name, name)
		if end := back.WantStatus(name, "UNPUBLISHED", "Stopped by publisher stop"); end.RecordName != st.RecordName {
			t.Errorf("ended %+v, want %q", end, st.RecordName)
		}
		if got := s.egress.Requests("wcs." + name); len(got) != 1 {
			t.Errorf("asked for %d egresses", len(got))
		}
	}
	s.awaitEgress(t, "wcs.goes-on", lkproto.EgressStatus_EGRESS_COMPLETE)
	if !strings.Contains(s.pods[0].Metrics(t), `wcs_webhooks_total{result="forwarded"}`) {
		t.Error("the pod that has the streams no more has forwarded no webhook")
	}
	s.WantClean(t)
}

// What a dead pod has begun ends when another pod removes the publisher.
func TestRecordingEndsWithItsPod(t *testing.T) {
	t.Parallel()
	s := newEgressScene(t, true, 1)
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	publish(t, c, "orphan", "orphan", map[string]any{"record": true})
	s.awaitEgress(t, "wcs.orphan", lkproto.EgressStatus_EGRESS_ACTIVE)
	s.pods[0].Kill()
	s.awaitEgress(t, "wcs.orphan", lkproto.EgressStatus_EGRESS_COMPLETE)
	s.WantClean(t)
}
