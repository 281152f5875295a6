package rest

import (
	"net/http"
	"net/url"

	"wcsgateway/gateway/origins"
)

// checkOrigin keeps pages of others from using a browser's credentials, or its network: only those that are configured, and those of
// the API's own address, are let in. Who sends no Origin is no page.
func (a *API) checkOrigin(q *request) error {
	origin := q.Header.Get("Origin")
	if origin == "" {
		return nil
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
	if u, err := url.Parse(origin); err == nil && u.Host == host && host != "" {
		return true
	}
	return a.cfg.Origins != nil && origins.Valid(origin) && a.cfg.Origins.Allows(origin)
}
