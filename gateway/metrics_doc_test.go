package gateway

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/metrics.md")

// collected is a Registerer that keeps what is registered.
type collected struct{ all []prometheus.Collector }

func (c *collected) Register(m prometheus.Collector) error {
	c.all = append(c.all, m)
	return nil
}

func (c *collected) MustRegister(ms ...prometheus.Collector) { c.all = append(c.all, ms...) }

func (c *collected) Unregister(prometheus.Collector) bool { return false }

var descOf = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)".*variableLabels: \{([^}]*)\}`)

// The table in docs/metrics.md lists the registered metrics.
func TestMetricsTableListsEveryMetric(t *testing.T) {
	var reg collected
	NewMetrics(&reg)
	var rows []string
	for _, c := range reg.all {
		descs := make(chan *prometheus.Desc, 1)
		c.Describe(descs)
		m := descOf.FindStringSubmatch((<-descs).String())
		if m == nil {
			t.Fatal("a description of a metric cannot be read")
		}
		labels := strings.ReplaceAll(m[3], ",", ", ")
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], labels, m[2]))
	}
	slices.Sort(rows)
	const begin, end = "<!-- metrics:begin -->\n", "<!-- metrics:end -->"
	want := begin + "| metric | labels | meaning |\n|---|---|---|\n" + strings.Join(rows, "") + end
	b, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(b)
	if strings.Contains(document, want) {
		return
	}
	if !*update {
		t.Fatal("the table in docs/metrics.md is not what is registered: run go test ./gateway -run Metrics -update")
	}
	i, j := strings.Index(document, begin), strings.Index(document, end)
	if i < 0 || j < i {
		t.Fatal("docs/metrics.md has lost the marks of the table")
	}
	if err := os.WriteFile("../docs/metrics.md", []byte(document[:i]+want+document[j+len(end):]), 0o644); err != nil {
		t.Fatal(err)
	}
}
