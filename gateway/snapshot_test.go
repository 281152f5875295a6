package gateway

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wcsgateway/e2e/rig"
	"wcsgateway/gateway/apps"
	"wcsgateway/gateway/quota"
	"wcsgateway/gateway/snapshot"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

func askSnapshot(c *rig.Client, id, name string) {
	c.Send("snapshot", map[string]any{"mediaSessionId": id, "name": name})
}

// snapshotOf awaits both messages of a snapshot and returns the picture.
func snapshotOf(t *testing.T, c *rig.Client, id string) []byte {
	t.Helper()
	event := awaitStreamEvent(t, c, id)
	if event.Type != "snapshotCompleted" {
		t.Fatalf("%+v", event)
	}
	status := c.WantStatus(id, "SNAPSHOT_COMPLETE", event.Payload.Snapshot)
	picture, err := base64.StdEncoding.DecodeString(status.Info)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

type streamEventMessage struct {
	MediaSessionID, Type string
	Payload              struct{ Snapshot, Info string }
}

func awaitStreamEvent(t *testing.T, c *rig.Client, id string) (e streamEventMessage) {
	t.Helper()
	c.AwaitMatch("stream event of "+id, func(m rig.Message) bool {
		if m.Name != "notifyStreamEvent" {
			return false
		}
		e = streamEventMessage{}
		m.Arg(t, 0, &e)
		return e.MediaSessionID == id
	})
	return e
}

func wantSnapshotFailed(t *testing.T, c *rig.Client, id, info string) {
	t.Helper()
	if e := awaitStreamEvent(t, c, id); e.Type != "snapshotFailed" || e.Payload.Info != info {
		t.Errorf("%s: %s %q, want snapshotFailed %q", id, e.Type, e.Payload.Info, info)
	}
}

// publish brings the stream s up on a pod.
func (w *world) publish(t *testing.T, pod string) *rig.Client {
	t.Helper()
	c := w.connect(t, pod)
	publishAV(t, c, "pub", "s")
	c.AwaitSDP("pub")
	w.media(t, pod, translate.RolePublish)
	c.WantStatus("pub", "PUBLISHING", "")
	return c
}

// The pod that gets the request takes the picture of the right participant, whichever pod has the stream.
func TestSnapshotIsOfTheRequestedStream(t *testing.T) {
	w := newWorld(t, nil)
	pub := w.publish(t, podA)
	other := w.connect(t, podB)
	askSnapshot(other, "snap", "s")
	config, err := png.DecodeConfig(bytes.NewReader(snapshotOf(t, other, "snap")))
	if err != nil || config.Width != 480 || config.Height != 240 {
		t.Errorf("picture: %+v, %v", config, err)
	}
	target := <-w.camera.asked
	_, role, pod, ok := target.Identity.Parse()
	if target.Room != "wcs.s" || target.Publisher != w.sfu.inRoom("wcs.s", translate.RolePublish)[0] || !ok || role != translate.RoleSnapshot || pod != podB {
		t.Errorf("asked for %+v", target)
	}
	askSnapshot(pub, "pub", "s") // the publisher of a stream may request it, too, and continues
	snapshotOf(t, pub, "pub")
	pub.Unpublish("pub", "s")
	pub.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
}

func TestSnapshotIsRefused(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Apps["closed"] = apps.App{Key: "closed", Room: "closed.{name}", Native: apps.NativeOff, Codecs: translate.DefaultCodecs(), PlayFrom: []string{"closed"}}
	})
	closed := w.connectAs(t, podA, "closed")
	askSnapshot(closed, "snap", "s")
	wantSnapshotFailed(t, closed, "snap", "Stream not found")
	pub := w.connect(t, podA)
	publishAV(t, pub, "pub", "s")
	pub.AwaitSDP("pub")
	askSnapshot(pub, "snap", "s")
	wantSnapshotFailed(t, pub, "snap", "Publish stream is not ready")
	w.media(t, podA, translate.RolePublish)
	pub.WantStatus("pub", "PUBLISHING", "")
	askSnapshot(closed, "snap", "s")
	wantSnapshotFailed(t, closed, "snap", "Restricted access")
	askSnapshot(pub, "snap", "a/../b")
	wantSnapshotFailed(t, pub, "snap", "Bad stream name: it is empty, too long, or has control characters or a .. segment")

	for _, tt := range []struct {
		frame translate.KeyFrame
		err   error
		info  string
	}{
		{translate.KeyFrame{Mime: "video/H264"}, nil, "No snapshots of H264 streams: this server has no decoder for it (snapshot.ffmpeg)"},
		{translate.KeyFrame{Mime: "video/H265"}, nil, "No snapshots of streams with this codec"},
		{translate.KeyFrame{Mime: "video/VP8", Data: []byte{0}}, nil, "Picture of the stream cannot be decoded"},
		{translate.KeyFrame{}, refusedBySFU(translate.ErrNoVideo), "Stream has no video"},
		{translate.KeyFrame{}, refusedBySFU(translate.ErrPictureCodec), "No snapshots of streams with this codec"},
		{translate.KeyFrame{}, errNoPublisher, "Stream not found"},
		{translate.KeyFrame{}, &translate.Error{Kind: translate.ErrKindUnavailable, Op: "x", Err: errors.New("away")}, "Failed to add stream to proxy"},
	} {
		w.camera.set(func() { w.camera.frame, w.camera.err = tt.frame, tt.err })
		c := w.connect(t, podB)
		askSnapshot(c, "snap", "s")
		wantSnapshotFailed(t, c, "snap", tt.info)
	}
	if n := testutil.ToFloat64(w.pods[podB].metrics.Snapshots.WithLabelValues("no_decoder")); n != 3 {
		t.Errorf("%v snapshots without a decoder are counted, want 3", n)
	}
}

func refusedBySFU(err error) error {
	return &translate.Error{Kind: translate.ErrKindRefused, Op: "key frame", Err: err}
}

func TestSnapshotFailsAtTimeout(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Snapshot.Timeout = 50 * time.Millisecond })
	w.camera.hold = make(chan struct{})
	pub := w.publish(t, podA)
	askSnapshot(pub, "snap", "s")
	wantSnapshotFailed(t, pub, "snap", "No picture of the stream in time")
}

// A request during the snapshot of a stream gets the same picture.
func TestSnapshotIsShared(t *testing.T) {
	w := newWorld(t, nil)
	hold := make(chan struct{})
	w.camera.hold = hold
	pub := w.publish(t, podA)
	const clients = 5
	askSnapshot(pub, "snap", "s")
	<-w.camera.asked
	var all []*rig.Client
	for i := range clients {
		c := w.connect(t, podA)
		askSnapshot(c, fmt.Sprintf("snap-%d", i), "s")
		c.Send("availableStream", map[string]any{"mediaSessionId": "q", "name": "s"})
		c.Await("availableStream") // it has been looked up by then, as good as
		all = append(all, c)
	}
	g := w.pods[podA]
	rig.Eventually(t, 20*time.Second, "all questions are being looked into", func() bool {
		return testutil.ToFloat64(g.metrics.Commands.WithLabelValues("defaultApp", "snapshot", "ok")) == clients+1
	})
	close(hold)
	first := snapshotOf(t, pub, "snap")
	for i, c := range all {
		if !bytes.Equal(first, snapshotOf(t, c, fmt.Sprintf("snap-%d", i))) {
			t.Errorf("client %d has got another picture", i)
		}
	}
	if n := len(w.camera.asked); n > 1 { // one that came too late to share is possible on a busy machine
		t.Errorf("%d more pictures were taken for %d clients", n, clients)
	}
}

// The requests of one session are bounded, and so are its pictures that it does not read.
func TestSnapshotsOfOneSessionAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	pub := w.publish(t, podA)
	const asked = quota.SnapshotBurst + 1
	for i := range asked {
		askSnapshot(pub, fmt.Sprintf("snap-%d", i), "s")
	}
	refused := 0
	for i := range asked {
		e := awaitStreamEvent(t, pub, fmt.Sprintf("snap-%d", i))
		if e.Type == "snapshotFailed" && e.Payload.Info == "Too many requests at a time" {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d of %d were refused, want 1", refused, asked)
	}
	g := w.pods[podA]
	full := wcs.Snapshot{PNG: make([]byte, snapshot.MaxUnsent/8*3)} // twice as base64
	var release func()
	rig.Eventually(t, 20*time.Second, "pictures that clients received no longer count", func() bool {
		var err error
		_, release, err = g.env.Snapshots.Encode(netip.Addr{}, full)
		return err == nil
	})
	c := w.connect(t, podA)
	askSnapshot(c, "snap", "s")
	wantSnapshotFailed(t, c, "snap", "Too many snapshots at a time")
	release()
	askSnapshot(c, "snap", "s")
	snapshotOf(t, c, "snap")
}

// Pictures are larger than what may wait for a client, which is not closed for them.
func TestSnapshotIsLargerThanTheQueue(t *testing.T) {
	const queue = 4096
	w := newWorld(t, func(c *Config) { c.Conn.MaxQueueBytes = queue })
	busy, err := os.ReadFile("snapshot/testdata/busy.vp8")
	if err != nil {
		t.Fatal(err)
	}
	w.camera.frame.Data = busy
	pub := w.publish(t, podA)
	for i := range 5 {
		askSnapshot(pub, fmt.Sprintf("snap-%d", i), "s")
	}
	for i := range 5 {
		if p := snapshotOf(t, pub, fmt.Sprintf("snap-%d", i)); len(p) < queue {
			t.Errorf("the picture has only %d bytes", len(p))
		}
	}
}

func TestNativePublisherHasSnapshots(t *testing.T) {
	w := newWorld(t, nil)
	w.sfu.set(func() {
		w.sfu.join("native.cam", translate.Participant{Identity: "alice", Active: true, Tracks: avTracks})
	})
	c := w.connectAs(t, podB, "native")
	askSnapshot(c, "snap", "cam")
	snapshotOf(t, c, "snap")
	if target := <-w.camera.asked; target.Room != "native.cam" || target.Publisher != "alice" {
		t.Errorf("asked for %+v", target)
	}
	other := w.connect(t, podB) // whose application does not meet natives
	askSnapshot(other, "snap", "cam")
	wantSnapshotFailed(t, other, "snap", "Stream not found")

	if _, err := w.pods[podA].Snapshot(t.Context(), "cam"); err != nil { // an operator sees everything
		t.Error(err)
	}
}

func TestOperatorsTakeSnapshotOnAnyPod(t *testing.T) {
	w := newWorld(t, nil)
	g := w.pods[podB]
	if _, err := g.Snapshot(t.Context(), "s"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("of a stream that is not there: %v", err)
	}
	w.publish(t, podA)
	picture, err := g.Snapshot(t.Context(), "s")
	if err != nil || !strings.HasPrefix(string(picture), "\x89PNG") {
		t.Errorf("%d bytes, %v", len(picture), err)
	}
	if _, err := g.Snapshot(t.Context(), ".."); !errors.Is(err, apps.ErrBadName) {
		t.Errorf("bad name: %v", err)
	}
}

// A pod that shuts down lets the picture be taken that a backend waits for, and ends when it is.
func TestDrainWaitsForSnapshotOfBackend(t *testing.T) {
	for name, limit := range map[string]time.Duration{"that comes": 0, "that does not": shutdownTimeout} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, apps.RatesOff, nil, func(t *testing.T, w *world) {
				c := w.connect(t, podB)
				w.publishUp(t, c, "pub", "s")
				hold := make(chan struct{})
				w.camera.set(func() { w.camera.hold = hold })
				type result struct {
					picture []byte
					err     error
				}
				taken := make(chan result, 1)
				go func() {
					picture, err := w.pods[podA].Snapshot(t.Context(), "s")
					taken <- result{picture, err}
				}()
				<-w.camera.asked
				w.stop(podA)
				pass(max(limit, time.Second))
				if limit == 0 {
					close(hold)
				}
				if got := <-taken; (got.err == nil) != (limit == 0) || (len(got.picture) > 0) != (limit == 0) {
					t.Errorf("%d bytes, %v", len(got.picture), got.err)
				}
			})
		})
	}
}
