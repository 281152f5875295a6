package browser

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"wcsgateway/e2e/rig"
)

// TestConferenceExampleConnectsThreeUsers runs the vendor's own conference example, from the SDK's package:
// three users in browser contexts of their own, on two pods that have different URLs.
func TestConferenceExampleConnectsThreeUsers(t *testing.T) {
	t.Parallel()
	requireSDKs(t)
	redis := rig.StartRedis(t)
	ports := []rig.Ports{rig.NewPorts(t), rig.NewPorts(t)}
	lk := rig.StartLiveKit(t, rig.LiveKitOptions{Webhook: ports[0].Webhook()})
	var pods []*rig.Gateway
	for _, p := range ports {
		g := rig.StartGateway(t, rig.GatewayOptions{Ports: p, LiveKit: lk, Redis: redis.Addr})
		g.AwaitReady(t)
		pods = append(pods, g)
	}
	pages := httptest.NewServer(pageHandler())
	t.Cleanup(pages.Close)
	h := &conferenceWorld{browser: startBrowser(t), pages: pages.URL, pods: pods}
	for _, sdk := range versionsOfFeatures() {
		t.Run(sdk, func(t *testing.T) { h.checkConference(t, sdk) })
	}
	if *more { // make test has it with clients of its own: e2e's TestMembersOfKilledPodLeaveOnce
		t.Run("a pod is killed", h.podIsKilled)
	}
	rig.WantClean(t, lk, redis)
	if strings.Contains(pods[0].Output(), "panic") {
		t.Error("the gateway's log contains a panic")
	}
}

// conferenceWorld is the environment of the conferences.
type conferenceWorld struct {
	browser context.Context // of chromedp
	pages   string
	pods    []*rig.Gateway
}

// checkConference checks that all users see each other, chat, leave and return.
func (h *conferenceWorld) checkConference(t *testing.T, sdk string) {
	users := h.joinAll(t, sdk)
	for _, u := range users {
		u.sendChat("I am " + u.login)
	}
	for _, u := range users {
		for _, other := range users {
			u.awaitChat(other.login+" - I am "+other.login, 1)
		}
	}
	alice, bob, carol := users[0], users[1], users[2]
	bob.click("joinBtn")
	for _, u := range []*conferenceUser{alice, carol} {
		u.awaitChat("bob - left", 1)
		u.awaitText("the name of bob is gone", func(p conferencePage) bool { return !slices.Contains(p.Names, "bob") })
	}
	bob.awaitText("he may join", func(p conferencePage) bool { return p.Button == "Join" })
	bob.join(h.pods[1])
	for _, u := range users {
		u.awaitAllVideos(users)
	}
	alice.awaitChat("bob - joined", 2)
	carol.awaitChat("bob - joined", 1) // he was present when she joined, and rejoined later
	carol.close()
	for _, u := range []*conferenceUser{alice, bob} {
		u.awaitChat("carol - left", 1)
	}
	// A login in use is refused: the example shows the reason.
	twin := h.open(t, sdk, alice.room, "alice")
	twin.fill(h.pods[1])
	twin.click("joinBtn")
	twin.awaitText("the refusal", func(p conferencePage) bool { return p.Failed == "Login is in the room already" })
	alice.awaitAllVideos([]*conferenceUser{alice, bob})
	alice.awaitChat("alice - ", 1) // her own message
}

// podIsKilled checks that the other users see the users of a killed pod leave, once, and return through
// another pod.
func (h *conferenceWorld) podIsKilled(t *testing.T) {
	users := h.joinAll(t, newestSDK)
	alice, bob, carol := users[0], users[1], users[2]
	rig.Eventually(t, 40*time.Second, "the pods have seen Redis for long enough to take over", func() bool {
		return time.Since(h.pods[0].Started) > 16*time.Second
	})
	h.pods[1].Kill()
	since := time.Now()
	for _, u := range []*conferenceUser{alice, carol} {
		u.awaitChat("bob - left", 1)
	}
	took := time.Since(since)
	if t.Logf("notified after %v", took); took > 15*time.Second {
		t.Errorf("notified only after %v", took)
	}
	bob.awaitText("he may join", func(p conferencePage) bool { return p.Button == "Join" && p.Status != "ESTABLISHED" })
	bob.join(h.pods[0])
	for _, u := range users {
		u.awaitAllVideos(users)
	}
	alice.awaitChat("bob - left", 1)
	alice.awaitChat("bob - joined", 2)
	carol.awaitChat("carol", 0) // a user is not notified of their own leaving
}

// joinAll brings three users into a room, the second through the second pod, and waits until each sees the
// others.
func (h *conferenceWorld) joinAll(t *testing.T, sdk string) (users []*conferenceUser) {
	t.Helper()
	room := "room-" + strings.NewReplacer(".", "", "/", "", "_", "").Replace(t.Name())
	for i, login := range []string{"alice", "bob", "carol"} {
		u := h.open(t, sdk, room, login)
		u.join(h.pods[i%2])
		users = append(users, u)
	}
	for _, u := range users {
		u.awaitAllVideos(users)
	}
	return users
}

// conferenceUser is a user of the conference example.
type conferenceUser struct {
	*tab
	login, room string
}

// open loads the example in a browser context of its own. An exception on the page fails the test.
func (h *conferenceWorld) open(t *testing.T, sdk, room, login string) *conferenceUser {
	t.Helper()
	ctx, cancel := openTab(t, h.browser, chromedp.WithNewBrowserContext())
	u := &conferenceUser{tab: &tab{t: t, ctx: ctx}, login: login, room: room}
	t.Cleanup(func() {
		u.close()
		cancel()
	})
	if err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok && !playGivenUp(e.ExceptionDetails) {
			t.Errorf("%s's page: %+v %+v", login, *e.ExceptionDetails, e.ExceptionDetails.Exception)
		}
	}); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	address := fmt.Sprintf("%s/node_modules/websdk-%s/examples/demo/streaming/conference/conference.html?roomName=%s", h.pages, sdk, url.QueryEscape(room))
	limited, cancelLimit := context.WithTimeout(ctx, patience)
	defer cancelLimit()
	if err := chromedp.Do(limited, chromedp.Navigate(address)); err != nil {
		t.Fatalf("load the page: %v", err)
	}
	return u
}

// fill sets the pod to connect to and the login.
func (u *conferenceUser) fill(g *rig.Gateway) {
	u.t.Helper()
	u.do(`((url, login) => { $("#url").val(url); $("#login").val(login); })`, g.URL, u.login)
}

func (u *conferenceUser) click(button string) {
	u.t.Helper()
	u.do(`(id => { document.getElementById(id).click(); })`, button)
}

// join enters the room and waits until the user's own camera is published.
func (u *conferenceUser) join(g *rig.Gateway) {
	u.t.Helper()
	u.fill(g)
	u.click("joinBtn")
	u.awaitText("the camera is published", func(p conferencePage) bool { return p.Local == "PUBLISHING" })
}

func (u *conferenceUser) sendChat(text string) {
	u.t.Helper()
	u.do(`(text => { $("#message").val(text); $("#sendMessageBtn").click(); })`, text)
}

// conferencePage is the content of the page.
type conferencePage struct {
	Status, Failed, Local, Button, Chat string
	Names                               []string // of the other users
	Frames                              []int    // of their videos, shown so far
}

const readConference = `(() => {
  const text = (id) => document.getElementById(id).innerText;
  const names = [], frames = [];
  for (const p of ["participant1", "participant2"]) {
    const video = document.querySelector("#" + p + "Display video");
    if (text(p + "Name") === "NONE") continue;
    names.push(text(p + "Name"));
    frames.push(video ? video.getVideoPlaybackQuality().totalVideoFrames : 0);
  }
  return {Status: text("status"), Failed: text("failedInfo"), Local: text("localStatus"), Button: text("joinBtn"), Chat: text("chat"), Names: names, Frames: frames};
})`

func (u *conferenceUser) page() conferencePage {
	u.t.Helper()
	return call[conferencePage](u.tab, readConference)
}

// awaitText waits until the page meets a condition.
func (u *conferenceUser) awaitText(what string, wanted func(conferencePage) bool) {
	u.t.Helper()
	var p conferencePage
	if !rig.Holds(patience, func() bool { p = u.page(); return wanted(p) }) {
		u.t.Fatalf("%s's page does not show that %s: %+v", u.login, what, p)
	}
}

// awaitChat waits until the chat has a line n times; more often is a failure.
func (u *conferenceUser) awaitChat(line string, n int) {
	u.t.Helper()
	u.awaitText(fmt.Sprintf("the chat has %q %d times", line, n), func(p conferencePage) bool { return strings.Count(p.Chat, line) >= n })
	if got := strings.Count(u.page().Chat, line); got != n {
		u.t.Errorf("%s's chat has %q %d times: %s", u.login, line, got, u.page().Chat)
	}
}

// awaitAllVideos waits until the videos of all other users move.
func (u *conferenceUser) awaitAllVideos(users []*conferenceUser) {
	u.t.Helper()
	var want []string
	for _, other := range users {
		if other != u {
			want = append(want, other.login)
		}
	}
	first := u.page().Frames
	u.awaitText(fmt.Sprintf("%v are there", want), func(p conferencePage) bool {
		if !slices.Equal(slices.Sorted(slices.Values(p.Names)), want) {
			return false
		}
		for i, frames := range p.Frames {
			if frames < 5 || i < len(first) && frames == first[i] {
				return false
			}
		}
		return true
	})
}
