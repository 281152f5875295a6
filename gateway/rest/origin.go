package rest

import (
	"net/http"
	"net/netip"
	"net/url"

	"wcsgateway/gateway/origins"
)

// checkOrigin keeps pages of others from using a browser's credentials, or its network: only those that are configured, and those of
// the API's own address, are let in. Who sends no Origin is no page, or a page's request that browsers send without: then they say
// whether it is another's (Sec-Fetch-Site). A link to what is only looked at may be anywhere.
func (a *API) checkOrigin(q *request, rt route) error {
	origin := q.Header.Get("Origin")
	if origin == "" {
		link := rt.audit == "" && q.Header.Get("Sec-Fetch-Mode") == "navigate"
		switch q.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
			return nil
		}
		if link {
			return nil
		}
		return errForeign
	}
	if !a.allows(origin, q.Host) {
		return errOrigin
	}
	h := q.w.Header()
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if q.Method != http.MethodOptions {
		return nil
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "authorization, content-type, x-requested-with")
	h.Set("Access-Control-Max-Age", "600")
	return errPreflight
}

func (a *API) allows(origin, host string) bool {
	if u, err := url.Parse(origin); err == nil && u.Host == host && host != "" && (len(a.cfg.Users) > 0 || isFixed(u.Hostname())) {
		return true
	}
	return a.cfg.Origins != nil && origins.Valid(origin) && a.cfg.Origins.Allows(origin)
}

// isFixed tells whether a host is an address whatever DNS says. Any other name can be made to lead here by whoever owns it (DNS
// rebinding); where nobody is asked for a password his page would do as it likes.
func isFixed(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}
