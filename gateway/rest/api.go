// Package rest is the server's REST API: what WCS offers to backends and operators under /rest-api, and its statistics
// (integration.md §2). It knows HTTP and WCS's JSON; what it tells and does is the gateway's, behind the interfaces of deps.go.
package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway"
	"wcsgateway/gateway/origins"
	"wcsgateway/gateway/realip"
)

// Config is what the API is told.
type Config struct {
	// Users are bcrypt hashes of passwords by name; empty: nobody is asked who he is.
	Users map[string]string
	// Origins are the pages that may use the API from a browser, besides those of its own address; nil: none.
	Origins *origins.List
	// TerminateAll lets /stream/terminate without a filter end every stream, as WCS did.
	TerminateAll bool
	// OpenStatistics serves ?action=stat to everybody: load balancers that ask for it have no password.
	OpenStatistics bool
	// Proxies are the trusted proxies, whose X-Forwarded-For headers are honoured.
	Proxies realip.Proxies
	// NodeID is what hooks call this server.
	NodeID string
}

// Deps are what the API works with. A nil Snapshots, Recorder or Messenger is answered with 501.
type Deps struct {
	Deployment Deployment
	Snapshots  Snapshots
	Recorder   Recorder
	Messenger  Messenger
	// Console serves what is under ConsolePrefix, to the same users. May be nil.
	Console http.Handler
	// Observe is told of every request: its route, one of a closed set, and the status it got. May be nil.
	Observe func(route string, status int)
	Log     zerolog.Logger
}

// API is the REST API. It is an http.Handler.
type API struct {
	cfg     Config
	deps    Deps
	log     zerolog.Logger
	noisy   zerolog.Logger // for what anybody can cause
	refused zerolog.Logger // for acts that anybody can try
	door    *door
	routes  map[string]route
}

// route is one endpoint.
type route struct {
	audit string // what the audit log calls it; "" for what changes nothing
	serve func(*API, *request) error
}

// New makes the API.
func New(cfg Config, deps Deps) *API {
	if deps.Observe == nil {
		deps.Observe = func(string, int) {}
	}
	bounded := func() zerolog.Logger {
		return deps.Log.Sample(&zerolog.BurstSampler{Burst: gateway.NoisyLines, Period: time.Second})
	}
	return &API{
		cfg: cfg, deps: deps, log: deps.Log, noisy: bounded(), refused: bounded(),
		door: newDoor(cfg.Users), routes: routes(),
	}
}

// routes are the endpoints with their paths as WCS has them (integration.md §2.2). The second tier is in later.go.
func routes() map[string]route {
	return map[string]route{
		prefix + "/stream/find":           {"", (*API).findStreams},
		prefix + "/stream/find_all":       {"", (*API).findAllStreams},
		prefix + "/stream/terminate":      {"stream/terminate", (*API).terminateStreams},
		prefix + "/stream/metrics":        {"", (*API).streamMetrics},
		prefix + "/stream/snapshot":       {"stream/snapshot", (*API).snapshot},
		prefix + "/stream/startRecording": {"stream/startRecording", (*API).startRecording},
		prefix + "/stream/stopRecording":  {"stream/stopRecording", (*API).stopRecording},
		prefix + "/recorder/startup":      {"stream/startRecording", (*API).startRecording},
		prefix + "/recorder/terminate":    {"stream/stopRecording", (*API).stopRecording},
		prefix + "/stream/event/send":     {"stream/event/send", (*API).sendStreamEvent},
		prefix + "/data/send":             {"data/send", (*API).sendData},
		prefix + "/connection/find":       {"", (*API).findConnections},
		prefix + "/connection/find_all":   {"", (*API).findAllConnections},
		prefix + "/connection/terminate":  {"connection/terminate", (*API).terminateConnection},
		prefix + "/openapi.yaml":          {"", (*API).openAPI},
	}
}

const (
	prefix = "/rest-api"

	// ConsolePrefix is where the console is.
	ConsolePrefix = "/console/"

	routeStatistics = "/"
	routeConsole    = "console"
	routeUnknown    = "unknown"
	routeLater      = "later"
)

// bodyLimit bounds a request's body: the payload of an event or of data is the largest there is.
const bodyLimit = 1 << 20

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := a.cfg.Proxies.Client(r)
	q := &request{Request: r, w: &response{ResponseWriter: w}, from: from.String(), api: a}
	name, rt := a.find(r)
	err := a.admit(q, name, rt, realip.LimitKey(from.Addr()))
	switch {
	case errors.Is(err, errPreflight):
		q.w.WriteHeader(http.StatusNoContent)
	case err == nil:
		err = rt.serve(a, q)
		a.audit(&a.log, q, rt, err)
		a.answerError(q, err)
	default:
		a.audit(&a.refused, q, rt, err)
		a.answerError(q, err)
	}
	a.deps.Observe(name, q.w.code())
}

// find gives the route of a path with the name that metrics know it by.
func (a *API) find(r *http.Request) (name string, rt route) {
	if r.URL.Path == "/" && r.URL.Query().Get("action") == "stat" {
		return routeStatistics, route{serve: (*API).statistics}
	}
	if rt, ok := a.routes[r.URL.Path]; ok {
		return r.URL.Path, rt
	}
	if a.deps.Console != nil && strings.HasPrefix(r.URL.Path, ConsolePrefix) {
		return routeConsole, route{serve: func(a *API, q *request) error {
			a.deps.Console.ServeHTTP(q.w, q.Request)
			return nil
		}}
	}
	if instead, ok := later(r.URL.Path); ok {
		return routeLater, route{serve: func(*API, *request) error { return notBuilt(instead) }}
	}
	return routeUnknown, route{serve: func(*API, *request) error { return errNoEndpoint }}
}

// admit asks where a request comes from and who sends it.
func (a *API) admit(q *request, name string, rt route, from netip.Addr) error {
	if err := a.checkOrigin(q, rt); err != nil {
		return err
	}
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodPost:
		return errMethod
	case name == routeStatistics && a.cfg.OpenStatistics:
		return nil
	}
	user, err := a.door.enter(q.Request, from)
	if errors.Is(err, errNoLogin) {
		q.w.Header().Set("WWW-Authenticate", `Basic realm="rest-api", charset="UTF-8"`)
	}
	if err != nil {
		a.noisy.Info().Str("remote", q.from).Str("path", name).Err(err).Msg("request refused")
		return err
	}
	q.user = user
	return nil
}

// answerError tells the client what is wrong, in WCS's shape.
func (a *API) answerError(q *request, err error) {
	if err == nil {
		q.w.WriteHeader(http.StatusOK) // without a body, unless there was one
		return
	}
	status, text := verdict(err)
	if status == http.StatusInternalServerError {
		a.noisy.Warn().Err(err).Str("path", q.URL.Path).Msg("request failed")
	}
	if q.w.status != 0 { // a list was begun
		q.cutOff()
		return
	}
	q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	q.w.WriteHeader(status)
	_ = json.NewEncoder(q.w).Encode(map[string]any{ // the client may be gone
		"status": status, "error": http.StatusText(status), "message": text, "path": q.URL.Path, "timestamp": time.Now().UnixMilli(),
	})
}

func notBuilt(instead string) error { return fmt.Errorf("%w: %s", errNotBuilt, instead) }
