// Package rest is the server's REST API (docs/rest-api.md): WCS's endpoints for backends and operators under
// /rest-api, and its statistics. It owns HTTP and WCS's JSON; the data and the actions are behind the
// interfaces of deps.go. Only package main wires it.
package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/realip"
	"wcsgateway/gateway/sampled"
)

// Config configures the API.
type Config struct {
	// Users are bcrypt hashes of passwords by user name. Without users there is no authentication.
	Users map[string]string
	// Origins are the pages that are allowed to use the API from a browser, besides those of its own address;
	// nil: none.
	Origins *origins.List
	// TerminateAll allows /stream/terminate without a filter to end all streams, as in WCS.
	TerminateAll bool
	// OpenStatistics serves ?action=stat without authentication, because load balancers have no password.
	OpenStatistics bool
	// Proxies are the trusted proxies, whose X-Forwarded-For headers are honoured.
	Proxies realip.Proxies
	// NodeID identifies the server to backends; hooks have the same.
	NodeID string
	// Others are other WCS servers, which answer what this one does not have, in this order. API.SetOthers
	// replaces them.
	Others []Other
}

// Deps are the dependencies of the API.
type Deps struct {
	Deployment Deployment
	Snapshots  Snapshots
	Recorder   Recorder
	Pusher     Pusher
	Messenger  Messenger
	// Puller is nil if nothing is pulled: then its endpoints are not supported.
	Puller Puller
	// Console serves the paths under consolePrefix, for the same users. It can be nil.
	Console http.Handler
	// Observe receives the route of every request, one of a closed set, the status of its response and its
	// duration. It can be nil.
	Observe func(route string, status int, d time.Duration)
	Log     zerolog.Logger
}

// API is the REST API. It is an http.Handler.
type API struct {
	cfg      Config
	deps     Deps
	log      zerolog.Logger
	sampled  zerolog.Logger // for events that unauthenticated clients can cause
	rejected zerolog.Logger // sampled audit log of rejected actions
	auth     *basicAuth
	others   atomic.Pointer[[]*other]
	routes   map[string]route

	lists       *semaphore.Weighted // of maxOtherLists
	listTimeout time.Duration
}

// route is one endpoint.
type route struct {
	audit string // name in the audit log; "" for read-only endpoints
	serve func(*API, *request) error
}

// New returns the API. It fails if one of Config.Others has a wrong URL.
func New(cfg Config, deps Deps) (*API, error) {
	if deps.Observe == nil {
		deps.Observe = func(string, int, time.Duration) {}
	}
	a := &API{
		cfg: cfg, deps: deps, log: deps.Log, sampled: sampled.Logger(deps.Log), rejected: sampled.Logger(deps.Log),
		auth: newBasicAuth(cfg.Users), routes: routes(deps.Puller != nil),
		lists: semaphore.NewWeighted(maxOtherLists), listTimeout: listTimeout,
	}
	return a, a.SetOthers(cfg.Others)
}

// SetOthers replaces the other WCS servers. Requests that are being passed on end at the former ones. It
// fails for a wrong URL, and changes nothing then.
func (a *API) SetOthers(all []Other) error {
	var next []*other
	for _, one := range all {
		o, err := newOther(one)
		if err != nil {
			return fmt.Errorf("upstreams.%s.rest.url: %w", one.Name, err)
		}
		next = append(next, o)
	}
	if former := a.others.Swap(&next); former != nil {
		for _, o := range *former {
			o.client.CloseIdleConnections()
		}
	}
	return nil
}

// routes returns the endpoints by path. WCS's other endpoints are in unsupported.go. Lists (newList) have the
// entries of the other servers, too.
func routes(pulls bool) map[string]route {
	all := map[string]route{
		prefix + "/stream/find":           {"", (*API).findStreams},
		prefix + "/stream/find_all":       {"", (*API).findAllStreams},
		prefix + "/stream/terminate":      {"stream/terminate", orOther((*API).terminateStreams)},
		prefix + "/stream/metrics":        {"", orOther((*API).streamMetrics)},
		prefix + "/stream/snapshot":       {"stream/snapshot", orOther((*API).snapshot)},
		prefix + "/stream/startRecording": {"stream/startRecording", orOther((*API).startRecording)},
		prefix + "/stream/stopRecording":  {"stream/stopRecording", orOther((*API).stopRecording)},
		prefix + "/recorder/startup":      {"stream/startRecording", orOther((*API).startRecording)},
		prefix + "/recorder/terminate":    {"stream/stopRecording", orOther((*API).stopRecording)},
		prefix + "/recorder/find_all":     {"", (*API).findAllRecordings},
		prefix + "/push/startup":          {"push/startup", orOther((*API).startPush)},
		prefix + "/push/find":             {"", (*API).findPushes},
		prefix + "/push/find_all":         {"", (*API).findAllPushes},
		prefix + "/push/terminate":        {"push/terminate", orOther((*API).stopPush)},
		prefix + "/stream/event/send":     {"stream/event/send", orOther((*API).sendStreamEvent)},
		prefix + "/data/send":             {"data/send", orOther((*API).sendData)},
		prefix + "/connection/find":       {"", (*API).findConnections},
		prefix + "/connection/find_all":   {"", (*API).findAllConnections},
		prefix + "/connection/terminate":  {"connection/terminate", orOther((*API).terminateConnection)},
		prefix + "/openapi.yaml":          {"", (*API).openAPI},
	}
	if pulls {
		maps.Copy(all, pullRoutes())
	}
	return all
}

const (
	prefix = "/rest-api"

	// consolePrefix is the path of the console.
	consolePrefix = "/console/"

	routeStatistics  = "/"
	routeConsole     = "console"
	routeUnknown     = "unknown"
	routeUnsupported = "unsupported"
)

// bodyLimit bounds a request's body in bytes. The largest bodies are payloads of events and data.
const bodyLimit = 1 << 20

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start, from := time.Now(), a.cfg.Proxies.Client(r)
	q := &request{Request: r, w: &response{ResponseWriter: w}, from: from.String(), api: a, others: *a.others.Load()}
	name, rt := a.find(q)
	err := a.admit(q, name, rt, realip.LimitKey(from.Addr()))
	switch {
	case errors.Is(err, errPreflight):
		q.w.WriteHeader(http.StatusNoContent)
	case err == nil:
		err = rt.serve(a, q)
		a.audit(&a.log, q, rt, err)
		a.answerError(q, err)
	default:
		a.audit(&a.rejected, q, rt, err)
		a.answerError(q, err)
	}
	a.deps.Observe(name, q.w.code(), time.Since(start))
}

// find returns the route of a request and its name in metrics.
func (a *API) find(q *request) (name string, rt route) {
	r := q.Request
	if r.URL.Path == "/" && r.URL.Query().Get("action") == "stat" {
		return routeStatistics, route{serve: (*API).statistics}
	}
	at := path.Clean(r.URL.Path) // base URLs of backends end with a slash
	if rt, ok := a.routes[at]; ok {
		return at, rt
	}
	if a.deps.Console != nil && (r.URL.Path == "/" || r.URL.Path == "/console") {
		return routeConsole, route{serve: func(_ *API, q *request) error {
			q.w.Header().Set("Location", "console/") // relative: a proxy can have added a path
			q.w.WriteHeader(http.StatusFound)
			return nil
		}}
	}
	if a.deps.Console != nil && strings.HasPrefix(r.URL.Path, consolePrefix) {
		return routeConsole, route{serve: func(a *API, q *request) error {
			a.deps.Console.ServeHTTP(q.w, q.Request)
			return nil
		}}
	}
	instead, ok := unsupported(at)
	if ok && len(q.others) > 0 {
		return routeUnsupported, route{"passed on", (*API).passOnUnsupported}
	}
	if ok {
		return routeUnsupported, route{serve: func(*API, *request) error { return unsupportedError(instead) }}
	}
	return routeUnknown, route{serve: func(*API, *request) error { return errNoEndpoint }}
}

// admit checks the origin, the method and the user of a request.
func (a *API) admit(q *request, name string, rt route, from netip.Addr) error {
	if err := a.checkOrigin(q, rt); err != nil {
		return err
	}
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodPost && !(q.Method == http.MethodHead && rt.audit == ""):
		return errMethod
	case name == routeStatistics && a.cfg.OpenStatistics:
		return nil
	}
	user, err := a.auth.authenticate(q.Request, from)
	if errors.Is(err, errNoLogin) {
		q.w.Header().Set("WWW-Authenticate", `Basic realm="rest-api", charset="UTF-8"`)
	}
	if err != nil {
		a.sampled.Info().Str("remote", q.from).Str("path", name).Err(err).Msg("request rejected")
		return err
	}
	q.user = user
	return nil
}

// answerError sends an error response in WCS's format.
func (a *API) answerError(q *request, err error) {
	if err == nil {
		q.w.WriteHeader(http.StatusOK) // without a body, unless one was written
		return
	}
	status, text := outcome(err)
	if status == http.StatusInternalServerError {
		a.sampled.Warn().Err(err).Str("path", q.URL.Path).Msg("request failed")
	}
	if q.w.status != 0 { // part of a list was sent
		q.cutOff()
		return
	}
	q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	q.w.WriteHeader(status)
	_ = json.NewEncoder(q.w).Encode(map[string]any{ // the client might have disconnected
		"status": status, "error": http.StatusText(status), "message": text, "path": q.URL.Path, "timestamp": time.Now().UnixMilli(),
	})
}

func unsupportedError(text string) error { return fmt.Errorf("%w: %s", errUnsupported, text) }
