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
	"wcsgateway/gateway/apps"
)

// defaultSDK is where `make dev` installs the SDK, relative to the root of the repository.
const defaultSDK = "cmd/wcs-dev/node_modules/@flashphoner/websdk"

// options are the values of the flags.
type options struct {
	host  netip.Addr // at which browsers reach this machine
	ports ports
	sdk   string // folder of the SDK's npm package
	debug bool
}

// parseOptions reads the flags. It writes errors and the usage to stderr.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{
		host:  loopback,
		ports: ports{page: 8888, ws: 8080, internal: 9090, rest: 8081, liveKit: 7880, liveKitUDP: 7882, liveKitTCP: 7881},
	}
	flags := flag.NewFlagSet("wcs-dev", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Func("host", "IPv4 `address` at which browsers reach this machine; Firefox needs one other than 127.0.0.1 for media. With any address other than 127.0.0.1, wcs-dev listens on all interfaces. Browsers allow the camera only on http://localhost and https pages (default 127.0.0.1)", o.setHost)
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

// bindHost returns the host that listeners for browsers bind to: this machine only, or all interfaces.
func bindHost(host netip.Addr) string {
	if host.IsLoopback() {
		return host.String()
	}
	return ""
}

// public returns the address of a port for browsers.
func (o options) public(port int) string {
	return netip.AddrPortFrom(o.host, uint16(port)).String()
}

// local returns the address of a port that only this process uses.
func local(port int) string { return netip.AddrPortFrom(loopback, uint16(port)).String() }

// config returns the gateway's configuration: the SDK's applications, whose streams are in rooms shared with
// native LiveKit clients, with LiveKit and Redis of this process.
func (o options) config() (config.Config, error) {
	app := config.Application{Room: "{name}", Native: apps.NativeBoth}
	cfg := config.Default()
	cfg.Deployment = "dev"
	cfg.Listen.Public = net.JoinHostPort(bindHost(o.host), strconv.Itoa(o.ports.ws))
	cfg.Listen.Internal = local(o.ports.internal)
	cfg.REST.Listen, cfg.REST.Auth, cfg.REST.Console = local(o.ports.rest), config.AuthNone, true
	cfg.LiveKit.URL = "http://" + o.public(o.ports.liveKit)
	cfg.LiveKit.APIKey, cfg.LiveKit.APISecret = liveKitKey, liveKitSecret
	cfg.Redis.Addrs = []string{local(o.ports.redis)}
	cfg.Applications = map[string]config.Application{"defaultApp": app, "roomApp": app}
	cfg.Drain = config.Drain{} // no other pod can take the clients, and the user waits for the prompt
	cfg.Complete()
	return cfg, cfg.Validate()
}
