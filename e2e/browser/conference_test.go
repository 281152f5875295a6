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

// TestConference runs the vendor's own conference example, as it is in the SDK's package: three users in
// browser contexts of their own, on two pods that have different URLs.
func TestConference(t *testing.T) {
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
	h := &hall{browser: startBrowser(t), pages: pages.URL, pods: pods}
	t.Run(oldestSDK, func(t *testing.T) { h.meet(t, oldestSDK) })
	t.Run(newestSDK, func(t *testing.T) { h.meet(t, newestSDK) })
	t.Run("a pod is killed", h.podIsKilled)
	rig.WantClean(t, lk, redis)
	if strings.Contains(pods[0].Output(), "panic") {
		t.Error("the gateway's log speaks of a panic")
	}
}

// hall is where conferences take place.
type hall struct {
	browser context.Context // of chromedp
	pages   string
	pods    []*rig.Gateway
}

// meet: all see each other, chat, leave and come back.
func (h *hall) meet(t *testing.T, sdk string) {
	users := h.gather(t, sdk)
	for _, u := range users {
		u.say("I am " + u.login)
	}
	for _, u := range users {
		for _, other := range users {
			u.awaitChat(other.login+" - I am "+other.login, 1)
		}
	}
	alice, bob, carol := users[0], users[1], users[2]
	bob.click("joinBtn")
	for _, u := range []*attendee{alice, carol} {
		u.awaitChat("bob - left", 1)
		u.awaitText("the name of bob is gone", func(p conferencePage) bool { return !slices.Contains(p.Names, "bob") })
	}
	bob.awaitText("he may join", func(p conferencePage) bool { return p.Button == "Join" })
	bob.join(h.pods[1])
	for _, u := range users {
		u.awaitEverybody(users)
	}
	alice.awaitChat("bob - joined", 2)
	carol.awaitChat("bob - joined", 1) // who was there when she came, and then came back
	carol.close()
	for _, u := range []*attendee{alice, bob} {
		u.awaitChat("carol - left", 1)
	}
	// A login that is there is refused: the example shows why.
	twin := h.open(t, sdk, alice.room, "alice")
	twin.fill(h.pods[1])
	twin.click("joinBtn")
	twin.awaitText("the refusal", func(p conferencePage) bool { return p.Failed == "Login is in the room already" })
	alice.awaitEverybody([]*attendee{alice, bob})
	alice.awaitChat("alice - ", 1) // what she has said
}

// podIsKilled: the others see that those on it have left, once; they come back through another one.
func (h *hall) podIsKilled(t *testing.T) {
	users := h.gather(t, newestSDK)
	alice, bob, carol := users[0], users[1], users[2]
	rig.Eventually(t, 40*time.Second, "the pods have seen Redis for long enough to judge", func() bool {
		return time.Since(h.pods[0].Started) > 16*time.Second
	})
	h.pods[1].Kill()
	since := time.Now()
	for _, u := range []*attendee{alice, carol} {
		u.awaitChat("bob - left", 1)
	}
	took := time.Since(since)
	if t.Logf("told after %v", took); took > 15*time.Second {
		t.Errorf("told only after %v", took)
	}
	bob.awaitText("he may join", func(p conferencePage) bool { return p.Button == "Join" && p.Status != "ESTABLISHED" })
	bob.join(h.pods[0])
	for _, u := range users {
		u.awaitEverybody(users)
	}
	alice.awaitChat("bob - left", 1)
	alice.awaitChat("bob - joined", 2)
	carol.awaitChat("carol", 0) // a sender does not get its own message
}

// gather brings three users into a room, the second through the second pod, and waits until each sees the
// others.
func (h *hall) gather(t *testing.T, sdk string) (users []*attendee) {
	t.Helper()
	room := "room-" + strings.NewReplacer(".", "", "/", "", "_", "").Replace(t.Name())
	for i, login := range []string{"alice", "bob", "carol"} {
		u := h.open(t, sdk, room, login)
		u.join(h.pods[i%2])
		users = append(users, u)
	}
	for _, u := range users {
		u.awaitEverybody(users)
	}
	return users
}

// attendee is a user of the conference example.
type attendee struct {
	*tab
	login, room string
}

// open loads the example in a browser context of its own. Whatever the page throws fails the test.
func (h *hall) open(t *testing.T, sdk, room, login string) *attendee {
	t.Helper()
	ctx, cancel := chromedp.NewContext(h.browser, chromedp.WithNewBrowserContext())
	u := &attendee{tab: &tab{t: t, ctx: ctx}, login: login, room: room}
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

// fill says which pod to connect to, and as whom.
func (u *attendee) fill(g *rig.Gateway) {
	u.t.Helper()
	u.do(`((url, login) => { $("#url").val(url); $("#login").val(login); })`, g.URL, u.login)
}

func (u *attendee) click(button string) {
	u.t.Helper()
	u.do(`(id => { document.getElementById(id).click(); })`, button)
}

// join enters the room and waits until the user's own camera is published.
func (u *attendee) join(g *rig.Gateway) {
	u.t.Helper()
	u.fill(g)
	u.click("joinBtn")
	u.awaitText("the camera is published", func(p conferencePage) bool { return p.Local == "PUBLISHING" })
}

func (u *attendee) say(text string) {
	u.t.Helper()
	u.do(`(text => { $("#message").val(text); $("#sendMessageBtn").click(); })`, text)
}

// conferencePage is what the user sees.
type conferencePage struct {
	Status, Failed, Local, Button, Chat string
	Names                               []string // of the others
	Frames                              []int    // of their pictures, shown so far
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

func (u *attendee) page() conferencePage {
	u.t.Helper()
	return call[conferencePage](u.tab, readConference)
}

// awaitText waits until the page is as wanted.
func (u *attendee) awaitText(what string, wanted func(conferencePage) bool) {
	u.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		p := u.page()
		if wanted(p) {
			return
		}
		select {
		case <-limit.C:
			u.t.Fatalf("%s's page does not show that %s: %+v", u.login, what, p)
		case <-again.C:
		}
	}
}

// awaitChat waits until the chat has a line n times; it may have it no more often.
func (u *attendee) awaitChat(line string, n int) {
	u.t.Helper()
	u.awaitText(fmt.Sprintf("the chat has %q %d times", line, n), func(p conferencePage) bool { return strings.Count(p.Chat, line) >= n })
	if got := strings.Count(u.page().Chat, line); got != n {
		u.t.Errorf("%s's chat has %q %d times: %s", u.login, line, got, u.page().Chat)
	}
}

// awaitEverybody waits until the pictures of all others move.
func (u *attendee) awaitEverybody(users []*attendee) {
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
