package rest

import (
	"net/http"

	"wcsgateway/gateway/origins"
)

// checkOrigin protects browsers' credentials and networks from pages of other sites: it accepts only
// configured origins and the API's own. A request without Origin comes from a non-browser client, or is one
// for which browsers send Sec-Fetch-Site instead. Links from other sites to read-only endpoints are accepted.
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
	h.Set("Access-Control-Expose-Headers", OtherHeader)
	if q.Method != http.MethodOptions {
		return nil
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "authorization, content-type, x-requested-with")
	h.Set("Access-Control-Max-Age", "600")
	return errPreflight
}

func (a *API) allows(origin, host string) bool {
	if origins.Own(origin, host, len(a.cfg.Users) > 0) { // passwords protect the API from DNS rebinding
		return true
	}
	return a.cfg.Origins != nil && origins.Valid(origin) && a.cfg.Origins.Allows(origin)
}
