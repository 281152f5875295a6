package process

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// healthTimeout bounds the request. It is shorter than the usual timeout of those who ask.
const healthTimeout = 3 * time.Second

// AskHealth asks this machine's server at an address to listen on. It returns an error unless the status is
// 200.
func AskHealth(ctx context.Context, listen, path string) error {
	url := "http://" + reachable(listen) + path
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
