package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	lkproto "github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"wcsgateway/e2e/rig"
)

type streamEvent struct {
	MediaSessionID, Type string
	Payload              json.RawMessage
}

func awaitEvent(t *testing.T, c *rig.Client, id string) (e streamEvent) {
	t.Helper()
	c.AwaitMatch("stream event of "+id, func(m rig.Message) bool {
		if m.Name != "notifyStreamEvent" {
			return false
		}
		e = streamEvent{}
		m.Arg(t, 0, &e)
		return e.MediaSessionID == id && e.Type != "resize"
	})
	return e
}

// snapshot requests a picture and returns its size, or the reason why there is none.
func snapshot(t *testing.T, c *rig.Client, id, name string) (width, height int, info string) {
	t.Helper()
	c.Send("snapshot", map[string]any{"mediaSessionId": id, "name": name})
	e := awaitEvent(t, c, id)
	var payload struct{ Snapshot, Info string }
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if e.Type != "snapshotCompleted" {
		if e.Type != "snapshotFailed" {
			t.Errorf("event %s", e.Type)
		}
		return 0, 0, payload.Info
	}
	c.WantStatus(id, "SNAPSHOT_COMPLETE", payload.Snapshot)
	picture, err := base64.StdEncoding.DecodeString(payload.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	// The rig's publishers send an even grey.
	r, g, b, _ := img.At(img.Bounds().Dx()/2, img.Bounds().Dy()/2).RGBA()
	if r>>8 < 100 || r>>8 > 160 || r != g || g != b {
		t.Errorf("the picture's colour is %d %d %d", r>>8, g>>8, b>>8)
	}
	return img.Bounds().Dx(), img.Bounds().Dy(), ""
}

// picturePods starts two pods, the first without and the second with a decoder for H264.
func picturePods(t *testing.T) (g []*rig.Gateway, lk *rig.LiveKit, redis *rig.Redis) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatalf("ffmpeg is missing, which Debian's package ffmpeg has: %v", err)
	}
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	redis = rig.StartRedis(t)
	lk = rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[0].Webhook(), Redis: redis.Addr})
	// On a busy machine the first start of ffmpeg can take longer than the default timeout of a snapshot, 3 s.
	const timeout = "10s"
	for i, env := range []map[string]string{
		{"WCS_SNAPSHOT_TIMEOUT": timeout}, {"WCS_SNAPSHOT_TIMEOUT": timeout, "WCS_SNAPSHOT_FFMPEG": ffmpeg},
	} {
		pod := rig.StartGateway(t, rig.GatewayOptions{Ports: ports[i], LiveKit: lk, Redis: redis.Addr, Env: env})
		pod.AwaitReady(t)
		g = append(g, pod)
	}
	return g, lk, redis
}

func TestSnapshotsHaveSizeOfStream(t *testing.T) {
	t.Parallel()
	g, lk, redis := picturePods(t)
	pub, other := rig.Connect(t, g[0].URL, "defaultApp"), rig.Connect(t, g[1].URL, "defaultApp")

	pub.Publish("vp8", "vp8", rig.NewPublisher(t, rig.PeerOptions{Width: 640, Height: 360}))
	for _, c := range []*rig.Client{pub, other} {
		since := time.Now()
		if w, h, info := snapshot(t, c, "snap", "vp8"); w != 640 || h != 360 {
			t.Errorf("VP8: %d × %d, %q", w, h, info)
		}
		t.Logf("VP8 picture after %v", time.Since(since))
	}
	pub.Publish("h264", "h264", rig.NewPublisher(t, rig.PeerOptions{VideoMime: webrtc.MimeTypeH264, Width: 320, Height: 240}))
	if w, h, info := snapshot(t, other, "snap", "h264"); w != 320 || h != 240 {
		t.Errorf("H264: %d × %d, %q", w, h, info)
	}
	if _, _, info := snapshot(t, pub, "snap", "h264"); info != "No snapshots of H264 streams: this server has no decoder for it (snapshot.ffmpeg)" {
		t.Errorf("H264 without a decoder: %q", info)
	}

	pub.Publish("audio", "audio", rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
	if _, _, info := snapshot(t, other, "snap", "audio"); info != "Stream has no video" {
		t.Errorf("of audio only: %q", info)
	}
	if _, _, info := snapshot(t, other, "snap", "nobody"); info != "Stream not found" {
		t.Errorf("of no stream: %q", info)
	}
	silent := rig.NewPublisher(t, rig.PeerOptions{})
	pub.Publish("silent", "silent", silent)
	silent.Silence()
	since := time.Now()
	if _, _, info := snapshot(t, other, "snap", "silent"); info != "No picture of the stream in time" {
		t.Errorf("of a publisher that sends nothing: %q", info)
	}
	t.Logf("given up after %v", time.Since(since))
	if text := g[1].Metrics(t); !strings.Contains(text, `wcs_snapshots_total{result="ok"} 2`) || !strings.Contains(text, `wcs_snapshots_total{result="late"} 1`) {
		t.Error("the metrics do not count two pictures that were taken and one that came too late")
	}
	for _, name := range []string{"vp8", "h264", "audio", "silent"} {
		pub.Unpublish(name, name)
	}
	pub.Close()
	rig.WantClean(t, lk, redis) // the participants that took the pictures have left
}

// A native participant's data reaches legacy players on both pods once; what the gateways send to the room
// themselves does not.
func TestNativeDataReachesPlayersOnBothPodsOnce(t *testing.T) {
	t.Parallel()
	g, s := podsWith(t, 2, map[string]string{
		"WCS_APPLICATIONS": `{talk: {native: both, nativeData: true}, quiet: {room: "quiet.{name}", native: both}}`,
	})
	pub, here, there := rig.Connect(t, g[0].URL, "talk"), rig.Connect(t, g[0].URL, "talk"), rig.Connect(t, g[1].URL, "talk")
	pub.Publish("pub", "talk", rig.NewPublisher(t, rig.PeerOptions{}))
	here.Play("here", "talk", rig.NewPlayer(t, rig.PeerOptions{}))
	there.Play("there", "talk", rig.NewPlayer(t, rig.PeerOptions{}))
	quietPub, quietPlay := rig.Connect(t, g[0].URL, "quiet"), rig.Connect(t, g[1].URL, "quiet")
	quietPub.Publish("quiet-pub", "shy", rig.NewPublisher(t, rig.PeerOptions{}))
	quietPlay.Play("quiet-play", "shy", rig.NewPlayer(t, rig.PeerOptions{}))
	native, quiet := joinAsNative(t, s.LiveKit, "wcs.talk"), joinAsNative(t, s.LiveKit, "quiet.shy")

	awaitProbe(t, s.LiveKit, "wcs.talk")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Repeated, because a participant that has just come does not get all that is sent.
	rig.Eventually(t, 40*time.Second, "the pod receives its own message", func() bool {
		_, err := s.LiveKit.Rooms().SendData(ctx, &lkproto.SendDataRequest{
			Room: "wcs.talk", Data: []byte(`"own"`), Kind: lkproto.DataPacket_RELIABLE, Topic: proto.String("wcs"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(g[0].Metrics(t), `wcs_native_data_total{result="own"}`)
	})
	sendNativeData(t, quiet, `"nobody hears"`)
	for _, payload := range []string{`{"a":1}`, `2`, `"end"`} {
		sendNativeData(t, native, payload)
	}
	for c, id := range map[*rig.Client]string{here: "here", there: "there"} {
		var got []string
		for len(got) == 0 || got[len(got)-1] != `"end"` {
			got = append(got, string(awaitEvent(t, c, id).Payload))
		}
		if text := strings.Join(got, " "); text != `{"a":1} 2 "end"` {
			t.Errorf("%s has got %s", id, text)
		}
	}
	if text := quietPlay.Names(); strings.Contains(text, `"type":"data"`) {
		t.Errorf("an application without nativeData: %s", text)
	}
	native.Disconnect()
	quiet.Disconnect()
	pub.Close()
	quietPub.Close()
	rig.WantClean(t, s.LiveKit, s.Redis)
}

func joinAsNative(t *testing.T, lk *rig.LiveKit, room string) *lksdk.Room {
	t.Helper()
	r, err := lksdk.ConnectToRoom(lk.URL, lksdk.ConnectInfo{APIKey: lk.Key, APISecret: lk.Secret, RoomName: room, ParticipantIdentity: "nat"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	return r
}

func sendNativeData(t *testing.T, r *lksdk.Room, payload string) {
	t.Helper()
	if err := r.LocalParticipant.PublishDataPacket(lksdk.UserData([]byte(payload)), lksdk.WithDataPublishReliable(true)); err != nil {
		t.Fatal(err)
	}
}

// awaitProbe waits until a hidden participant is in the room. Probes can be in the room as well.
func awaitProbe(t *testing.T, lk *rig.LiveKit, room string) {
	t.Helper()
	rig.Eventually(t, 40*time.Second, "a probe receives data", func() bool {
		return slices.ContainsFunc(lk.Participants(t, room), func(p *lkproto.ParticipantInfo) bool {
			return strings.Contains(p.GetIdentity(), ":probe:") && p.GetState() == lkproto.ParticipantInfo_ACTIVE
		})
	})
}
