package tests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/lint/rules"
	"helm.sh/helm/v3/pkg/lint/support"
)

// conventions has each value that users of other charts expect, and where it is rendered.
var conventions = []struct {
	values   string
	id, path string
	want     any
}{
	{"replicaCount: 5", deployment, "spec.replicas", 5.0},
	{"topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]", deployment, podSpec + ".topologySpreadConstraints.0.maxSkew", 2.0},
	{"topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]", deployment,
		podSpec + ".topologySpreadConstraints.0.labelSelector.matchLabels", object{"app.kubernetes.io/name": "wcs-gateway", "app.kubernetes.io/instance": "wcs"}},
	{"topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}]", deployment,
		podSpec + ".topologySpreadConstraints.0.matchLabelKeys", nil},
	{"extraEnvFrom: [{configMapRef: {name: env}}]", deployment, container + ".envFrom.0.configMapRef.name", "env"},
	{"initContainers: [{name: wait, image: busybox}]", deployment, podSpec + ".initContainers.0.name", "wait"},
	{"extraContainers: [{name: beside, image: busybox}]", deployment, podSpec + ".containers.1.name", "beside"},
	{"livenessProbe: {periodSeconds: 30}", deployment, container + ".livenessProbe", object{
		"httpGet": object{"path": "/livez", "port": "internal"}, "periodSeconds": 30.0, "timeoutSeconds": 5.0, "failureThreshold": 3.0}},
	{"readinessProbe: {failureThreshold: 9}", deployment, container + ".readinessProbe.failureThreshold", 9.0},
	{"startupProbe: {httpGet: {path: /livez, port: internal}}", deployment, container + ".startupProbe.httpGet.path", "/livez"},
	{"lifecycle: {postStart: {sleep: {seconds: 1}}}", deployment, container + ".lifecycle", object{
		"postStart": object{"sleep": object{"seconds": 1.0}}, "preStop": object{"sleep": object{"seconds": 5.0}}}},
	{"lifecycle: {preStop: {exec: {command: [a]}}}", deployment, container + ".lifecycle", object{"preStop": object{"exec": object{"command": []any{"a"}}}}},
	{"dnsPolicy: None", deployment, podSpec + ".dnsPolicy", "None"},
	{"dnsConfig: {nameservers: [192.0.2.1]}", deployment, podSpec + ".dnsConfig.nameservers.0", "192.0.2.1"},
	{"existingConfigMap: mine", deployment, podSpec + ".volumes.0.configMap.name", "mine"},
	{"namespaceOverride: other", deployment, "metadata.namespace", "other"},
	{"commonAnnotations: {a: b}", "Service/wcs-wcs-gateway-internal", "metadata.annotations.a", "b"},
	{"commonAnnotations: {a: b}", deployment, "spec.template.metadata.annotations.a", "b"},
	{"{commonAnnotations: {a: b}, service: {annotations: {a: c}}}", "Service/wcs-wcs-gateway", "metadata.annotations.a", "c"},
	{"service: {labels: {a: b}}", "Service/wcs-wcs-gateway", "metadata.labels.a", "b"},
	{"", "Service/wcs-wcs-gateway", "spec.ports.0.appProtocol", "kubernetes.io/ws"},
	{"tls: {secretName: a}", "Service/wcs-wcs-gateway", "spec.ports.1.appProtocol", "kubernetes.io/wss"},
	{"", "Service/wcs-wcs-gateway-internal", "spec.ports.0.appProtocol", "http"},
	{"extraPorts: [{name: rest, port: 8081, appProtocol: http}]", "Service/wcs-wcs-gateway-internal", "spec.ports.1.appProtocol", "http"},
	{"", deployment, "metadata.labels.app~1kubernetes~1io/part-of", "wcs-gateway"},
	{"extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-extra'}}]", "ConfigMap/wcs-extra", "apiVersion", "v1"},
	{"ingress: {enabled: true, hosts: [{host: a.example, paths: [{path: /ws, pathType: Exact}]}]}", "Ingress/wcs-wcs-gateway", "spec.rules.0.http.paths.0.path", "/ws"},
	{"ingress: {enabled: true, hosts: [{host: a.example, paths: [{path: /ws, pathType: Exact}]}]}", "Ingress/wcs-wcs-gateway", "spec.rules.0.http.paths.0.pathType", "Exact"},
	{"ingress: {enabled: true, hosts: [{host: a.example}]}", "Ingress/wcs-wcs-gateway", "spec.rules.0.http.paths.0.path", "/"},
	{"autoscaling: {enabled: true}", "HorizontalPodAutoscaler/wcs-wcs-gateway", "spec.metrics.0.resource.name", "cpu"},
	{"autoscaling: {enabled: true}", "HorizontalPodAutoscaler/wcs-wcs-gateway", "spec.metrics.1", nil},
	{"autoscaling: {enabled: true, behavior: {scaleDown: {selectPolicy: Disabled}}}", "HorizontalPodAutoscaler/wcs-wcs-gateway", "spec.behavior", object{"scaleDown": object{"selectPolicy": "Disabled"}}},
	{"serviceMonitor: {enabled: true, scrapeTimeout: 5s}", "ServiceMonitor/wcs-wcs-gateway", "spec.endpoints.0.scrapeTimeout", "5s"},
	{"serviceMonitor: {enabled: true, relabelings: [{targetLabel: a}]}", "ServiceMonitor/wcs-wcs-gateway", "spec.endpoints.0.relabelings.0.targetLabel", "a"},
	{"serviceMonitor: {enabled: true, metricRelabelings: [{action: drop, regex: x}]}", "ServiceMonitor/wcs-wcs-gateway", "spec.endpoints.0.metricRelabelings.0.action", "drop"},
	{"image: {repository: r.example/x}", "Pod/wcs-wcs-gateway-test", "spec.containers.0.image", "r.example/x:0.1.0"},
}

// Each value of a convention is rendered at its place, in an object that Kubernetes takes.
func TestConventionalValuesAreRendered(t *testing.T) {
	v := newValidation(t)
	for _, c := range conventions {
		o := mustRender(t, c.values).of(t, c.id)
		var got any
		if label, ok := strings.CutPrefix(c.path, "metadata.labels.app~1kubernetes~1io/"); ok {
			labels, _ := at(o, "metadata.labels").(object)
			got = labels["app.kubernetes.io/"+label]
		} else {
			got = at(o, c.path)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s of %s (-want +got):\n%s", c.values, c.path, c.id, diff)
		}
		text, err := render(kubeVersion, values(t, required, c.values))
		if err != nil {
			t.Fatal(err)
		}
		v.check(text, 0)
	}
}

// With a ConfigMap of one's own the chart makes none, and needs no settings.
func TestExistingConfigMapReplacesConfig(t *testing.T) {
	r := mustRender(t, "{existingConfigMap: mine, config: {livekit: {url: '', apiKey: ''}, redis: {addrs: []}}}")
	if _, made := r["ConfigMap/wcs-wcs-gateway"]; made {
		t.Error("the chart makes a ConfigMap, too")
	}
}

// All objects have the common annotations, labels and namespace.
func TestAllObjectsHaveCommonMetadata(t *testing.T) {
	r := mustRender(t, `{commonAnnotations: {a: b}, commonLabels: {team: media}, namespaceOverride: other, ingress: {enabled: true, hosts: [{host: a.example}]},
  httpRoute: {enabled: true, parentRefs: [{name: a}]}, autoscaling: {enabled: true}, networkPolicy: {enabled: true}, serviceMonitor: {enabled: true},
  prometheusRule: {enabled: true}, dashboard: {enabled: true}, secrets: {a: {value: b}}}`)
	if len(r) < 14 {
		t.Fatalf("%d objects", len(r))
	}
	for id, o := range r {
		for path, want := range map[string]string{"metadata.annotations.a": "b", "metadata.labels.team": "media", "metadata.namespace": "other"} {
			if got := at(o, path); got != want {
				t.Errorf("%s: %s is %v, want %s", id, path, got, want)
			}
		}
	}
}

// helm test runs a pod that asks the internal Service, and that no selector of the chart matches.
func TestHelmTestAsksTheService(t *testing.T) {
	r := mustRender(t, "networkPolicy: {enabled: true, internalFrom: [{podSelector: {matchLabels: {app: livekit}}}]}")
	pod := r.of(t, "Pod/wcs-wcs-gateway-test")
	labels, _ := at(pod, "metadata.labels").(object)
	if selects(t, at(r.of(t, deployment), "spec.selector.matchLabels"), labels) {
		t.Errorf("the Deployment selects the test's pod: %v", labels)
	}
	if got, want := fmt.Sprint(at(pod, "spec.containers.0.args")), "[healthcheck --ready --address wcs-wcs-gateway-internal:9090]"; got != want {
		t.Errorf("arguments %s, want %s", got, want)
	}
	annotations, _ := at(pod, "metadata.annotations").(object)
	if annotations["helm.sh/hook"] != "test" {
		t.Errorf("annotations %v", annotations)
	}
	var admitted bool
	from, _ := at(r.of(t, "NetworkPolicy/wcs-wcs-gateway"), "spec.ingress.1.from").([]any)
	for _, peer := range from {
		admitted = admitted || selects(t, at(peer, "podSelector.matchLabels"), labels)
	}
	if !admitted {
		t.Error("the NetworkPolicy rejects the test's pod")
	}
}

// The chart's metadata are complete, and its package has no examples.
func TestChartHasMetadata(t *testing.T) {
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Metadata
	if m.Home == "" || m.Icon == "" || len(m.Sources) == 0 || len(m.Maintainers) == 0 || m.Annotations["artifacthub.io/license"] != "Apache-2.0" {
		t.Errorf("incomplete: %+v", m)
	}
	for _, f := range c.Files {
		if strings.HasPrefix(f.Name, "examples/") {
			t.Errorf("%s is in the package", f.Name)
		}
	}
	linter := support.Linter{ChartDir: chartDir}
	rules.Chartfile(&linter)
	for _, message := range linter.Messages {
		t.Error(message)
	}
}
