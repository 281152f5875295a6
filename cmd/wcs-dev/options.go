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
	media netip.Addr // at which they reach LiveKit's media; the zero value: host
	https bool       // the demo page and, through it, the gateway
	ports ports
	sdk   string // folder of the SDK's npm package
	pull  bool   // sample cameras, and a worker that reads them
	debug bool
}

// deployment names the gateway and its worker in Redis.
const deployment = "dev"

// parseOptions reads the flags. It writes errors and the usage to stderr.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{
		host:  loopback,
		ports: ports{page: 8888, ws: 8080, internal: 9090, rest: 8081, liveKit: 7880, liveKitUDP: 7882, liveKitTCP: 7881},
	}
	given := false
	flags := flag.NewFlagSet("wcs-dev", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Func("host", "IPv4 `address` at which browsers reach this machine and its media. With any address other than 127.0.0.1, wcs-dev listens on all interfaces. Browsers allow the camera only on http://localhost and https pages (default 127.0.0.1, with media at an address of the network, which Firefox needs)", func(text string) error {
		given = true
		return o.setHost(text)
	})
	flags.BoolVar(&o.https, "https", false, "serve the demo page, and the gateway at "+gatewayPath+" below it, with a certificate that is made at the start, for all machines of the network: phones can then use their cameras")
	flags.StringVar(&o.sdk, "sdk", defaultSDK, "`folder` of the SDK's npm package")
	flags.BoolVar(&o.pull, "pull", false, "serve sample cameras over RTSP on 127.0.0.1, and run a worker that reads what the page plays by URL. Needs ffmpeg")
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
	if !given {
		o.choose(networkAddress())
	}
	return o, nil
}

// choose takes an address of the network for the media, and with https for everything.
func (o *options) choose(addr netip.Addr, found bool) {
	if !found {
		return
	}
	o.media = addr
	if o.https {
		o.host = addr
	}
}

// mediaHost returns the address of LiveKit's media.
func (o options) mediaHost() netip.Addr {
	if o.media.IsValid() {
		return o.media
	}
	return o.host
}

// pageURL returns the address of the demo page.
func (o options) pageURL() string {
	if o.https {
		return "https://" + o.public(o.ports.page) + "/"
	}
	return "http://" + o.public(o.ports.page) + "/"
}

// gatewayURL returns the address of the gateway for SDKs.
func (o options) gatewayURL() string {
	if o.https {
		return "wss://" + o.public(o.ports.page) + gatewayPath
	}
	return "ws://" + o.public(o.ports.ws)
}

// appKeys returns the keys of the applications.
func (o options) appKeys() []string { return []string{"defaultApp", "roomApp"} }

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
	cfg.Deployment = deployment
	cfg.Listen.Public = net.JoinHostPort(bindHost(o.host), strconv.Itoa(o.ports.ws))
	cfg.Listen.Internal = local(o.ports.internal)
	cfg.REST.Listen, cfg.REST.Auth, cfg.REST.Console = local(o.ports.rest), config.AuthNone, true
	cfg.LiveKit.URL = "http://" + o.public(o.ports.liveKit)
	cfg.LiveKit.APIKey, cfg.LiveKit.APISecret = liveKitKey, liveKitSecret
	cfg.Redis.Addrs = []string{local(o.ports.redis)}
	cfg.Applications = make(map[string]config.Application)
	for _, key := range o.appKeys() {
		cfg.Applications[key] = app
	}
	if o.pull {
		o.allowCameras(&cfg)
	}
	cfg.Drain = config.Drain{} // no other pod can take the clients, and the user waits for the prompt
	cfg.Complete()
	return cfg, cfg.Validate()
}
