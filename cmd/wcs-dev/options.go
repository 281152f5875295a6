package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"wcsgateway/cmd/internal/config"
)

// defaultSDK is where `make dev` puts the SDK, seen from the root of the repository.
const defaultSDK = "cmd/wcs-dev/node_modules/@flashphoner/websdk"

// options are what the flags say.
type options struct {
	host  netip.Addr // by which browsers reach this machine
	ports ports
	sdk   string // folder of the SDK's npm package
	debug bool
}

// parseOptions reads the flags. Errors have been written to stderr, with the usage.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{
		host:  loopback,
		ports: ports{page: 8888, ws: 8080, internal: 9090, rest: 8081, liveKit: 7880, liveKitUDP: 7882, liveKitTCP: 7881},
	}
	flags := flag.NewFlagSet("wcs-dev", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Func("host", "IPv4 `address` by which browsers reach this machine: with another one than 127.0.0.1 all interfaces are listened on; browsers give the camera to http://localhost and to https only (default 127.0.0.1)", o.setHost)
	flags.StringVar(&o.sdk, "sdk", defaultSDK, "`folder` of the SDK's npm package")
	flags.BoolVar(&o.debug, "debug", false, "log each message")
	o.ports.register(flags)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

func (o *options) setHost(text string) error {
	host, err := netip.ParseAddr(text)
	if err != nil {
		return err
	}
	if !host.Is4() || host.IsUnspecified() { // LiveKit offers no media on ::1
		return errors.New("must be an IPv4 address that a browser can connect to")
	}
	o.host = host
	return nil
}

// bindHost is where listeners for browsers listen: an address of this machine only, or everywhere.
func bindHost(host netip.Addr) string {
	if host.IsLoopback() {
		return host.String()
	}
	return ""
}

// public is the address of a port for browsers.
func (o options) public(port int) string {
	return netip.AddrPortFrom(o.host, uint16(port)).String()
}

// local is the address of a port that only this process needs.
func local(port int) string { return netip.AddrPortFrom(loopback, uint16(port)).String() }

// config is the gateway's configuration: the SDK's own applications in the rooms of native LiveKit
// clients, with LiveKit and Redis of this process.
func (o options) config() (config.Config, error) {
	app := config.Application{Room: "{name}", Native: config.NativeBoth} // design.md §2
	cfg := config.Default()
	cfg.Deployment = "dev"
	cfg.Listen.Public = net.JoinHostPort(bindHost(o.host), strconv.Itoa(o.ports.ws))
	cfg.Listen.Internal = local(o.ports.internal)
	cfg.REST.Listen, cfg.REST.Auth, cfg.REST.Console = local(o.ports.rest), config.AuthNone, true
	cfg.LiveKit.URL = "http://" + o.public(o.ports.liveKit)
	cfg.LiveKit.APIKey, cfg.LiveKit.APISecret = liveKitKey, liveKitSecret
	cfg.Redis.Addrs = []string{local(o.ports.redis)}
	cfg.Applications = map[string]config.Application{"defaultApp": app, "roomApp": app}
	cfg.Drain = config.Drain{} // there is no other pod for the clients, and somebody waits for the prompt
	cfg.Complete()
	return cfg, cfg.Validate()
}
