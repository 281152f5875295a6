package tests

import (
	"encoding/base64"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// number converts a number of YAML.
func number(t testing.TB, v any) float64 {
	t.Helper()
	switch n := v.(type) {
	case float64:
		return n
	case int64:
		return float64(n)
	}
	t.Fatalf("%v is a %T, want a number", v, v)
	return 0
}

const (
	deployment = "Deployment/wcs-wcs-gateway"
	configMap  = "ConfigMap/wcs-wcs-gateway"
	podSpec    = "spec.template.spec"
	container  = podSpec + ".containers.0"
)

// The grace period covers the drain, whether preStop or the gateway waits for the load balancers.
func TestGracePeriodCoversTheDrain(t *testing.T) {
	for _, drain := range []struct{ notice, window, pace, handover time.Duration }{
		{5 * time.Second, time.Minute, 10 * time.Second, 8 * time.Second},
		{1500 * time.Millisecond, 90 * time.Minute, 0, 500 * time.Millisecond},
		{0, 0, 0, 0},
	} {
		text := fmt.Sprintf("config: {drain: {notice: %s, window: %s, pace: %s, handover: %s}}", drain.notice, drain.window, drain.pace, drain.handover)
		for _, c := range []struct {
			name, version, values string
			sleeps                bool
		}{{"preStop", kubeVersion, "", drain.notice > 0}, {"without preStop", kubeVersion, "preStop: false", false}, {"old cluster", oldKubeVersion, "", false}} {
			r := mustRenderFor(t, c.version, text, c.values)
			d := r.of(t, deployment)
			var config struct {
				Drain struct{ Notice, Window string }
			}
			if err := yaml.Unmarshal([]byte(gatewayConfig(t, r)), &config); err != nil {
				t.Fatal(err)
			}
			notice, err := time.ParseDuration(config.Drain.Notice)
			if err != nil {
				t.Fatal(err)
			}
			sleep := time.Duration(0)
			if c.sleeps {
				sleep = time.Duration(number(t, at(d, container+".lifecycle.preStop.sleep.seconds"))) * time.Second
			} else if at(d, container+".lifecycle") != nil {
				t.Errorf("%s %s: unexpected preStop", c.name, text)
			}
			if waits := sleep + notice; waits < drain.notice || waits > drain.notice+time.Second {
				t.Errorf("%s %s: the load balancers have %v", c.name, text, waits)
			}
			needs := sleep + notice + drain.window + 2*drain.pace + drain.handover + 10*time.Second
			has := number(t, at(d, podSpec+".terminationGracePeriodSeconds"))
			if has < needs.Seconds() || has > math.Ceil(needs.Seconds())+2 {
				t.Errorf("%s %s: a grace period of %v s for %v", c.name, text, has, needs)
			}
		}
	}
}

// gatewayConfig returns the gateway's file in the ConfigMap.
func gatewayConfig(t testing.TB, r rendering) string {
	t.Helper()
	data, ok := r.of(t, configMap)["data"].(object)
	if !ok {
		t.Fatal("the ConfigMap has no data")
	}
	text, ok := data["gateway.yaml"].(string)
	if !ok {
		t.Fatal("the ConfigMap has no gateway.yaml")
	}
	return text
}

func TestPodsAreConfined(t *testing.T) {
	d := mustRender(t).of(t, deployment)
	for path, want := range map[string]any{
		podSpec + ".automountServiceAccountToken":               false,
		podSpec + ".securityContext.runAsNonRoot":               true,
		podSpec + ".securityContext.seccompProfile.type":        "RuntimeDefault",
		container + ".securityContext.readOnlyRootFilesystem":   true,
		container + ".securityContext.allowPrivilegeEscalation": false,
		container + ".securityContext.capabilities.drop.0":      "ALL",
	} {
		if got := at(d, path); got != want {
			t.Errorf("%s is %v", path, got)
		}
	}
	for _, path := range []string{".resources.requests.cpu", ".resources.requests.memory", ".resources.limits.memory"} {
		if at(d, container+path) == nil {
			t.Errorf("no %s", path)
		}
	}
}

// Values of secrets are in the Secret only.
func TestSecretsAreFilesOnly(t *testing.T) {
	const apiSecret, hook = "do-not-show-1", "do-not-show-2"
	r := mustRender(t, `
config: {applications: {shop: {hooks: {url: "https://shop.example", hmacSecret: {file: /run/secrets/wcs/shop-hook}}}}}
secrets:
  livekit-api-secret: {value: `+apiSecret+`, existingSecret: null, key: null}
  shop-hook: {value: `+hook+`}
  redis-password: {existingSecret: redis, key: password}`)
	secret := r.of(t, "Secret/wcs-wcs-gateway")
	for name, want := range map[string]string{"livekit-api-secret": apiSecret, "shop-hook": hook} {
		got, err := base64.StdEncoding.DecodeString(fmt.Sprint(at(secret, "data."+name)))
		if err != nil || string(got) != want {
			t.Errorf("%s in the Secret is %q, %v", name, got, err)
		}
	}
	for id, o := range r {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if id != "Secret/wcs-wcs-gateway" && (strings.Contains(string(text), apiSecret) || strings.Contains(string(text), hook)) {
			t.Errorf("%s contains a secret", id)
		}
	}
	env, err := yaml.Marshal(at(r.of(t, deployment), container+".env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"WCS_LIVEKIT_APISECRET_FILE", "WCS_REDIS_PASSWORD_FILE", "/run/secrets/wcs/redis-password"} {
		if !strings.Contains(string(env), want) {
			t.Errorf("the container's variables lack %s:\n%s", want, env)
		}
	}
}

// The chart rejects a plain value for each setting that docs/configuration.md marks as a secret.
func TestNoSecretInTheConfigMap(t *testing.T) {
	keys := regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)` \\| \\*secret\\* \\|").FindAllStringSubmatch(string(readFile(t, root+"/docs/configuration.md")), -1)
	if len(keys) < 3 {
		t.Fatalf("the table of settings has %d secrets", len(keys))
	}
	for _, m := range keys {
		text := "config:" + strings.Join(mapSteps(m[1]), "") + " plain" + strings.Repeat("}", strings.Count(m[1], ".")+1)
		if _, err := render(kubeVersion, values(t, required, text)); err == nil {
			t.Errorf("%s is accepted as a plain value", m[1])
		}
	}
}

// mapSteps writes a path as opening YAML maps.
func mapSteps(path string) []string {
	var steps []string
	for step := range strings.SplitSeq(path, ".") {
		steps = append(steps, " {"+step+":")
	}
	return steps
}

// A setting that needs a restart rolls the pods; one that is reloaded does so unless liveReload is true.
func TestChangesRollThePods(t *testing.T) {
	annotations := func(texts ...string) string {
		return fmt.Sprint(at(mustRender(t, texts...).of(t, deployment), "spec.template.metadata.annotations"))
	}
	const live, restart = "config: {log: {level: debug}, applications: {a: {}}, limits: {pending: 9}, listen: {origins: ['*']}}", "config: {session: {maxStreams: 9}}"
	const reload = "liveReload: true"
	const own, other = "secrets: {x: {value: a}}", "secrets: {x: {value: b}}"
	for _, c := range []struct {
		name          string
		before, after []string
		rolls         bool
	}{
		{"a live setting", nil, []string{live}, true},
		{"a live setting with liveReload", []string{reload}, []string{reload, live}, false},
		{"another setting with liveReload", []string{reload}, []string{reload, restart}, true},
		{"a secret", []string{own}, []string{other}, true},
		{"replicas", nil, []string{"replicaCount: 5"}, false},
	} {
		if rolls := annotations(c.before...) != annotations(c.after...); rolls != c.rolls {
			t.Errorf("%s: rolls is %v", c.name, rolls)
		}
	}
}

// Faults in values are rejected by their path.
func TestFaultsAreRefused(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"config: {livekit: {url: ''}}", "/config/livekit/url"},
		{"config: {redis: {addrs: []}}", "/config/redis/addrs"},
		{"config: {livekit: {apiSecret: plain}}", "/config/livekit/apiSecret"},
		{"config: {redis: {password: plain}}", "/config/redis/password"},
		{"config: {livekit: {webhookKeys: {old: plain}}}", "/config/livekit/webhookKeys/old"},
		{"config: {applications: {a: {hooks: {hmacSecret: plain}}}}", "/config/applications/a/hooks/hmacSecret"},
		{"config: {rest: {users: {admin: plain}}}", "config.rest.users.admin"},
		{"config: {a: [{b: {accessToken: plain}}]}", "additional properties 'a' not allowed"},
		{"extraPorts: [{name: ws, port: 8081}]", "/extraPorts/0/name"},
		{"config: {drain: {window: 60}}", "/config/drain/window"},
		{"config: {drain: {window: 1d}}", "/config/drain/window"},
		{"config: {listen: {public: ':80'}}", "config.listen.public"},
		{"secrets: {livekit-api-secret: null}", "livekit-api-secret"},
		{"secrets: {x: {}}", "/secrets/x"},
		{"secrets: {x: {value: a, existingSecret: b}}", "/secrets/x"},
		{"replica: 3", "replica"},
		{"image: {tags: x}", "/image"},
		{"ingress: {hosts: [a.example]}", "/ingress/hosts/0"},
		{"image: {digest: 'sha256:12'}", "/image/digest"},
		{"service: {type: ExternalName}", "/service/type"},
		{"extraEnv: [{name: WCS_LIVEKIT_APISECRET, value: plain}]", "/extraEnv/0/name"},
		{"ingress: {enabled: true}", "/ingress/hosts"},
		{"httpRoute: {enabled: true}", "/httpRoute/parentRefs"},
		{"listeners: {ws: false}", "listeners.ws"},
		{"{listeners: {ws: false}, tls: {secretName: a}, ingress: {enabled: true, hosts: [{host: a.example}]}}", "ingress.enabled"},
		{"{listeners: {ws: false}, tls: {secretName: a}, httpRoute: {enabled: true, parentRefs: [{name: a}]}}", "httpRoute.enabled"},
		{"autoscaling: {enabled: true, sessionsPerPod: 0, targetCPU: 0}", "autoscaling.sessionsPerPod"},
		{"autoscaling: {minReplicas: 3, maxReplicas: 2}", "autoscaling.minReplicas"},
	} {
		_, err := render(kubeVersion, values(t, required, c.values))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.values, err)
		}
	}
	if _, err := render(kubeVersion, values(t, required, "image: {repository: ''}")); err == nil || !strings.Contains(err.Error(), "image.repository is required: no image is published") {
		t.Errorf("without an image: %v", err)
	}
	if _, err := render(kubeVersion, object{}); err == nil || !strings.Contains(err.Error(), "/config/livekit/url") {
		t.Errorf("without values: %v", err)
	}
}

func TestWebSocketsOutlastProxyTimeouts(t *testing.T) {
	r := mustRender(t, `{ingress: {enabled: true, hosts: [{host: a.example}], websocketTimeout: 1000000, annotations: {haproxy.org/timeout-tunnel: 1d}},
  httpRoute: {enabled: true, parentRefs: [{name: a}]}}`)
	annotations, ok := at(r.of(t, "Ingress/wcs-wcs-gateway"), "metadata.annotations").(object)
	if !ok {
		t.Fatal("the Ingress has no annotations")
	}
	for name, want := range map[string]string{
		"nginx.ingress.kubernetes.io/proxy-read-timeout": "1000000", "nginx.ingress.kubernetes.io/proxy-send-timeout": "1000000",
		"haproxy-ingress.github.io/timeout-tunnel": "1000000s", "haproxy.org/timeout-tunnel": "1d",
	} {
		if got := annotations[name]; got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	timeouts := at(r.of(t, "HTTPRoute/wcs-wcs-gateway"), "spec.rules.0.timeouts")
	if want := "map[backendRequest:0s request:0s]"; fmt.Sprint(timeouts) != want {
		t.Errorf("the HTTPRoute's timeouts are %v", timeouts)
	}
}

// Either the autoscaler or replicas sets the number of pods. The autoscaler scales down slowly and uses
// two metrics.
func TestEitherAutoscalerOrReplicasSetsNumberOfPods(t *testing.T) {
	if got := at(mustRender(t).of(t, deployment), "spec.replicas"); number(t, got) != 2 {
		t.Errorf("%v replicas", got)
	}
	r := mustRender(t, "autoscaling: {enabled: true, sessionsPerPod: 4000000}")
	if got := at(r.of(t, deployment), "spec.replicas"); got != nil {
		t.Errorf("%v replicas although the autoscaler is enabled", got)
	}
	spec := r.of(t, "HorizontalPodAutoscaler/wcs-wcs-gateway")["spec"]
	for path, want := range map[string]any{
		"metrics.0.pods.metric.name": "wcs_sessions", "metrics.0.pods.target.averageValue": "4000000", "metrics.1.resource.name": "cpu",
		"scaleTargetRef.name": "wcs-wcs-gateway", "behavior.scaleDown.policies.0.type": "Pods",
	} {
		if got := at(spec, path); got != want {
			t.Errorf("%s is %v", path, got)
		}
	}
	if got := number(t, at(spec, "behavior.scaleDown.stabilizationWindowSeconds")); got < 300 {
		t.Errorf("it scales down after %v s", got)
	}
}

// Every selector matches the pods, and the ServiceMonitor the one Service with the metrics.
func TestSelectorsMatchThePods(t *testing.T) {
	r := mustRender(t, "{serviceMonitor: {enabled: true}, networkPolicy: {enabled: true}, commonLabels: {team: media}}")
	pods, _ := at(r.of(t, deployment), "spec.template.metadata.labels").(object)
	for id, path := range map[string]string{
		deployment: "spec.selector.matchLabels", "Service/wcs-wcs-gateway": "spec.selector", "Service/wcs-wcs-gateway-internal": "spec.selector",
		"PodDisruptionBudget/wcs-wcs-gateway": "spec.selector.matchLabels", "NetworkPolicy/wcs-wcs-gateway": "spec.podSelector.matchLabels",
	} {
		if !selects(t, at(r.of(t, id), path), pods) {
			t.Errorf("%s does not select the pods", id)
		}
	}
	monitor := r.of(t, "ServiceMonitor/wcs-wcs-gateway")
	var scraped []string
	for id, o := range r {
		if labels, _ := at(o, "metadata.labels").(object); o["kind"] == "Service" && selects(t, at(monitor, "spec.selector.matchLabels"), labels) {
			scraped = append(scraped, id)
		}
	}
	if want := []string{"Service/wcs-wcs-gateway-internal"}; !slices.Equal(scraped, want) {
		t.Errorf("the ServiceMonitor selects %v", scraped)
	}
}

func selects(t testing.TB, selector any, labels object) bool {
	t.Helper()
	s, ok := selector.(object)
	if !ok || len(s) == 0 {
		t.Fatalf("%v is not a selector", selector)
	}
	for k, v := range s {
		if labels[k] != v {
			return false
		}
	}
	return true
}
