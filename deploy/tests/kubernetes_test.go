//go:build controlplane

package tests

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"
)

const deployments = "/apis/apps/v1/namespaces/%s/deployments/wcs-wcs-gateway"

// A real control plane accepts the chart.
func TestControlPlaneAcceptsChart(t *testing.T) {
	p := startControlPlane(t)
	for _, d := range [][2]string{
		{"sigs.k8s.io/gateway-api@v1.6.1", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
		{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"},
		{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"},
	} {
		p.mustApply("", definition(t, d[0], d[1]))
	}
	for _, node := range []string{"a", "b"} {
		p.mustApply("", fmt.Sprintf(`{apiVersion: v1, kind: Node, metadata: {name: %s, annotations: {kwok.x-k8s.io/node: fake}, labels: {kubernetes.io/hostname: %[1]s, topology.kubernetes.io/zone: %[1]s}}}`, node))
		p.do(http.MethodPatch, "/api/v1/nodes/"+node+"/status", "application/merge-patch+json", `{"status":{"allocatable":{"cpu":"32","memory":"64Gi","pods":"200"},"capacity":{"cpu":"32","memory":"64Gi","pods":"200"}}}`)
	}
	for _, path := range []string{"gateway.networking.k8s.io/v1", "monitoring.coreos.com/v1"} {
		p.await(path+" is served", func() bool {
			status, _ := p.try(http.MethodGet, "/apis/"+path, "", nil)
			return status == http.StatusOK
		})
	}
	t.Run("every combination is taken", func(t *testing.T) { p.combinations(t) })
	t.Run("broken objects are refused", func(t *testing.T) { p.refusals(t) })
	t.Run("it rolls", func(t *testing.T) { p.rolls(t) })
	t.Run("evictions", func(t *testing.T) { p.evictions(t) })
	t.Run("it scales", func(t *testing.T) { p.scales(t) })
}

// with returns the control plane for a subtest.
func (p *controlPlane) with(t *testing.T) *controlPlane {
	c := *p
	c.t = t
	return &c
}

// combinations applies each different object of all combinations of options, as a dry run.
func (p *controlPlane) combinations(t *testing.T) {
	p = p.with(t)
	p.mustApply("", "{apiVersion: v1, kind: Namespace, metadata: {name: dry}}")
	p.await("pods can be made", func() bool { // they need the service account that a controller makes
		status, _ := p.try(http.MethodGet, "/api/v1/namespaces/dry/serviceaccounts/default", "", nil)
		return status == http.StatusOK
	})
	base, seen, kinds := values(t, required), map[[sha256.Size]byte]bool{}, map[string]bool{}
	for set := range 1 << len(options) {
		merged := object{}
		for i, o := range options {
			if set&(1<<i) != 0 {
				merged = chartutil.CoalesceTables(values(t, o), merged)
			}
		}
		text, err := render(kubeVersion, chartutil.CoalesceTables(merged, clone(base)))
		if err != nil {
			t.Fatalf("%s: %v", names(set), err)
		}
		for d := range documents(text) {
			sum := sha256.Sum256([]byte(d))
			if seen[sum] {
				continue
			}
			seen[sum] = true
			status, o := p.apply("dry", d, "&dryRun=All")
			if status != http.StatusOK && status != http.StatusCreated {
				t.Errorf("%s: %d %v for\n%s", names(set), status, o["message"], d)
			}
			kinds[fmt.Sprint(o["kind"])] = true
		}
	}
	t.Logf("%d combinations, %d different objects of %d kinds", 1<<len(options), len(seen), len(kinds))
	if len(kinds) != renderedKinds {
		t.Errorf("objects of %d kinds, want %d: %v", len(kinds), renderedKinds, kinds)
	}
}

// refusals checks faults that only the API server finds.
func (p *controlPlane) refusals(t *testing.T) {
	p = p.with(t)
	text, err := render(kubeVersion, values(t, required))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range [][3]string{
		{"minReadySeconds:", "minReadySecond:", "minReadySecond"}, {"maxUnavailable: 1", "maxUnavailable: -1", "maxUnavailable"}, {"type: ClusterIP", "type: ClusterIPs", "spec.type"},
	} {
		broken := strings.Replace(string(text), fault[0], fault[1], 1)
		if broken == string(text) {
			t.Fatalf("%q is not rendered", fault[0])
		}
		refused := ""
		for d := range documents([]byte(broken)) {
			if status, o := p.apply("dry", d, "&dryRun=All"); status >= 400 {
				refused += fmt.Sprint(o["message"])
			}
		}
		if !strings.Contains(refused, fault[2]) {
			t.Errorf("%q: rejected with %q", fault[1], refused)
		}
	}
	if _, err := render(kubeVersion, values(t, required, `autoscaling: {maxReplicas: many}`)); err == nil || !strings.Contains(err.Error(), "maxReplicas") {
		t.Errorf("the values' schema says %v", err)
	}
}

// up waits until a deployment has rolled out with a number of pods.
func (p *controlPlane) up(ns string, replicas int) object {
	p.t.Helper()
	var d object
	p.await(fmt.Sprintf("%s has %d pods", ns, replicas), func() bool {
		d = p.get(fmt.Sprintf(deployments, ns))
		for _, count := range []string{"replicas", "updatedReplicas", "availableReplicas"} {
			if n, _ := at(d, "status."+count).(float64); int(n) != replicas {
				return false
			}
		}
		return at(d, "status.observedGeneration") == at(d, "metadata.generation")
	})
	return d
}

func (p *controlPlane) rolls(t *testing.T) {
	p = p.with(t)
	p.install("rolls")
	first := p.up("rolls", 2)
	p.install("rolls")
	if same := p.up("rolls", 2); at(same, "metadata.generation") != at(first, "metadata.generation") {
		t.Error("the same values roll the pods")
	}
	p.install("rolls", `config: {log: {level: debug}}`)
	if next := p.up("rolls", 2); at(next, "metadata.generation") == at(first, "metadata.generation") {
		t.Error("another configuration does not roll the pods")
	}
	sets, _ := p.get("/apis/apps/v1/namespaces/rolls/replicasets")["items"].([]any)
	if len(sets) != 2 {
		t.Errorf("%d replica sets, want one for each configuration", len(sets))
	}
}

func (p *controlPlane) pods(ns string) (all []string) {
	p.t.Helper()
	items, _ := p.get("/api/v1/namespaces/" + ns + "/pods")["items"].([]any)
	for _, pod := range items {
		if at(pod, "metadata.deletionTimestamp") == nil {
			all = append(all, fmt.Sprint(at(pod, "metadata.name")))
		}
	}
	return all
}

// evictions checks that one pod can be evicted, and the next one only after a replacement is ready.
func (p *controlPlane) evictions(t *testing.T) {
	p = p.with(t)
	p.install("evict", `replicaCount: 3`)
	p.up("evict", 3)
	budget := "/apis/policy/v1/namespaces/evict/poddisruptionbudgets/wcs-wcs-gateway"
	p.await("the budget is counted", func() bool { return at(p.get(budget), "status.disruptionsAllowed") == 1.0 })
	p.cordon(true)
	defer p.cordon(false)
	evict := func(pod string) (int, object) {
		return p.try(http.MethodPost, "/api/v1/namespaces/evict/pods/"+pod+"/eviction", "application/json",
			[]byte(fmt.Sprintf(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":%q,"namespace":"evict"}}`, pod)))
	}
	pods := p.pods("evict")
	if status, o := evict(pods[0]); status != http.StatusCreated {
		t.Fatalf("the first: %d %v", status, o["message"])
	}
	if status, o := evict(pods[1]); status != http.StatusTooManyRequests || !strings.Contains(fmt.Sprint(o["message"]), "disruption budget") {
		t.Errorf("the second: %d %v", status, o["message"])
	}
	p.cordon(false)
	p.up("evict", 3)
	p.await("the budget is counted again", func() bool { return at(p.get(budget), "status.disruptionsAllowed") == 1.0 })
	if status, o := evict(pods[1]); status != http.StatusCreated {
		t.Errorf("the second, after the replacement is ready: %d %v", status, o["message"])
	}
}

func (p *controlPlane) cordon(on bool) {
	p.t.Helper()
	for _, node := range []string{"a", "b"} {
		p.do(http.MethodPatch, "/api/v1/nodes/"+node, "application/merge-patch+json", fmt.Sprintf(`{"spec":{"unschedulable":%v}}`, on))
	}
}

// metricsAPI serves custom.metrics.k8s.io and metrics.k8s.io: each pod has the given sessions and CPU
// use.
type metricsAPI struct {
	sessions, millicores atomic.Int64
	pods                 func() []string
}

func (m *metricsAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": strings.TrimPrefix(r.URL.Path, "/apis/"), "resources": []any{}}
	switch items := []any{}; {
	case strings.HasSuffix(r.URL.Path, "/pods/*/wcs_sessions"):
		for _, pod := range m.pods() {
			items = append(items, object{
				"describedObject": object{"kind": "Pod", "namespace": "scale", "name": pod, "apiVersion": "v1"}, "metric": object{"name": "wcs_sessions"},
				"timestamp": "2026-01-01T00:00:00Z", "value": fmt.Sprint(m.sessions.Load()),
			})
		}
		answer = object{"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": object{}, "items": items}
	case strings.HasSuffix(r.URL.Path, "/namespaces/scale/pods"):
		for _, pod := range m.pods() {
			items = append(items, object{
				"metadata": object{"name": pod, "namespace": "scale"}, "timestamp": "2026-01-01T00:00:00Z", "window": "30s",
				"containers": []any{object{"name": "wcs-gateway", "usage": object{"cpu": fmt.Sprintf("%dm", m.millicores.Load()), "memory": "64Mi"}}},
			})
		}
		answer = object{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": object{}, "items": items}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the API server may be gone
}

// scales checks that the autoscaler follows the sessions per pod within its bounds, and scales down late
// and by one.
func (p *controlPlane) scales(t *testing.T) {
	p = p.with(t)
	m := &metricsAPI{pods: func() []string { return p.pods("scale") }}
	m.sessions.Store(100)
	m.millicores.Store(10)
	server := httptest.NewTLSServer(m)
	t.Cleanup(server.Close)
	port := server.URL[strings.LastIndex(server.URL, ":")+1:]
	p.mustApply("", "{apiVersion: v1, kind: Namespace, metadata: {name: metrics}}")
	p.mustApply("metrics", fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: metrics}, spec: {type: ExternalName, externalName: localhost, ports: [{port: %s}]}}", port))
	for _, group := range [][2]string{{"custom.metrics.k8s.io", "v1beta2"}, {"metrics.k8s.io", "v1beta1"}} {
		p.mustApply("", fmt.Sprintf(`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: %[2]s.%[1]s}, spec: {group: %[1]s, version: %[2]s, groupPriorityMinimum: 100, versionPriority: 100,
insecureSkipTLSVerify: true, service: {name: metrics, namespace: metrics, port: %[3]s}}}`, group[0], group[1], port))
		p.await(group[0]+" is served", func() bool {
			status, _ := p.try(http.MethodGet, "/apis/"+group[0]+"/"+group[1], "", nil)
			return status == http.StatusOK
		})
	}
	p.install("scale", `autoscaling: {enabled: true, minReplicas: 2, maxReplicas: 5, sessionsPerPod: 1000, targetCPU: 70}`)
	p.up("scale", 2)
	scaler := "/apis/autoscaling/v2/namespaces/scale/horizontalpodautoscalers/wcs-wcs-gateway"
	p.await("both metrics are read", func() bool {
		metrics, _ := at(p.get(scaler), "status.currentMetrics").([]any)
		return len(metrics) == 2 && at(metrics, "0.pods.current.averageValue") == "100" && at(metrics, "1.resource.current.averageUtilization") != nil
	})
	m.sessions.Store(1500) // of 1000: half as many pods more
	p.up("scale", 3)
	m.sessions.Store(9000)
	p.up("scale", 5) // and no more
	down := at(p.get(scaler), "spec.behavior.scaleDown")
	if at(down, "stabilizationWindowSeconds") != 900.0 || at(down, "policies.0.type") != "Pods" || at(down, "policies.0.value") != 1.0 || at(down, "policies.0.periodSeconds") != 300.0 {
		t.Errorf("scales down by %v", down)
	}
	p.install("scale", `autoscaling: {enabled: true, minReplicas: 2, maxReplicas: 5, sessionsPerPod: 1000, targetCPU: 70, scaleDown: {stabilizationSeconds: 0, periodSeconds: 15}}`)
	p.await("what was scaled up counts no more", func() bool { // a period's limit is on what there was at its beginning
		at, err := time.Parse(time.RFC3339, fmt.Sprint(at(p.get(scaler), "status.lastScaleTime")))
		return err == nil && time.Since(at) > 20*time.Second
	})
	m.sessions.Store(1)
	p.up("scale", 4) // one at a time
	p.up("scale", 2) // and no fewer
}
