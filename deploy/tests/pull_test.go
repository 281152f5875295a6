package tests

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

// workers are the least values for workers.
const workers = `
secrets: {pull-secret: {existingSecret: pull}}
pull:
  enabled: true
  image: {repository: registry.example/wcs-pull}
  config: {livekit: {apiKey: worker}, redis: {username: puller}, max: 5}
  secrets: {livekit-api-secret: {value: do-not-show}, redis-password: {existingSecret: puller, key: password}}
`

const pullDeployment = "Deployment/wcs-wcs-gateway-pull"

// workerBinary builds the worker of this tree once and returns its path.
var workerBinary = sync.OnceValues(func() (string, error) {
	binary, err := filepath.Abs(root + "/bin/wcs-pull-checked")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/wcs-pull")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// checkWorker has the worker check a configuration, with files in dir, and returns its errors.
func checkWorker(t testing.TB, config string, environ []string) error {
	t.Helper()
	binary, err := workerBinary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pull.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "--config", file, "check-config")
	cmd.Env = append(environ, "PATH="+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// The worker and the gateway take what the chart renders for them.
func TestWorkerTakesTheConfig(t *testing.T) {
	dir := runDir(t)
	documented, _, ok := strings.Cut(string(readFile(t, root+"/docs/pull.md")), "  extraVolumeMounts:")
	if !ok {
		t.Fatal("docs/pull.md has no values")
	}
	documented = strings.ReplaceAll(documented[strings.LastIndex(documented, "```yaml\n")+len("```yaml\n"):], "/vod", "/tmp")
	for _, text := range []string{
		workers, documented, workers + "config: {deployment: d, redis: {username: gateway, lease: 4s, tls: {enabled: true}}}",
		strings.Replace(workers, "max: 5", "max: 5, networks: [10.20.0.0/16], folder: /tmp, log: {level: debug}", 1),
	} {
		r := mustRender(t, text)
		data, _ := at(r.of(t, "ConfigMap/wcs-wcs-gateway-pull"), "data").(object)
		config, _ := data["pull.yaml"].(string)
		environ := workerEnv(t, r, dir)
		if err := checkWorker(t, config, environ); err != nil {
			t.Errorf("%s:\n%v\n%s\n%v", text, err, config, environ)
		}
		if strings.Contains(config, "gateway") || !strings.Contains(config, "username: ") {
			t.Errorf("the worker has the gateway's user or key:\n%s", config)
		}
		if err := checkConfig(t.Context(), t, strings.ReplaceAll(gatewayConfig(t, r), "/run/secrets", dir), containerEnv(t, r, dir)); err != nil {
			t.Errorf("%s: the gateway: %v", text, err)
		}
	}
}

func workerEnv(t testing.TB, r rendering, dir string) (environ []string) {
	t.Helper()
	var env []struct{ Name, Value string }
	b, err := yaml.Marshal(at(r.of(t, pullDeployment), container+".env"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &env); err != nil {
		t.Fatal(err)
	}
	for _, e := range env {
		environ = append(environ, e.Name+"="+strings.ReplaceAll(e.Value, "/run/secrets", dir))
	}
	return environ
}

// The sandbox needs a seccomp profile of the workers' own, which leaves the rest of their context as it is.
func TestWorkersCanHaveASeccompProfileOfTheirOwn(t *testing.T) {
	const context = "spec.template.spec.securityContext"
	for values, want := range map[string]object{
		"": {"type": "RuntimeDefault"},
		"pull: {seccompProfile: {type: Localhost, localhostProfile: wcs-pull.json}, config: {sandbox: required}}": {"type": "Localhost", "localhostProfile": "wcs-pull.json"},
	} {
		r := mustRender(t, workers, values)
		d := r.of(t, pullDeployment)
		if got := at(d, context+".seccompProfile"); !reflect.DeepEqual(got, want) || at(d, context+".runAsNonRoot") != true {
			t.Errorf("%q: profile %v, want %v; runAsNonRoot %v", values, got, want, at(d, context+".runAsNonRoot"))
		}
		if got := at(r.of(t, deployment), context+".seccompProfile.type"); got != "RuntimeDefault" {
			t.Errorf("%q: the gateway's profile is %v", values, got)
		}
	}
}

func TestWorkersAreOffByDefault(t *testing.T) {
	for id := range mustRender(t, "") {
		if strings.HasSuffix(id, "-pull") {
			t.Errorf("%s is rendered", id)
		}
	}
}

// Selectors of the gateways select no worker, and those of workers all workers.
func TestSelectorsTellWorkersFromGateways(t *testing.T) {
	r := mustRender(t, workers, "{serviceMonitor: {enabled: true}, networkPolicy: {enabled: true}, commonLabels: {team: media}, pull: {autoscaling: {enabled: true, pullsPerPod: 4}}}")
	gateways, _ := at(r.of(t, deployment), "spec.template.metadata.labels").(object)
	pods, _ := at(r.of(t, pullDeployment), "spec.template.metadata.labels").(object)
	for kind, path := range map[string]string{
		"Deployment": "spec.selector.matchLabels", "Service": "spec.selector", "PodDisruptionBudget": "spec.selector.matchLabels", "NetworkPolicy": "spec.podSelector.matchLabels",
	} {
		for suffix, want := range map[string][2]bool{"": {true, false}, "-pull": {false, true}} {
			selector := at(r.of(t, kind+"/wcs-wcs-gateway"+suffix), path)
			if got := [2]bool{selects(t, selector, gateways), selects(t, selector, pods)}; got != want {
				t.Errorf("%s%s selects %v of gateways and workers", kind, suffix, got)
			}
		}
	}
	for suffix, want := range map[string][]string{"": {"Service/wcs-wcs-gateway-internal"}, "-pull": {"Service/wcs-wcs-gateway-pull"}} {
		var scraped []string
		for id, o := range r {
			labels, _ := at(o, "metadata.labels").(object)
			if o["kind"] == "Service" && selects(t, at(r.of(t, "ServiceMonitor/wcs-wcs-gateway"+suffix), "spec.selector.matchLabels"), labels) {
				scraped = append(scraped, id)
			}
		}
		if !slices.Equal(scraped, want) {
			t.Errorf("the ServiceMonitor%s selects %v", suffix, scraped)
		}
	}
	d, hpa := r.of(t, pullDeployment), r.of(t, "HorizontalPodAutoscaler/wcs-wcs-gateway-pull")
	for path, want := range map[string]any{
		"spec.scaleTargetRef.name": "wcs-wcs-gateway-pull", "spec.metrics.0.pods.metric.name": "wcs_pull_running", "spec.metrics.0.pods.target.averageValue": "4",
		"spec.metrics.1.resource.name": "cpu",
	} {
		if got := at(hpa, path); got != want {
			t.Errorf("%s is %v", path, got)
		}
	}
	if got := at(d, "spec.replicas"); got != nil {
		t.Errorf("%v replicas although the autoscaler is enabled", got)
	}
	for path, want := range map[string]any{
		podSpec + ".automountServiceAccountToken": false, podSpec + ".securityContext.runAsNonRoot": true, container + ".securityContext.readOnlyRootFilesystem": true,
		container + ".securityContext.capabilities.drop.0": "ALL", container + ".image": "registry.example/wcs-pull:0.1.0",
	} {
		if got := at(d, path); got != want {
			t.Errorf("%s is %v", path, got)
		}
	}
}

// Workers have their own secrets and the one that they share with the gateways, and none of the gateways'.
func TestWorkersHaveTheirOwnSecrets(t *testing.T) {
	r := mustRender(t, workers, "secrets: {pull-secret: {value: shared, existingSecret: null}, shop-hook: {value: other}}")
	got, err := base64.StdEncoding.DecodeString(fmt.Sprint(at(r.of(t, "Secret/wcs-wcs-gateway-pull"), "data.livekit-api-secret")))
	if err != nil || string(got) != "do-not-show" {
		t.Errorf("the Secret has %q, %v", got, err)
	}
	text, err := yaml.Marshal(r.of(t, pullDeployment))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"do-not-show", "shop-hook", "shared"} {
		if strings.Contains(string(text), wrong) {
			t.Errorf("the workers' Deployment has %s", wrong)
		}
	}
	var sources []string
	volumes, _ := at(r.of(t, pullDeployment), podSpec+".volumes").([]any)
	for _, v := range volumes {
		if at(v, "name") != "secrets" {
			continue
		}
		all, _ := at(v, "projected.sources").([]any)
		for _, s := range all {
			sources = append(sources, fmt.Sprint(at(s, "secret.name"), "/", at(s, "secret.items.0.key")))
		}
	}
	slices.Sort(sources)
	if want := []string{"puller/password", "wcs-wcs-gateway-pull/livekit-api-secret", "wcs-wcs-gateway/pull-secret"}; !slices.Equal(sources, want) {
		t.Errorf("secrets from %v", sources)
	}
	roll := func(texts ...string) string {
		return fmt.Sprint(at(mustRender(t, append([]string{workers}, texts...)...).of(t, pullDeployment), "spec.template.metadata.annotations"))
	}
	for _, change := range []string{"pull: {config: {max: 6}}", "pull: {secrets: {livekit-api-secret: {value: new}}}", "config: {redis: {addrs: ['other:6379']}}"} {
		if roll() == roll(change) {
			t.Errorf("%s does not roll the workers", change)
		}
	}
}

func TestFaultsOfWorkersAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"pull: {image: {repository: ''}}":                          "pull.image.repository is required: no image is published",
		"secrets: {pull-secret: null}":                             "pull.enabled needs secrets.pull-secret",
		"pull: {secrets: {livekit-api-secret: null}}":              "pull.enabled needs pull.secrets.livekit-api-secret",
		"pull: {config: {livekit: {apiKey: ''}}}":                  "pull.enabled needs pull.config.livekit.apiKey",
		"pull: {config: {redis: {password: plain}}}":               "pull.config.redis.password",
		"pull: {config: {secret: plain}}":                          "/pull/config/secret",
		"pull: {config: {maximum: 3}}":                             "invalid propertyName 'maximum'",
		"pull: {secrets: {other: {value: a}}}":                     "invalid propertyName 'other'",
		"pull: {autoscaling: {enabled: true, targetCPU: 0}}":       "pull.autoscaling.pullsPerPod",
		"pull: {autoscaling: {minReplicas: 3, maxReplicas: 2}}":    "pull.autoscaling.minReplicas",
		"pull: {extraEnv: [{name: WCS_PULL_SECRET, value: text}]}": "/pull/extraEnv/0/name",
	} {
		if _, err := render(kubeVersion, values(t, required, workers, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a fault with %s", text, err, want)
		}
	}
}

// The profile pull has a worker with the gateways' secret. Worker and gateways take their variables.
func TestComposeProfileHasWorker(t *testing.T) {
	settings := composeSettings(t)
	settings["PULL_SECRET"], settings["PULL_NETWORKS"] = "0123456789abcdef0123456789abcdef", "192.168.1.0/24,10.0.0.0/8"
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	project, err := loadComposeFile(t.Context(), t, "compose.yaml", environ, "pull")
	if err != nil {
		t.Fatal(err)
	}
	pull, ok := project.Services["pull"]
	if !ok || pull.Build == nil || pull.Build.Target != "wcs-pull" {
		t.Fatalf("the worker is %+v", pull)
	}
	of := func(name string) (environ []string) {
		for k, v := range project.Services[name].Environment {
			environ = append(environ, k+"="+*v)
		}
		return environ
	}
	if err := checkWorker(t, "{}", of("pull")); err != nil {
		t.Error(err)
	}
	if err := checkConfig(t.Context(), t, "{}", of("gateway-1")); err != nil {
		t.Error(err)
	}
	for worker, gateway := range map[string]string{"WCS_PULL_SECRET": "WCS_PULL_SECRET", "WCS_PULL_REDIS_ADDRS": "WCS_REDIS_ADDRS", "WCS_PULL_LIVEKIT_URL": "WCS_LIVEKIT_URL"} {
		if a, b := *pull.Environment[worker], *project.Services["gateway-1"].Environment[gateway]; a != b {
			t.Errorf("%s is %s, the gateway's %s", worker, a, b)
		}
	}
}
