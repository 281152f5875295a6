package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/ends"
	"wcsgateway/translate/wcs"
)

// sides returns what this gateway and its upstreams serve of the applications that both serve.
func (g *Gateway) sides() (all []admin.Side) {
	figures, err := sidesIn(g.metrics.sides)
	if err != nil {
		g.env.Log.Error().Err(err).Msg("metrics not read")
		return nil
	}
	shared := make(map[string]bool)
	for key, app := range g.table.Settings().Apps {
		shared[key] = app.Route.Upstream() || app.Hybrid.Upstream != nil
	}
	for at := range figures {
		if at.upstream != "" {
			shared[at.app] = true
		}
	}
	for at, side := range figures {
		if shared[at.app] && (at.upstream != "" || at.app != "") {
			all = append(all, *side)
		}
	}
	return all
}

// place is a server of an application.
type place struct{ app, upstream string }

// sidesIn adds up the metrics by server. Those of the gateway itself have no label for it.
func sidesIn(metrics prometheus.Gatherer) (map[place]*admin.Side, error) {
	families, err := metrics.Gather()
	if err != nil {
		return nil, err
	}
	all := make(map[place]*admin.Side)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := labelsOf(m)
			at := place{labels["app"], labels["upstream"]}
			if all[at] == nil {
				all[at] = &admin.Side{App: at.app, Upstream: at.upstream, Commands: make(map[string]int64)}
			}
			side, n := all[at], int(m.GetGauge().GetValue())
			switch f.GetName() {
			case "wcs_sessions", "wcs_upstream_sessions":
				side.Sessions = n
			case "wcs_hybrid_links":
				side.Linked = n
			case "wcs_streams", "wcs_hybrid_streams", "wcs_upstream_streams":
				if labels["kind"] == ends.Publish {
					side.Published += n
				} else {
					side.Played += n
				}
			case "wcs_commands_total", "wcs_upstream_commands_total":
				if name := labels["cmd"]; name != string(wcs.CmdPong) {
					side.Commands[name] += int64(m.GetCounter().GetValue())
				}
			}
		}
	}
	return all, nil
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := make(map[string]string)
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}
