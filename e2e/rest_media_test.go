package e2e

import (
	"bytes"
	"encoding/json"
	"image/png"
	"slices"
	"strings"
	"testing"

	lkproto "github.com/livekit/protocol/livekit"

	"wcsgateway/e2e/rig"
)

// What backends do to streams and clients of the other pod: pictures, recordings, events and data.
func restMedia(t *testing.T, s *egressScene) {
	b := backend{"http://" + s.pods[1].Listening(t, "rest.listen"), "ops", "secret"}
	pub, play := rig.Connect(t, s.pods[0].URL, "full"), rig.Connect(t, s.pods[0].URL, "plain")
	pub.Publish("media-pub", "media", rig.NewPublisher(t, rig.PeerOptions{Width: 320, Height: 240}))
	play.Play("media-play", "media", rig.NewPlayer(t, rig.PeerOptions{}))

	var shot struct{ Data []byte }
	if err := json.Unmarshal([]byte(b.want(t, "/rest-api/stream/snapshot", `{"streamName":"media"}`, 200)), &shot); err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(bytes.NewReader(shot.Data)); err != nil || img.Bounds().Dx() != 320 || img.Bounds().Dy() != 240 {
		t.Errorf("snapshot of %d bytes: %v", len(shot.Data), err)
	}
	b.want(t, "/rest-api/stream/snapshot", `{"streamName":"nobody"}`, 404)

	b.want(t, "/rest-api/stream/stopRecording", `{"mediaSessionId":"media-pub"}`, 404)
	b.want(t, "/rest-api/stream/startRecording", `{"mediaSessionId":"media-pub","config":{"fileTemplate":"../{streamName}"}}`, 500)
	b.want(t, "/rest-api/stream/startRecording", `{"mediaSessionId":"media-pub","config":{"fileTemplate":"rest/{streamName}"}}`, 200)
	s.awaitEgress(t, "wcs.media", lkproto.EgressStatus_EGRESS_ACTIVE)
	if r := s.egress.Requests("wcs.media"); len(r) != 1 || r[0].GetFileOutputs()[0].GetFilepath() != "records/rest/media.mp4" {
		t.Errorf("requests %v", r)
	}
	b.want(t, "/rest-api/stream/stopRecording", `{"mediaSessionId":"media-pub"}`, 200)
	s.awaitEgress(t, "wcs.media", lkproto.EgressStatus_EGRESS_COMPLETE)

	play.Discard()
	b.want(t, "/rest-api/stream/event/send", `{"streamName":"media","payload":{"n": 1.0}}`, 200)
	b.want(t, "/rest-api/stream/event/send", `{"mediaSessionId":"media-pub","type":"data","payload":"two"}`, 200)
	for _, want := range []string{`{"n": 1.0}`, `"two"`} {
		if e := awaitEvent(t, play, "media-play"); e.Type != "data" || string(e.Payload) != want {
			t.Errorf("event %s %s, want %s", e.Type, e.Payload, want)
		}
	}
	b.want(t, "/rest-api/stream/event/send", `{"streamName":"media","type":"audioMuted"}`, 500)
	b.want(t, "/rest-api/stream/event/send", `{"streamName":"nobody","payload":1}`, 404)

	var sessions []struct{ SessionID string }
	found := b.want(t, "/rest-api/stream/find", `{"mediaSessionId":"media-play"}`, 200)
	if err := json.Unmarshal([]byte(found), &sessions); err != nil || len(sessions) != 1 {
		t.Fatalf("%s: %v", found, err)
	}
	b.want(t, "/rest-api/data/send", `{"sessionId":"`+sessions[0].SessionID+`","operationId":"op","payload":{"big": 12345678901234567890}}`, 200)
	if m := play.Await("OnDataEvent"); !strings.Contains(m.Raw, `"payload":{"big": 12345678901234567890}`) || !strings.Contains(m.Raw, `"operationId":"op"`) {
		t.Errorf("the client got %s", m.Raw)
	}
	b.want(t, "/rest-api/data/send", `{"sessionId":"nobody","payload":1}`, 404)

	restPushes(t, s, b)

	plain := rig.Connect(t, s.pods[0].URL, "plain")
	plain.Publish("media-plain", "media-plain", rig.NewPublisher(t, rig.PeerOptions{}))
	if s := b.want(t, "/rest-api/stream/startRecording", `{"mediaSessionId":"media-plain"}`, 500); !strings.Contains(s, "not allowed to record") {
		t.Errorf("refused with %s", s)
	}
}

// restPushes sends a stream on by RTMP, from the other pod.
func restPushes(t *testing.T, s *egressScene, b backend) {
	c := rig.Connect(t, s.pods[0].URL, "defaultApp")
	c.Publish("push-pub", "pushed", rig.NewPublisher(t, rig.PeerOptions{}))
	const pushed = `{"streamName":"pushed"}` // other tests' streams are sent on, too
	const start = `{"streamName":"pushed","rtmpUrl":"rtmp://live.example.com/app"}`
	b.want(t, "/rest-api/push/find", pushed, 404)
	var one struct{ MediaSessionID, StreamName, RTMPURL string }
	if err := json.Unmarshal([]byte(b.want(t, "/rest-api/push/startup", start, 200)), &one); err != nil || one.MediaSessionID == "" || one.StreamName != "rtmp_pushed" {
		t.Fatalf("%+v, %v", one, err)
	}
	requests := s.egress.Requests("wcs.pushed")
	if urls := requests[len(requests)-1].GetStreamOutputs()[0].GetUrls(); !slices.Equal(urls, []string{"rtmp://live.example.com/app/rtmp_pushed"}) {
		t.Errorf("sent to %q", urls)
	}
	b.want(t, "/rest-api/push/startup", start, 409)
	b.want(t, "/rest-api/push/startup", `{"streamName":"nobody","rtmpUrl":"rtmp://live.example.com/app"}`, 404)
	if answer := b.want(t, "/rest-api/push/startup", `{"streamName":"pushed","rtmpUrl":"rtmp://10.0.0.1/app"}`, 500); !strings.Contains(answer, "not allowed") {
		t.Errorf("another server: %s", answer)
	}
	b.want(t, "/rest-api/push/startup", `{"streamName":"pushed","rtmpUrl":"rtmp://live.example.com/app/secretkey","rtmpTransponderFullUrl":true}`, 200)
	s.awaitEgress(t, "wcs.pushed", lkproto.EgressStatus_EGRESS_ACTIVE)
	list := b.want(t, "/rest-api/push/find", pushed, 200)
	if !strings.Contains(list, `"rtmpUrl":"rtmp://live.example.com/app"`) || !strings.Contains(list, `"rtmpUrl":"rtmp://live.example.com/app/{sec...key}"`) || strings.Contains(list, "secretkey") {
		t.Errorf("pushes %s", list)
	}
	if found := b.want(t, "/rest-api/push/find", `{"streamName":"pushed","rtmpUrl":"rtmp://live.example.com/app"}`, 200); strings.Count(found, one.MediaSessionID) != 1 || strings.Contains(found, "sec...") {
		t.Errorf("found %s", found)
	}
	b.want(t, "/rest-api/push/mute", `{"mediaSessionId":"`+one.MediaSessionID+`"}`, 501)
	b.want(t, "/rest-api/push/terminate", `{"mediaSessionId":"`+one.MediaSessionID+`"}`, 200)
	rig.Eventually(t, egressPatience, "one push is left", func() bool {
		return !strings.Contains(b.want(t, "/rest-api/push/find", pushed, 200), one.MediaSessionID)
	})
	b.want(t, "/rest-api/push/terminate", `{"mediaSessionId":"`+one.MediaSessionID+`"}`, 404)
	s.egress.Fail("wcs.pushed", "by the test")
	rig.Eventually(t, egressPatience, "no push is left", func() bool {
		status, _ := b.call(t, "/rest-api/push/find", pushed)
		return status == 404
	})
	if streams := b.want(t, "/rest-api/stream/find", `{"name":"pushed","published":true}`, 200); !strings.Contains(streams, `"status":"PUBLISHING"`) {
		t.Errorf("the stream does not go on: %s", streams)
	}
	for _, pod := range s.pods {
		if strings.Contains(pod.Output(), "secretkey") {
			t.Error("the log contains a stream key")
		}
	}
}
