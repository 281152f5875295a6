package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"wcsgateway/cmd/internal/config"
)

// healthTimeout bounds the request. It is shorter than the usual timeout of those who ask.
const healthTimeout = 3 * time.Second

func (p program) healthCommand(file func() string) *cobra.Command {
	var (
		address string
		ready   bool
	)
	c := &cobra.Command{
		Use: "healthcheck", Short: "Ask the running gateway for its health", Args: cobra.NoArgs,
		Long: "healthcheck asks the gateway at listen.internal of the configuration whether it is alive, or with --ready\n" +
			"whether it accepts clients. Exit code: 0 for yes, 1 for no.",
		RunE: func(c *cobra.Command, _ []string) error {
			if address == "" {
				cfg, err := config.Load(file(), p.environ)
				if cfg.Listen.Internal == "" { // other faults do not matter here
					return p.fail(err)
				}
				address = cfg.Listen.Internal
			}
			path := "/livez"
			if ready {
				path = "/readyz"
			}
			if err := askHealth(c.Context(), "http://"+reachable(address)+path); err != nil {
				return p.fail(err)
			}
			return p.print("ok\n", nil)
		},
	}
	c.Flags().StringVar(&address, "address", "", "`host:port` instead of listen.internal")
	c.Flags().BoolVar(&ready, "ready", false, "whether the gateway accepts clients")
	return c
}

// reachable returns the address under which this machine reaches a listener.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // the request fails with the reason
	}
	if ip, err := netip.ParseAddr(cmp.Or(host, "0.0.0.0")); err == nil && ip.IsUnspecified() {
		host = "localhost" // of either family
	}
	return net.JoinHostPort(host, port)
}

func askHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // without a proxy
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // only the status is of interest
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}
