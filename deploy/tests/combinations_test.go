package tests

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"helm.sh/helm/v3/pkg/chartutil"
)

// options holds the parts of the chart that can be switched on, each with all values that belong to it.
// All are off by default.
var options = []string{
	`ingress: {enabled: true, className: nginx, hosts: [{host: wcs.example.com, paths: [{path: /ws}]}], tls: [{secretName: wcs-tls, hosts: [wcs.example.com]}], annotations: {a.example/b: c}}`,
	`httpRoute: {enabled: true, parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [wcs.example.com], annotations: {a.example/b: c}}`,
	`autoscaling: {enabled: true, sessionsPerPod: 5000}`,
	`networkPolicy: {enabled: true, clientsFrom: [{ipBlock: {cidr: 10.1.0.0/16}}], internalFrom: [{podSelector: {matchLabels: {app: livekit}}}], egress: [{to: [{podSelector: {}}], ports: [{port: 6379}]}]}`,
	`{podDisruptionBudget: {enabled: false}, serviceAccount: {create: false, name: gateway}}`,
	`{serviceMonitor: {enabled: true, labels: {release: prometheus}}, prometheusRule: {enabled: true, labels: {release: prometheus}}, dashboard: {enabled: true}}`,
	`tls: {secretName: wcs-tls}`,
	`secrets: {livekit-api-secret: {value: a-secret, existingSecret: null, key: null}, redis-password: {existingSecret: redis}, shop-hook: {value: another}}`,
	`service: {type: LoadBalancer, annotations: {a.example/b: c}, ports: {ws: 80, wss: 443}, nodePorts: {ws: 30080, wss: 30443}, loadBalancerClass: a.example/b, loadBalancerSourceRanges: [10.0.0.0/8], externalTrafficPolicy: Local}`,
	`{pull: {enabled: true, image: {repository: r.example/wcs-pull}, config: {livekit: {apiKey: worker}, redis: {username: puller}, networks: [10.20.0.0/16], folder: /vod, max: 5},
	  secrets: {livekit-api-secret: {value: a}, redis-password: {existingSecret: puller}}, autoscaling: {enabled: true, pullsPerPod: 4}, extraVolumes: [{name: vod, emptyDir: {}}],
	  extraVolumeMounts: [{name: vod, mountPath: /vod}]}, secrets: {pull-secret: {existingSecret: pull}}, config: {deployment: d, applications: {a: {pull: {allow: ["rtsp://*"]}}}},
	  preStop: false, liveReload: true, extraPorts: [{name: rest, port: 8081}], topologySpreadConstraints: [], resources: null}`,
	`{fullnameOverride: gw, commonLabels: {team: media}, podLabels: {a: b}, podAnnotations: {a: b}, nodeSelector: {disk: ssd}, priorityClassName: high,
	  tolerations: [{key: a, operator: Exists, effect: NoSchedule}], imagePullSecrets: [{name: registry}],
	  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname}}]}},
	  image: {repository: r.example/wcs-gateway, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
	  extraEnv: [{name: GOMEMLIMIT, value: 450MiB}], extraVolumes: [{name: ca, configMap: {name: ca}}], extraVolumeMounts: [{name: ca, mountPath: /ca}]}`,
}

// Every combination of three options renders objects that match Kubernetes' schemas: at most three are on or
// off at a time. Equal objects are validated once. TestControlPlaneAcceptsChart has all combinations.
func TestEveryCombinationOfThreeIsValid(t *testing.T) {
	v := newValidation(t)
	base := values(t, required)
	on := make([]object, len(options))
	for i, o := range options {
		on[i] = values(t, o)
	}
	var workers sync.WaitGroup
	const parallel = 4
	var sets []int
	for set := range 1 << len(options) {
		if on := bits.OnesCount(uint(set)); on <= 3 || on >= len(options)-3 {
			sets = append(sets, set)
		}
	}
	for worker := range parallel {
		workers.Go(func() {
			for i := worker; i < len(sets); i += parallel {
				set, merged := sets[i], object{}
				for i := range on {
					if set&(1<<i) != 0 {
						merged = chartutil.CoalesceTables(clone(on[i]), merged)
					}
				}
				text, err := render(kubeVersion, chartutil.CoalesceTables(merged, clone(base)))
				if err != nil {
					t.Errorf("%s: %v", names(set), err)
					return
				}
				v.check(text, set)
			}
		})
	}
	workers.Wait()
	t.Logf("%d combinations, %d different objects of %d kinds", len(sets), len(v.seen), len(v.kinds))
	if len(v.kinds) != renderedKinds {
		t.Errorf("objects of %d kinds, want %d: %v", len(v.kinds), renderedKinds, v.kinds)
	}
	for kind := range v.kinds {
		if resources[kind] == "" {
			t.Errorf("make test-k8s does not know the path of %s", kind)
		}
	}
}

// renderedKinds is the number of kinds that all combinations have.
const renderedKinds = 13

// resources maps kinds to their paths in the API of Kubernetes, for TestControlPlaneAcceptsChart.
var resources = map[string]string{
	"v1 ConfigMap": "/api/v1/%sconfigmaps/", "v1 Secret": "/api/v1/%ssecrets/", "v1 Service": "/api/v1/%sservices/", "v1 ServiceAccount": "/api/v1/%sserviceaccounts/", "v1 Pod": "/api/v1/%spods/",
	"v1 Namespace": "/api/v1/namespaces/", "v1 Node": "/api/v1/nodes/",
	"apps/v1 Deployment": "/apis/apps/v1/%sdeployments/", "autoscaling/v2 HorizontalPodAutoscaler": "/apis/autoscaling/v2/%shorizontalpodautoscalers/",
	"policy/v1 PodDisruptionBudget": "/apis/policy/v1/%spoddisruptionbudgets/", "networking.k8s.io/v1 Ingress": "/apis/networking.k8s.io/v1/%singresses/",
	"networking.k8s.io/v1 NetworkPolicy": "/apis/networking.k8s.io/v1/%snetworkpolicies/", "gateway.networking.k8s.io/v1 HTTPRoute": "/apis/gateway.networking.k8s.io/v1/%shttproutes/",
	"monitoring.coreos.com/v1 ServiceMonitor": "/apis/monitoring.coreos.com/v1/%sservicemonitors/", "monitoring.coreos.com/v1 PrometheusRule": "/apis/monitoring.coreos.com/v1/%sprometheusrules/",
	"apiextensions.k8s.io/v1 CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/",
	"apiregistration.k8s.io/v1 APIService":             "/apis/apiregistration.k8s.io/v1/apiservices/",
}

func clone(o object) object {
	c := make(object, len(o))
	for k, v := range o {
		if inner, ok := v.(object); ok {
			v = clone(inner)
		}
		c[k] = v
	}
	return c
}

// names lists the options of a set, for failure messages.
func names(set int) string {
	var on []string
	for set > 0 {
		i := bits.TrailingZeros(uint(set))
		on = append(on, strings.SplitN(strings.Trim(options[i], "{"), ":", 2)[0])
		set &= set - 1
	}
	return fmt.Sprint(on)
}

// validation validates each different object once.
type validation struct {
	t         *testing.T
	validator validator.Validator

	mu    sync.Mutex
	seen  map[[sha256.Size]byte]bool
	kinds map[string]bool
}

func newValidation(t *testing.T) *validation {
	v, err := validator.New([]string{"schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json"}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return &validation{t: t, validator: v, seen: map[[sha256.Size]byte]bool{}, kinds: map[string]bool{}}
}

func (v *validation) check(text []byte, set int) {
	for document := range documents(text) {
		if !v.first(sha256.Sum256([]byte(document))) {
			continue
		}
		for _, result := range v.validator.Validate("rendered", io.NopCloser(bytes.NewReader([]byte(document)))) {
			signature, err := result.Resource.Signature()
			if err != nil || result.Status != validator.Valid {
				v.t.Errorf("%s: %v %v %v %v in\n%s", names(set), result.Status, result.Err, result.ValidationErrors, err, document)
				continue
			}
			v.mu.Lock()
			v.kinds[signature.Version+" "+signature.Kind] = true
			v.mu.Unlock()
		}
	}
}

func (v *validation) first(sum [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := v.seen[sum]
	v.seen[sum] = true
	return !seen
}

// The validation finds a member that Kubernetes does not know, and one of a wrong type.
func TestValidationFindsFaults(t *testing.T) {
	text, err := render(kubeVersion, values(t, required))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range [][2]string{{"minReadySeconds:", "minReadySecond:"}, {"minReadySeconds: 5", "minReadySeconds: five"}, {"kind: Deployment", "kind: Deploymint"}} {
		broken := strings.Replace(string(text), fault[0], fault[1], 1)
		if broken == string(text) {
			t.Fatalf("%q is not rendered", fault[0])
		}
		v, faults := newValidation(t), 0
		for document := range documents([]byte(broken)) {
			for _, r := range v.validator.Validate("broken", io.NopCloser(strings.NewReader(document))) {
				if r.Status != validator.Valid {
					faults++
				}
			}
		}
		if faults != 1 {
			t.Errorf("%q: %d faults, want 1", fault[1], faults)
		}
	}
}
