package check

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/internal/wcsclient"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
)

// Oldest versions that work (README.md).
const (
	minLiveKit = "1.9.0"
	minRedis   = "6.2.0"
)

// cleanUpTimeout bounds the removal of what a check made.
const cleanUpTimeout = 5 * time.Second

// connection examines what a configuration names by connecting to it.
type connection struct {
	cfg    config.Config
	store  *state.Redis
	sfu    *livekit.SFU
	peers  *wcsclient.Media
	pod    string // of no gateway: the events for it come to this process
	room   translate.RoomName
	events chan state.Event
	// listening ends with the context of Connect.
	listening sync.WaitGroup

	redisWorks   bool // events come
	liveKitWorks bool // a participant was there
	gateways     int  // that run
}

// Connect connects to everything that a valid configuration names: certificates, backends, other WCS servers,
// Redis, LiveKit, and a running gateway, which receives LiveKit's webhooks. gateway is the address of a
// gateway through which it also publishes and plays a stream, or "". Backends' hooks are not called. What it
// makes in LiveKit and Redis has a name of its own and is removed again, also when ctx is done.
func Connect(ctx context.Context, cfg config.Config, gateway string) []Result {
	c, err := open(cfg)
	if err != nil {
		return []Result{{Level: Fault, Check: "configuration", Text: err.Error()}}
	}
	defer c.close(context.WithoutCancel(ctx))
	interrupt := ctx
	ctx, stop := context.WithCancel(ctx)
	defer c.listening.Wait()
	defer stop()
	var all []Result
	steps := []func(context.Context) []Result{c.certificates, c.backends, c.upstreams, c.redis, c.liveKit, c.webhooks}
	if gateway != "" {
		steps = append(steps, func(ctx context.Context) []Result { return c.media(ctx, gateway) })
	}
	for _, step := range steps {
		found := step(ctx)
		if interrupt.Err() != nil { // its faults mean nothing
			return append(all, Result{Level: Fault, Check: "check", Text: "was interrupted"})
		}
		all = append(all, found...)
	}
	return all
}

// Look connects to what a valid configuration names as Connect does, but only reads: certificates, Redis,
// LiveKit and its credentials. It sends nothing to backends, whose hooks show whether they work, and nothing
// to other WCS servers, which have metrics.
func Look(ctx context.Context, cfg config.Config) (all []Result) {
	c, err := open(cfg)
	if err != nil {
		return []Result{{Level: Fault, Check: "configuration", Text: err.Error()}}
	}
	defer c.release()
	for _, step := range []func(context.Context) []Result{c.certificates, c.redisNodes, c.reachLiveKit} {
		all = append(all, step(ctx)...)
	}
	return all
}

// open prepares a check. Close it if it makes something, else release it.
func open(cfg config.Config) (*connection, error) {
	pod := translate.NewPodTag()
	peers, err := newMedia()
	if err != nil {
		return nil, err
	}
	store, sfu, err := app.Clients(cfg, pod)
	if err != nil {
		return nil, err
	}
	return &connection{
		cfg: cfg, store: store, sfu: sfu, peers: peers, pod: pod, room: translate.RoomName("wcs-check-" + pod),
		events: make(chan state.Event, 16),
	}, nil
}

// close removes what the check made.
func (c *connection) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	for _, room := range []translate.RoomName{c.room, app.TrialRoom.Room("", c.stream())} {
		_ = c.sfu.DeleteRoom(ctx, room) // otherwise LiveKit removes it soon, because it is empty
	}
	c.release()
}

func (c *connection) release() {
	c.sfu.Close()
	_ = c.store.Close() // nothing is pending
}

func ok(check, text string, args ...any) Result {
	return Result{Check: check, Text: fmt.Sprintf(text, args...)}
}

func warning(check, text, hint string) Result {
	return Result{Level: Warning, Check: check, Text: text, Hint: hint}
}

func fault(check string, err error, hint string) Result {
	return Result{Level: Fault, Check: check, Text: oneLine(err), Hint: hint}
}

// oneLine returns the text of an error on one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
