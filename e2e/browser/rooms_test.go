package browser

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// TestSDKReportsRoomEventsMissedBeforeResume checks the callbacks of an app that uses the SDK's room API when
// the session of its member is resumed on another pod.
func TestSDKReportsRoomEventsMissedBeforeResume(t *testing.T) {
	t.Parallel()
	requireSDKs(t)
	redis := rig.StartRedis(t)
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[0].Webhook()})
	env := map[string]string{
		"WCS_REDIS_CALLTIMEOUT": "4s", "WCS_REDIS_LEASE": "20s", "WCS_SESSION_PINGINTERVAL": "1s", "WCS_SESSION_PINGPROBES": "5",
	}
	const detected = 6 * time.Second // how long a dead socket can go unnoticed with these
	var pods []*rig.Gateway
	for _, p := range ports {
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: lk, Redis: redis.Addr, Env: env})
		g.AwaitReady(t)
		pods = append(pods, g)
	}
	pages := httptest.NewServer(pageHandler())
	t.Cleanup(pages.Close)
	w := &world{browser: startBrowser(t), pages: pages.URL + "/"}
	for _, sdk := range versionsOfFeatures() {
		t.Run(sdk, func(t *testing.T) {
			resumedRoom(&scene{t: t, world: w}, sdk, pods, detected)
		})
	}
	rig.WantClean(t, lk, redis)
}

// roomScript is the file of an SDK that has the room API.
func roomScript(sdk string) string {
	if sdk == newestSDK {
		return "node_modules/websdk-" + sdk + "/flashphoner-room-api.js"
	}
	return legacyScript(sdk)
}

func resumedRoom(s *scene, sdk string, pods []*rig.Gateway, detected time.Duration) {
	t, room := s.t, "room-"+sdk
	enter := func(login string) *rig.RoomUser {
		u := rig.EnterAs(t, pods[1].URL, "roomApp", login)
		if got := u.TryJoin(room); got != "ACCEPTED" {
			t.Fatalf("%s joins: %s", login, got)
		}
		return u
	}
	publish := func(u *rig.RoomUser, name string) {
		u.StartPublish(name, name, rig.NewPublisher(t, rig.PeerOptions{}), rig.PublishIn(room))
		u.WantStatus(name, "PUBLISHING", "")
	}
	bob, carol := enter("bob"), enter("carol")
	publish(carol, room+"-carol-1")
	tb := s.newTab("page/rooms.js", roomScript(sdk))
	tb.do("joinRoom", pods[0].URL, "alice", room)
	time.Sleep(detected)

	tb.do("loseSocket")
	rig.Eventually(t, patience, "the session is detached", func() bool { return strings.Contains(pods[0].Metrics(t), "wcs_sessions_detached 1\n") })
	bob.Leave(room)
	dave := enter("dave")
	publish(dave, room+"-dave-1")
	eve := enter("eve")
	eve.Leave(room)
	tb.do("resumeAt", pods[1].URL)
	if got := carol.Say(room, "alice", "hello"); got != "ACCEPTED" {
		t.Errorf("a message to the resumed member: %s", got)
	}
	got := call[[]string](tb, "callbacksUntil", "MESSAGE carol: hello")
	want := []string{
		"STATE bob carol", // when the page joined
		"LEFT bob", "JOINED carol", "PUBLISHED carol " + room + "-carol-1", "JOINED dave", "PUBLISHED dave " + room + "-dave-1",
		"MESSAGE carol: hello",
	}
	if !slices.Equal(got, want) {
		t.Errorf("callbacks %q, want %q", got, want)
	}
	known := call[[]string](tb, "participants")
	slices.Sort(known)
	if want := []string{"carol " + room + "-carol-1", "dave " + room + "-dave-1"}; !slices.Equal(known, want) {
		t.Errorf("the SDK knows %q, want %q", known, want)
	}
	for _, u := range []*rig.RoomUser{bob, carol, dave, eve} {
		u.Close()
	}
}
