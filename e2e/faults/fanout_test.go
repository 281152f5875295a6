package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wcsgateway/e2e/rig"
	"wcsgateway/state"
)

// audience is how many players there are of one stream.
const audience = 100

// The end of a stream with many players on another pod costs one message to that pod, however many there are.
func TestEndOfStreamCostsOneMessagePerPod(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 2, redis: server.Addr, webhook: 1})
	c := rig.Connect(t, pods[0].URL, "defaultApp")
	c.Publish("many-pub", "many", rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
	var players []*rig.Client
	for range audience {
		players = append(players, rig.Connect(t, pods[1].URL, "defaultApp"))
	}
	playAll(t, "many", players)

	messages := recordPodMessages(t, server)
	sent := published(t, server)
	since := time.Now()
	c.Unpublish("many-pub", "many")
	wantPlayersEnded(t, "many", players)
	t.Logf("%d players notified after %v", audience, ms(time.Since(since)))
	c.WantStatus("many-pub", "UNPUBLISHED", infoStopped)
	rig.WantClean(t, lk, server)
	wantNoMoreStatus(t, append(players, c)...)

	t.Logf("PUBLISH: %d in all, webhooks included", published(t, server)-sent)
	messages.awaitAll(t, server)
	var playersPod string
	if ended := messages.channelsOf(state.EventEnded); len(ended) != 1 {
		t.Errorf("%d messages about the end: %v", len(ended), ended)
	} else {
		playersPod = ended[0]
	}
	// The players' pod gets the webhooks itself: nothing else had to be sent to it.
	if n := messages.countTo(playersPod); n != 1 {
		t.Errorf("%d messages to the players' pod", n)
	}
}

// A pod is killed: every player is notified once. The time is logged.
func TestPlayersOfKilledPublisherPodAreNotified(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	backend := rig.StartBackend(t)
	pods, lk := startPods(t, podOptions{n: 3, redis: server.Addr, webhook: 2, env: map[string]string{
		"WCS_APPLICATIONS": fmt.Sprintf("{defaultApp: {hooks: {url: %q, methods: [ConnectionStatusEvent]}}}", backend.URL),
	}})
	c := rig.Connect(t, pods[0].URL, "defaultApp")
	c.Publish("kill-pub", "kill", rig.NewPublisher(t, rig.PeerOptions{Audio: true}))
	var players []*rig.Client
	for i := range 20 {
		players = append(players, rig.Connect(t, pods[1+i%2].URL, "defaultApp"))
	}
	playAll(t, "kill", players)
	here := rig.Connect(t, pods[0].URL, "defaultApp") // a player of the pod itself: its participant is removed as well
	here.Play("kill-here", "kill", rig.NewPlayer(t, rig.PeerOptions{Audio: true}))
	awaitTakeOverAllowed(t, pods[1:]...)
	pods[0].Kill()
	since := time.Now()
	wantPlayersEnded(t, "kill", players)
	t.Logf("last of %d players notified %v after kill -9", len(players), ms(time.Since(since)))
	for range 2 { // sessions of the pod
		backend.AwaitStatus("ConnectionStatusEvent", "DISCONNECTED")
	}
	t.Logf("the backend notified %v after kill -9", ms(time.Since(since)))
	rig.WantClean(t, lk, server)
	if n := slices.Index(backend.Order(), "ConnectionStatusEvent DISCONNECTED"); n != 2+len(players) || len(backend.Order()) != n+2 {
		t.Errorf("the backend received %v", backend.Order())
	}
	wantNoMoreStatus(t, players...)
}

// Each end of a stream reaches the player on another pod. The times are logged.
func TestEveryEndReachesPlayersOnAnotherPod(t *testing.T) {
	t.Parallel()
	server := rig.StartRedis(t)
	pods, lk := startPods(t, podOptions{n: 2, redis: server.Addr, env: map[string]string{"WCS_LIMITS_STARTSPERSECOND": "0"}}) // one client starts all
	pub, view := rig.Connect(t, pods[0].URL, "defaultApp"), rig.Connect(t, pods[1].URL, "defaultApp")
	var took []time.Duration
	const batches, each = 5, 20
	for b := range batches {
		var names []string
		for i := range each {
			names = append(names, fmt.Sprintf("lat-%d-%d", b, i))
		}
		stop := manyScenes(t, pub, view, names)
		for _, name := range names {
			since := time.Now()
			pub.Unpublish(name+"-pub", name)
			view.WantStatus(name+"-play", "FAILED", infoStopped)
			took = append(took, time.Since(since))
			pub.WantStatus(name+"-pub", "UNPUBLISHED", infoStopped)
		}
		stop()
	}
	slices.Sort(took)
	t.Logf("unpublish on one pod to FAILED on the other, %d rounds: p50 %v, p99 %v, max %v", len(took),
		ms(took[len(took)/2-1]), ms(took[len(took)*99/100-1]), ms(took[len(took)-1]))
	rig.WantClean(t, lk, server)
	wantNoMoreStatus(t, pub, view)
	for _, stage := range []struct {
		name   string
		pod    *rig.Gateway
		rounds float64
	}{{"announce", pods[0], batches * each}, {"transit", pods[0], 1}, {"transit", pods[1], 1}, {"deliver", pods[1], batches * each}} {
		series := func(value string) float64 {
			return metric(t, stage.pod, fmt.Sprintf("wcs_notification_seconds_%s{stage=%q}", value, stage.name))
		}
		// If LiveKit is queried about a player at that moment, its answer reports the end.
		rig.Eventually(t, 40*time.Second, stage.name+" is measured", func() bool { return series("count") >= stage.rounds/2 })
		n := series("count")
		if n > stage.rounds && stage.name != "transit" {
			t.Errorf("%s was measured %v times in %v rounds", stage.name, n, stage.rounds)
		}
		t.Logf("of that %s, as the gateway measures it: mean %.2f ms", stage.name, series("sum")/n*1000)
	}
}

// manyScenes publishes streams with one client and plays each with another.
func manyScenes(t *testing.T, pub, view *rig.Client, names []string) (stop func()) {
	t.Helper()
	peers := make(map[string]*rig.Peer)
	for _, n := range names {
		p := rig.NewPublisher(t, rig.PeerOptions{Audio: true})
		peers[n+"-pub"] = p
		pub.Send("publishStream", rig.StreamRequest(n+"-pub", n, p.Offer(), true, nil))
	}
	for _, n := range names {
		peers[n+"-pub"].SetAnswer(pub.AwaitSDP(n + "-pub"))
	}
	for _, n := range names {
		pub.WantStatus(n+"-pub", "PUBLISHING", "")
		p := rig.NewPlayer(t, rig.PeerOptions{Audio: true})
		peers[n+"-play"] = p
		view.Send("playStream", rig.StreamRequest(n+"-play", n, p.Offer(), false, nil))
	}
	for _, n := range names {
		peers[n+"-play"].SetAnswer(view.AwaitSDP(n + "-play"))
	}
	for _, n := range names {
		view.WantStatus(n+"-play", "PLAYING", "")
	}
	return func() {
		for _, p := range peers {
			p.Close()
		}
	}
}

// playID is the media id of a player of a stream.
func playID(name string, i int) string { return fmt.Sprintf("%s-play-%d", name, i) }

// playAll lets every client play the stream, some of them at a time.
func playAll(t *testing.T, name string, clients []*rig.Client) {
	t.Helper()
	const atOnce = 10
	for first := 0; first < len(clients); first += atOnce {
		batch := clients[first:min(first+atOnce, len(clients))]
		peers := make([]*rig.Peer, len(batch))
		for i, c := range batch {
			peers[i] = rig.NewPlayer(t, rig.PeerOptions{Audio: true})
			c.Send("playStream", rig.StreamRequest(playID(name, first+i), name, peers[i].Offer(), false, nil))
		}
		for i, c := range batch {
			peers[i].SetAnswer(c.AwaitSDP(playID(name, first+i)))
		}
		for i, c := range batch {
			c.WantStatus(playID(name, first+i), "PLAYING", "")
		}
	}
}

func wantPlayersEnded(t *testing.T, name string, clients []*rig.Client) {
	t.Helper()
	for i, c := range clients {
		c.WantStatus(playID(name, i), "FAILED", infoStopped)
	}
}

var publishCalls = regexp.MustCompile(`cmdstat_publish:calls=(\d+)`)

// published is how many PUBLISH a server has executed.
func published(t *testing.T, server *rig.Redis) int {
	t.Helper()
	m := publishCalls.FindStringSubmatch(server.CLI("info", "commandstats"))
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// podMessages records the messages between pods.
type podMessages struct {
	mu       sync.Mutex
	messages []message
}

type message struct {
	channel string
	kind    state.EventKind
}

const barrierChannel = "wcs:default:pod:barrier"

func recordPodMessages(t *testing.T, server *rig.Redis) *podMessages {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	sub := client.PSubscribe(context.Background(), "wcs:default:pod:*")
	if _, err := sub.Receive(context.Background()); err != nil { // that it is subscribed
		t.Fatal(err)
	}
	tp := &podMessages{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.ReceiveMessage(context.Background())
			if err != nil {
				return // closed
			}
			var e state.Event
			if err := json.Unmarshal([]byte(m.Payload), &e); err != nil {
				t.Errorf("event %q: %v", m.Payload, err)
			}
			if m.Channel == "wcs:default:pod:"+e.From {
				continue // a pod sends itself events that measure the transit time
			}
			tp.mu.Lock()
			tp.messages = append(tp.messages, message{m.Channel, e.Kind})
			tp.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = sub.Close() // ends the goroutine
		_ = client.Close()
		<-done
	})
	return tp
}

// awaitAll returns when every earlier message has been recorded.
func (tp *podMessages) awaitAll(t *testing.T, server *rig.Redis) {
	t.Helper()
	server.CLI("publish", barrierChannel, "{}")
	rig.Eventually(t, 20*time.Second, "all messages are recorded", func() bool { return tp.countTo(barrierChannel) == 1 })
}

// channelsOf returns the channels that received a kind of event.
func (tp *podMessages) channelsOf(kind state.EventKind) (channels []string) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for _, m := range tp.messages {
		if m.kind == kind {
			channels = append(channels, m.channel)
		}
	}
	return channels
}

// countTo counts the messages to a channel.
func (tp *podMessages) countTo(channel string) (n int) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for _, m := range tp.messages {
		if m.channel == channel {
			n++
		}
	}
	return n
}
