package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"wcsgateway/gateway/bus"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/livekit"
)

// webhookTimeout is the time that a webhook can take.
const webhookTimeout = 10 * time.Second

func (c *connection) liveKit(ctx context.Context) []Result {
	all := c.reachLiveKit(ctx)
	if slices.ContainsFunc(all, func(r Result) bool { return r.Level == Fault }) {
		return all
	}
	call, cancel := context.WithTimeout(ctx, c.cfg.LiveKit.CallTimeout)
	defer cancel()
	version, err := c.sfu.Version(call, c.room, translate.NewIdentity(c.cfg.Deployment, translate.RoleProbe, c.pod))
	switch {
	case err != nil:
		all = append(all, fault("livekit version", err, "LiveKit's /rtc must be reachable for WebSockets at livekit.url: rates and snapshots need it"))
	case older(version, minLiveKit):
		all = append(all, Result{Level: Fault, Check: "livekit version", Text: version, Hint: "the gateway needs " + minLiveKit + " or later"})
	default:
		all = append(all, ok("livekit version", "%s", version), c.play(ctx, version))
	}
	return append(all, c.offer(ctx)...)
}

// play opens LiveKit's signalling as plays do, if a gateway uses it for this version.
func (c *connection) play(ctx context.Context, version string) Result {
	const check = "livekit play"
	way := c.cfg.LiveKit.Play
	switch {
	case way == livekit.PlayWHIP:
		return ok(check, "by WHIP, as livekit.play requires")
	case way != livekit.PlaySignal && older(version, livekit.MinSignalling):
		return ok(check, "by WHIP, because LiveKit is older than %s", livekit.MinSignalling)
	}
	call, cancel := context.WithTimeout(ctx, c.cfg.LiveKit.CallTimeout)
	defer cancel()
	id := translate.NewIdentity(c.cfg.Deployment, translate.RolePlay, c.pod)
	if err := c.sfu.TrySignalling(call, c.room, id); err != nil {
		return warning(check, oneLine(err), "a proxy before LiveKit must pass WebSockets to /rtc/v1; without them set livekit.play: whip")
	}
	return ok(check, "by signalling")
}

// reachLiveKit examines address and credentials. It changes nothing in LiveKit.
func (c *connection) reachLiveKit(ctx context.Context) []Result {
	const check = "livekit.url"
	call, cancel := context.WithTimeout(ctx, c.cfg.LiveKit.CallTimeout)
	defer cancel()
	if err := c.sfu.Reach(call); err != nil {
		return []Result{fault(check, err, "it must be the address of LiveKit's API, which the gateway can reach")}
	}
	all := []Result{ok(check, "LiveKit answers")}
	call, cancel = context.WithTimeout(ctx, c.cfg.LiveKit.CallTimeout)
	defer cancel()
	if _, err := c.sfu.Participants(call, c.room); err != nil {
		hint := ""
		if translate.KindOf(err) == translate.ErrKindDenied {
			hint = "livekit.apiKey and livekit.apiSecret must be one of the keys in LiveKit's configuration, and the clocks must agree"
		}
		return append(all, fault("livekit.apiKey", err, hint))
	}
	return append(all, ok("livekit.apiKey", "LiveKit accepts key and secret"))
}

// offer publishes without media, and examines LiveKit's answer.
func (c *connection) offer(ctx context.Context) []Result {
	peer, err := c.peers.NewPublisher()
	if err != nil {
		return []Result{fault("livekit WHIP", err, "")}
	}
	defer peer.Close() // it never connects
	call, cancel := context.WithTimeout(ctx, c.cfg.LiveKit.CallTimeout)
	defer cancel()
	id := translate.NewIdentity(c.cfg.Deployment, translate.RolePublish, c.pod)
	answer, err := c.sfu.Publish(call, translate.PublishOffer{Room: c.room, Identity: id, MediaID: "check", SDP: peer.Offer()})
	if err != nil {
		hint := "LiveKit must be able to create rooms and answer offers: see its log"
		if translate.KindOf(err) == translate.ErrKindNotFound {
			hint = "LiveKit has no WHIP at /whip/v1: it needs version " + minLiveKit + " or later, and a proxy before it must pass this path"
		}
		return []Result{fault("livekit WHIP", err, hint)}
	}
	list, err := translate.AnswerCandidates(answer.SDP)
	if err != nil {
		return []Result{fault("livekit WHIP", err, "")}
	}
	all := append([]Result{ok("livekit WHIP", "LiveKit answers offers")}, candidates(list)...)
	call, cancel = context.WithTimeout(ctx, c.cfg.LiveKit.CallTimeout)
	defer cancel()
	if err := c.sfu.Remove(call, c.room, id); err != nil {
		return append(all, fault("livekit participants", err, "LiveKit must let the key manage its rooms"))
	}
	c.liveKitWorks = true
	return all
}

// candidates examines the addresses at which clients reach LiveKit's media ports.
func candidates(list []translate.Candidate) []Result {
	const check = "livekit candidates"
	if len(list) == 0 {
		return []Result{{Level: Fault, Check: check, Text: "none in the answer", Hint: "set rtc.node_ip or rtc.use_external_ip, and open rtc.udp_port, in LiveKit"}}
	}
	var udp, tcp, public, private bool
	for _, one := range list {
		udp, tcp = udp || one.Transport == "udp", tcp || one.Transport == "tcp"
		switch one.Scope() {
		case translate.ScopePublic, translate.ScopeName:
			public = true
		case translate.ScopePrivate:
			private = true
		case translate.ScopeLoopback:
		}
	}
	text := addresses(list)
	var all []Result
	switch {
	case public:
	case private:
		all = append(all, warning(check, text+": private", "clients outside this network get no media: set rtc.node_ip or rtc.use_external_ip in LiveKit"))
	default:
		all = append(all, warning(check, text+": loopback", "only clients on LiveKit's machine get media: set rtc.node_ip or rtc.use_external_ip in LiveKit"))
	}
	if !udp {
		all = append(all, warning(check, "none for UDP", "set rtc.udp_port or rtc.port_range_start and _end in LiveKit, and open the ports"))
	}
	if !tcp {
		all = append(all, warning(check, "none for TCP", "clients behind firewalls that block UDP get no media: set rtc.tcp_port in LiveKit, and open it"))
	}
	if len(all) == 0 {
		all = append(all, ok(check, "%s", text))
	}
	return all
}

func addresses(list []translate.Candidate) string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = one.String()
	}
	return strings.Join(texts, ", ")
}

var errNoWebhook = errors.New("a running gateway did not receive LiveKit's webhook")

// webhooks waits for the webhook of the participant that offer made. A running gateway receives it, and
// forwards it to the pod of the participant's identity, which is this process.
func (c *connection) webhooks(ctx context.Context) []Result {
	const check = "webhooks"
	switch {
	case !c.liveKitWorks || !c.redisWorks:
		return []Result{warning(check, "not tried", "first LiveKit and Redis must work")}
	case c.gateways == 0:
		return []Result{warning(check, "not tried", "no gateway of the deployment runs: start one and check again")}
	}
	limit := time.NewTimer(webhookTimeout)
	defer limit.Stop()
	for {
		select {
		case e := <-c.events:
			if c.isOurs(e) {
				return []Result{ok(check, "a running gateway receives them")}
			}
		case <-limit.C:
			hint := fmt.Sprintf("webhook.urls in LiveKit must have http://GATEWAY%s/webhook, and webhook.api_key %s or one of livekit.webhookKeys", port(c.cfg.Listen.Internal), c.cfg.LiveKit.APIKey)
			return []Result{fault(check, errNoWebhook, hint)}
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *connection) isOurs(e state.Event) bool {
	if e.Kind != state.EventWebhook {
		return false
	}
	event, err := bus.Webhook(e)
	return err == nil && event.Room == c.room
}

// port returns the port of an address with its colon.
func port(address string) string { return address[strings.LastIndexByte(address, ':'):] }
