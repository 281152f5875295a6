package tests

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const alertsFile = chartDir + "/files/alerts.yaml"

func promQL() parser.Parser { return parser.NewParser(parser.Options{}) }

func alerts(t testing.TB) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(readFile(t, alertsFile), false, model.LegacyValidation, promQL(), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// Prometheus accepts the rules. Each has a severity and a summary, and uses only metrics and labels of
// gateways and workers.
func TestAlertsUseExistingMetrics(t *testing.T) {
	known := metrics(t)
	for _, r := range alerts(t) {
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
		if r.Annotations["description"] == "" {
			t.Errorf("%s has no description", r.Alert)
		}
		if want := "docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		known.check(t, r.Alert, r.Expr)
	}
}

// The runbook has an entry for each alert, and no other entries.
func TestRunbookHasEveryAlert(t *testing.T) {
	var want []string
	for _, r := range alerts(t) {
		want = append(want, r.Alert)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^## (Wcs\w+)$`).FindAllSubmatch(readFile(t, root+"/docs/runbook.md"), -1) {
		got = append(got, string(m[1]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/runbook.md, -alerts +entries:\n%s", diff)
	}
}

// The PrometheusRule has the same rules as the file.
func TestPrometheusRuleHasTheAlerts(t *testing.T) {
	var file any
	if err := yaml.Unmarshal(readFile(t, alertsFile), &file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file, mustRender(t, "prometheusRule: {enabled: true}").of(t, "PrometheusRule/wcs-wcs-gateway")["spec"]); diff != "" {
		t.Errorf("PrometheusRule differs from alerts.yaml (-file +rendered):\n%s", diff)
	}
}

// The alerts of the PrometheusRule link to the runbook where the values say it is.
func TestPrometheusRuleLinksToRunbook(t *testing.T) {
	rule := mustRender(t, "prometheusRule: {enabled: true, runbookURL: 'https://wiki.example/runbook'}").of(t, "PrometheusRule/wcs-wcs-gateway")
	if got, want := at(rule, "spec.groups.0.rules.0.annotations.runbook_url"), "https://wiki.example/runbook#wcsgatewaydown"; got != want {
		t.Errorf("runbook_url %v, want %s", got, want)
	}
}

// Grafana can read the dashboard: each panel has a data source and its own id and place, and its
// expressions are valid and use only metrics and labels of gateways and workers.
func TestDashboardUsesExistingMetrics(t *testing.T) {
	var dashboard struct {
		UID, Title string
		Templating struct{ List []struct{ Name string } }
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
	}
	text := mustRender(t, "dashboard: {enabled: true}").of(t, "ConfigMap/wcs-wcs-gateway-dashboard")
	data, _ := text["data"].(object)
	if err := json.Unmarshal([]byte(fmt.Sprint(data["wcs-gateway.json"])), &dashboard); err != nil {
		t.Fatal(err)
	}
	known, ids, cells := metrics(t), map[int]bool{}, map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("%s: duplicate id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x > 23 {
					t.Errorf("%s overlaps %q", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%s: a %s with %d expressions", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: data source %q", p.Title, target.Datasource.UID)
			}
			known.check(t, p.Title, strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$namespace", "a", "$job", "b").Replace(target.Expr))
		}
	}
}

// metricTable has the tables of docs/metrics.md and docs/pull.md. The tests of gateways and workers compare
// them with the registered metrics.
type metricTable map[string][]string // labels by name

// process lists metrics of Prometheus' own collectors, which the gateway registers as well.
var process = []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}

// target lists the labels that a scrape adds.
var target = []string{"namespace", "job", "pod", "instance"}

func metrics(t testing.TB) metricTable {
	t.Helper()
	m := metricTable{}
	_, table, _ := strings.Cut(string(readFile(t, filepath.Join(root, "docs/metrics.md"))), "<!-- metrics:begin -->")
	table, _, _ = strings.Cut(table, "<!-- metrics:end -->")
	table += string(readFile(t, filepath.Join(root, "docs/pull.md")))
	for _, row := range regexp.MustCompile("(?m)^\\| `(wcs_\\w+)` \\|([^|]*)\\|").FindAllStringSubmatch(table, -1) {
		m[row[1]] = strings.FieldsFunc(row[2], func(r rune) bool { return strings.ContainsRune(", `", r) })
	}
	if len(m) < 20 {
		t.Fatalf("the table of metrics has %d rows", len(m))
	}
	return m
}

// check parses an expression and reports metrics and labels that are not in the table.
func (m metricTable) check(t testing.TB, where, expr string) {
	t.Helper()
	parsed, err := promQL().ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, expr)
		return
	}
	allowed := slices.Clone(target)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			allowed = append(allowed, m.selector(t, where, selector)...)
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range aggregate.Grouping {
				if !slices.Contains(allowed, label) {
					t.Errorf("%s: unknown label %s in %s", where, label, expr)
				}
			}
		}
		return nil
	})
}

// selector checks a metric with its matchers and returns its labels.
func (m metricTable) selector(t testing.TB, where string, s *parser.VectorSelector) []string {
	t.Helper()
	if slices.Contains(process, s.Name) {
		return nil
	}
	name, bucket := s.Name, []string(nil)
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, ok := strings.CutSuffix(s.Name, suffix); ok {
			name = base
			if suffix == "_bucket" {
				bucket = []string{"le"}
			}
		}
	}
	own, known := m[name]
	if !known {
		t.Errorf("%s: unknown metric %s", where, s.Name)
		return nil
	}
	for _, matcher := range s.LabelMatchers {
		if matcher.Name != labels.MetricName && !slices.Contains(own, matcher.Name) && !slices.Contains(target, matcher.Name) {
			t.Errorf("%s: %s has no label %s", where, s.Name, matcher.Name)
		}
	}
	return append(slices.Clone(own), bucket...)
}
