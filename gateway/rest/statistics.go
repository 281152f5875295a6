package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"wcsgateway/gateway/admin"
)

// group is a section of the statistics.
type group struct {
	name    string // in the JSON form and in groups=
	title   string // in the text form; the SDK identifies the group by its first word
	figures []figure
}

type figure struct {
	name  string
	value int
}

// statisticsGroups returns WCS's keys that have a meaning here, the number of pods counted, and that of the
// connections that an upstream serves.
func statisticsGroups(s admin.Statistics) []group {
	return []group{
		{"connection_stats", "Connection Stats", []figure{{"connections", s.Connections}, {"connections_websocket", s.Connections}}},
		{"stream_stats", "Stream Stats", []figure{
			{"streams_webrtc_in", s.Published}, {"streams_webrtc_out", s.Played}, {"streams_viewers", s.Played},
		}},
		{"pod_stats", "Pod Stats", []figure{{"pods", s.Pods}, {"pods_silent", s.Silent}, {"connections_spliced", s.Spliced}}},
	}
}

// statistics serves ?action=stat. It is used as a health check and therefore answers 503 while the pod
// accepts no new clients.
func (a *API) statistics(q *request) error {
	query := q.URL.Query()
	s := a.deps.Deployment.PodStatistics()
	switch scope := query.Get("scope"); scope {
	case "", "pod":
	case "deployment":
		var err error
		if s, err = a.deps.Deployment.DeploymentStatistics(q.Context()); err != nil {
			return err
		}
	default:
		return badRequest("scope must be pod or deployment")
	}
	groups := statisticsGroups(s)
	if names := query.Get("groups"); names != "" {
		groups = selected(groups, strings.Split(names, ","))
	}
	status := http.StatusOK
	if !a.deps.Deployment.Ready() {
		status = http.StatusServiceUnavailable
	}
	switch format := query.Get("format"); format {
	case "", "text":
		q.w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
		q.w.WriteHeader(status)
		_, err := q.w.Write([]byte(statisticsText(groups)))
		return q.ignoreWriteError(err)
	case "json":
		q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		q.w.WriteHeader(status)
		return q.answer(statisticsObject(groups))
	}
	return badRequest("format must be text or json")
}

func selected(groups []group, names []string) []group {
	return slices.DeleteFunc(groups, func(g group) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return strings.TrimSpace(name) == g.name })
	})
}

// statisticsText formats the groups, each with a header. The SDK needs a header in the first line.
func statisticsText(groups []group) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "-----%s-----\n", g.title)
		for _, f := range g.figures {
			fmt.Fprintf(&b, "%s=%d\n", f.name, f.value)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func statisticsObject(groups []group) map[string]map[string]int {
	o := make(map[string]map[string]int, len(groups))
	for _, g := range groups {
		o[g.name] = make(map[string]int, len(g.figures))
		for _, f := range g.figures {
			o[g.name][f.name] = f.value
		}
	}
	return o
}
