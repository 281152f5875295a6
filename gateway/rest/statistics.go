package rest

import (
	"fmt"
	"net/http"
	"strings"

	"wcsgateway/gateway"
)

// group is a section of the statistics.
type group struct {
	name    string // in the JSON form and in groups=
	title   string // in the text form; its first word names the group to the SDK
	figures []figure
}

type figure struct {
	name  string
	value int
}

// statisticsGroups are WCS's keys that have a meaning here (integration.md §2.4), and how many pods were counted.
func statisticsGroups(s gateway.Statistics) []group {
	return []group{
		{"connection_stats", "Connection Stats", []figure{{"connections", s.Connections}, {"connections_websocket", s.Connections}}},
		{"stream_stats", "Stream Stats", []figure{
			{"streams_webrtc_in", s.Published}, {"streams_webrtc_out", s.Played}, {"streams_viewers", s.Played},
		}},
		{"pod_stats", "Pod Stats", []figure{{"pods", s.Pods}, {"pods_silent", s.Silent}}},
	}
}

// statistics is ?action=stat. As it serves as a health check, it says 503 while the pod takes no new clients.
func (a *API) statistics(q *request) error {
	ask := q.URL.Query()
	s := a.deps.Deployment.PodStatistics()
	switch scope := ask.Get("scope"); scope {
	case "", "pod":
	case "deployment":
		var err error
		if s, err = a.deps.Deployment.DeploymentStatistics(q.Context()); err != nil {
			return err
		}
	default:
		return bad("scope must be pod or deployment")
	}
	groups := statisticsGroups(s)
	if wanted := ask.Get("groups"); wanted != "" {
		groups = chosen(groups, strings.Split(wanted, ","))
	}
	status := http.StatusOK
	if _, open := a.deps.Deployment.Load(); !open {
		status = http.StatusServiceUnavailable
	}
	switch format := ask.Get("format"); format {
	case "", "text":
		q.w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
		q.w.WriteHeader(status)
		_, err := q.w.Write([]byte(statisticsText(groups)))
		return q.gone(err)
	case "json":
		q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		q.w.WriteHeader(status)
		return q.answer(statisticsObject(groups))
	}
	return bad("format must be text or json")
}

func chosen(groups []group, wanted []string) (some []group) {
	for _, g := range groups {
		for _, name := range wanted {
			if g.name == strings.TrimSpace(name) {
				some = append(some, g)
			}
		}
	}
	return some
}

// statisticsText has a header for each group; the SDK needs one in the first line.
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
