package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/livekit/livekit-server/pkg/config"
	"github.com/livekit/livekit-server/pkg/routing"
	"github.com/livekit/livekit-server/pkg/service"
	"github.com/livekit/livekit-server/pkg/telemetry/prometheus"
	"github.com/livekit/protocol/logger"
)

// Credentials of the embedded LiveKit, also for native clients. They are public: wcs-dev is for trying the
// gateway on one's own machine.
const (
	liveKitKey    = "devkey"
	liveKitSecret = "wcs-dev-is-not-for-production-use" // LiveKit requires 32 characters
)

const (
	liveKitStartTimeout = 20 * time.Second
	liveKitStopTimeout  = 10 * time.Second
)

// liveKit is a livekit-server in this process.
type liveKit struct {
	server *service.LivekitServer
	ended  chan error // the result of Start
}

// liveKitYAML returns the configuration of a single node without Redis. Browsers reach its API at host, and
// the media at media.
func liveKitYAML(host, media netip.Addr, p ports) string {
	y := fmt.Sprintf(`port: %d
bind_addresses: [%q]
keys: {%s: %s}
webhook: {api_key: %s, urls: ["http://%s/webhook"]}
rtc:
  tcp_port: %d
  udp_port: %d
  node_ip: %q
  use_external_ip: false
  pli_throttle: {low_quality: 200ms}
`, p.liveKit, bindHost(host), liveKitKey, liveKitSecret, liveKitKey, local(p.internal), p.liveKitTCP, p.liveKitUDP, media)
	if media.IsLoopback() { // LiveKit omits it by default
		y += fmt.Sprintf("  enable_loopback_candidate: true\n  ips: {includes: [%q]}\n", netip.PrefixFrom(media, media.BitLen()))
	}
	return y
}

// startLiveKit starts a LiveKit and waits until it serves.
func startLiveKit(ctx context.Context, yaml string) (*liveKit, error) {
	const strict = true
	conf, err := config.NewConfig(yaml, strict, nil, nil) // includes all defaults
	if err != nil {
		return nil, fmt.Errorf("configure LiveKit: %w", err)
	}
	node, err := routing.NewLocalNode(conf)
	if err != nil {
		return nil, fmt.Errorf("make LiveKit's node: %w", err)
	}
	// Without this call the node's statistics use a nil gauge. It registers in the default registry, which
	// the gateway does not use.
	if err := prometheus.Init(string(node.NodeID()), node.NodeType()); err != nil {
		return nil, fmt.Errorf("prepare LiveKit's metrics: %w", err)
	}
	server, err := service.InitializeServer(conf, node)
	if err != nil {
		return nil, fmt.Errorf("make LiveKit: %w", err)
	}
	lk := &liveKit{server: server, ended: make(chan error, 1)}
	go func() { lk.ended <- server.Start() }()
	if err := lk.awaitStart(ctx); err != nil {
		return nil, fmt.Errorf("start LiveKit: %w", err)
	}
	return lk, nil
}

func (lk *liveKit) awaitStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, liveKitStartTimeout, errors.New("it does not run after "+liveKitStartTimeout.String()))
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !lk.server.IsRunning() {
		select {
		case err := <-lk.ended:
			return err
		case <-ctx.Done():
			lk.server.Stop(true)
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
	return nil
}

// stop removes all participants and ends the server.
func (lk *liveKit) stop() error {
	lk.server.Stop(true)
	timeout := time.NewTimer(liveKitStopTimeout)
	defer timeout.Stop()
	select {
	case err := <-lk.ended:
		return err
	case <-timeout.C:
		return errors.New("LiveKit does not end after " + liveKitStopTimeout.String())
	}
}

// logLiveKit makes LiveKit, which is silent by default, log its errors on standard error. Its warnings are
// omitted: they are about normal events, such as a player that is not allowed to publish, or a publisher that
// sends no candidates. LiveKit's own function would also redirect package log to LiveKit's logger.
func logLiveKit() error {
	l, err := logger.NewZapLogger(&logger.Config{Level: "error"})
	if err != nil {
		return fmt.Errorf("make LiveKit's log: %w", err)
	}
	logger.SetLogger(l, "livekit")
	return nil
}
