package rest

import (
	"errors"
	"fmt"
	"strings"

	"wcsgateway/gateway/pulls"
	"wcsgateway/translate/pull"
)

// pullRoutes returns the endpoints for sources outside the deployment.
func pullRoutes() map[string]route {
	startPull := route{"pull/startup", (*API).startPull}
	return map[string]route{
		prefix + "/rtsp/startup":   {"rtsp/startup", (*API).startRTSP},
		prefix + "/rtsp/find":      {"", (*API).findRTSP},
		prefix + "/rtsp/find_all":  {"", (*API).findAllRTSP},
		prefix + "/rtsp/terminate": {"rtsp/terminate", orOther((*API).stopRTSP)},
		prefix + "/pull/startup":   startPull,
		prefix + "/pull/pull":      startPull,
		prefix + "/pull/find":      {"", (*API).findPulls},
		prefix + "/pull/find_all":  {"", (*API).findAllPulls},
		prefix + "/pull/terminate": {"pull/terminate", orOther((*API).stopPull)},
	}
}

// byURI is the body of requests about one source.
type byURI struct {
	URI string `json:"uri"`
}

// pullStart is the body of startRTSP and startPull.
type pullStart struct {
	byURI
	ToStream         string `json:"toStream"`
	LocalStreamName  string `json:"localStreamName"`
	RemoteStreamName string `json:"remoteStreamName"`
}

func isRTSP(uri string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(uri), "://")
	return ok && (scheme == pull.RTSP || scheme == pull.RTSPS)
}

func (a *API) startRTSP(q *request) error { return a.start(q, isRTSP) }

func (a *API) startPull(q *request) error { return a.start(q, pull.IsName) }

// start pulls a source. What this server is not allowed to pull, another one can have.
func (a *API) start(q *request, fits func(uri string) bool) error {
	var body pullStart
	if err := q.decode(&body); err != nil {
		return err
	}
	q.target = "uri=" + abridge(body.URI)
	servers := q.usable()
	switch {
	case body.URI == "":
		return badRequest("uri is missing")
	case fits(body.URI) && body.ToStream == "" && body.LocalStreamName == "" && body.RemoteStreamName == "":
		if err := a.deps.Puller.Start(q.Context(), body.URI); !errors.Is(err, pulls.ErrBadAddress) || len(servers) == 0 {
			return err
		}
	case len(servers) == 0 && !fits(body.URI):
		return badRequest("uri has no scheme of a source that this endpoint starts")
	case len(servers) == 0:
		return unsupportedError("toStream, localStreamName and remoteStreamName: clients play the source by its uri")
	}
	return a.passOn(q, servers)
}

// WCS's statuses of sources.
const (
	statusPending   = "PENDING"
	statusPlaying   = "PLAYING"          // of an RTSP agent
	statusProcessed = "PROCESSED_REMOTE" // of a pulled stream
)

func statusOf(l pulls.Listed, running string) string {
	if l.State == pull.Running {
		return running
	}
	return statusPending
}

// rtspAgent is WCS's description of an RTSP source.
type rtspAgent struct {
	URI    string `json:"uri"`
	Status string `json:"status"`
}

func (a *API) findRTSP(q *request) error {
	var f rtspAgent
	if err := q.decodeFilter(&f); err != nil {
		return err
	}
	return a.listPulls(q, f.URI, func(l pulls.Listed) (any, bool) {
		agent := rtspAgent{l.Address, statusOf(l, statusPlaying)}
		return agent, isRTSP(l.Address) && (f.Status == "" || f.Status == agent.Status)
	})
}

func (a *API) findAllRTSP(q *request) error {
	return a.listPulls(q, "", func(l pulls.Listed) (any, bool) {
		return rtspAgent{l.Address, statusOf(l, statusPlaying)}, isRTSP(l.Address)
	})
}

// pulled is WCS's description of a pulled stream. Clients play it by its address.
type pulled struct {
	LocalMediaSessionID  string  `json:"localMediaSessionId"`
	RemoteMediaSessionID *string `json:"remoteMediaSessionId"`
	LocalStreamName      string  `json:"localStreamName"`
	RemoteStreamName     *string `json:"remoteStreamName"`
	URI                  string  `json:"uri"`
	Status               string  `json:"status"`
}

func pulledOf(l pulls.Listed) pulled {
	return pulled{LocalMediaSessionID: l.ID, LocalStreamName: l.Address, URI: l.Address, Status: statusOf(l, statusProcessed)}
}

func (a *API) findPulls(q *request) error {
	var f struct {
		byURI
		LocalStreamName     string `json:"localStreamName"`
		LocalMediaSessionID string `json:"localMediaSessionId"`
		Status              string `json:"status"`
	}
	if err := q.decodeFilter(&f); err != nil {
		return err
	}
	return a.listPulls(q, f.URI, func(l pulls.Listed) (any, bool) {
		p := pulledOf(l)
		return p, (f.LocalStreamName == "" || f.LocalStreamName == p.LocalStreamName) &&
			(f.LocalMediaSessionID == "" || f.LocalMediaSessionID == p.LocalMediaSessionID) && (f.Status == "" || f.Status == p.Status)
	})
}

func (a *API) findAllPulls(q *request) error {
	return a.listPulls(q, "", func(l pulls.Listed) (any, bool) { return pulledOf(l), true })
}

// listPulls lists the sources with an address, "" for all, that are in the list.
func (a *API) listPulls(q *request, uri string, row func(pulls.Listed) (row any, listed bool)) error {
	all, err := a.deps.Puller.List(q.Context(), uri)
	if err != nil {
		return err
	}
	l := a.newList(q)
	for _, p := range all {
		v, listed := row(p)
		if !listed {
			continue
		}
		if err := l.add(v); err != nil {
			return l.end(err)
		}
	}
	return l.end(nil)
}

func (a *API) stopRTSP(q *request, body byURI) error {
	if body.URI != "" && !isRTSP(body.URI) {
		return errNothing
	}
	return a.stopPull(q, body)
}

func (a *API) stopPull(q *request, body byURI) error {
	q.target = "uri=" + abridge(body.URI)
	if body.URI == "" {
		return badRequest("uri is missing")
	}
	return a.deps.Puller.Stop(q.Context(), body.URI)
}

// withoutCredentials returns a text of a request without what can be secret in an address: of a source its
// public name, of what looks like another address its length.
func withoutCredentials(text string) string {
	if src, err := pull.Parse(text); err == nil {
		return strings.TrimSuffix(src.Public(""), "#")
	}
	at := strings.LastIndexByte(text, '@')
	if strings.Contains(text, "://") || at >= 0 && strings.ContainsAny(text[:at], ":/") {
		return fmt.Sprintf("(%d bytes)", len(text))
	}
	return text
}
