package tests

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"
)

const (
	root     = "../.."
	chartDir = root + "/deploy/chart/wcs-gateway"

	// kubeVersion is the version of the schemas.
	kubeVersion = "v1.36.3"
	// oldKubeVersion is the oldest version that the chart supports. It has no sleep action.
	oldKubeVersion = "v1.27.0"

	release, namespace = "wcs", "media"
)

type object = map[string]any

// required holds the least values that the chart accepts.
const required = `
image: {repository: registry.example/wcs-gateway}
config:
  livekit: {url: "http://livekit:80", apiKey: gateway}
  redis: {addrs: ["redis:6379"]}
secrets:
  livekit-api-secret: {existingSecret: livekit-keys, key: apiSecret}
`

var loadChart = sync.OnceValues(func() (*chart.Chart, error) { return loader.Load(chartDir) })

// values merges YAML texts into one. Later texts win.
func values(t testing.TB, texts ...string) object {
	t.Helper()
	merged := object{}
	for _, text := range texts {
		var v object
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		merged = chartutil.CoalesceTables(v, merged)
	}
	return merged
}

// rendering holds the objects that Helm renders, by kind and name.
type rendering map[string]object

// render renders the chart as `helm template` does, including NOTES.txt.
func render(version string, v object) ([]byte, error) {
	c, err := loadChart()
	if err != nil {
		return nil, err
	}
	caps := *chartutil.DefaultCapabilities
	kube, err := chartutil.ParseKubeVersion(version)
	if err != nil {
		return nil, err
	}
	caps.KubeVersion = *kube
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(c, v, options, &caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			fmt.Fprintf(&b, "---\n%s\n", text)
		}
	}
	return []byte(b.String()), nil
}

// mustRender renders for kubeVersion.
func mustRender(t testing.TB, texts ...string) rendering {
	t.Helper()
	return mustRenderFor(t, kubeVersion, texts...)
}

func mustRenderFor(t testing.TB, version string, texts ...string) rendering {
	t.Helper()
	return mustRenderValues(t, version, values(t, append([]string{required}, texts...)...))
}

func mustRenderValues(t testing.TB, version string, v object) rendering {
	t.Helper()
	text, err := render(version, v)
	if err != nil {
		t.Fatal(err)
	}
	all := rendering{}
	for document := range documents(text) {
		var o object
		if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		id := fmt.Sprintf("%v/%v", o["kind"], at(o, "metadata.name"))
		if _, twice := all[id]; twice {
			t.Fatalf("%s is rendered twice", id)
		}
		all[id] = o
	}
	return all
}

// documents returns the YAML documents that are not empty.
func documents(text []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			document = strings.TrimSpace(strings.TrimPrefix(document, "---\n"))
			if document != "" && !yield(document) {
				return
			}
		}
	}
}

// of returns the object with a kind and name.
func (r rendering) of(t testing.TB, id string) object {
	t.Helper()
	o, ok := r[id]
	if !ok {
		t.Fatalf("%s is not rendered, only %v", id, sortedKeys(r))
	}
	return o
}

// at follows a path of members and, by their number, items. It returns nil for a missing one.
func at(o any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch v := o.(type) {
		case object:
			o = v[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(v) {
				return nil
			}
			o = v[i]
		default:
			return nil
		}
	}
	return o
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range maps.Keys(m) {
		keys = append(keys, k)
	}
	return keys
}

func TestChartPassesHelmLint(t *testing.T) {
	for _, messages := range [][]support.Message{
		lint.All(chartDir, values(t, required), namespace, true).Messages,
		lint.All(chartDir, fileValues(t, filepath.Join(chartDir, "examples/gateway.yaml")), namespace, true).Messages,
	} {
		for _, m := range messages {
			if m.Severity > support.InfoSev {
				t.Error(m)
			}
		}
	}
}

func fileValues(t testing.TB, file string) object {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return values(t, string(b))
}

// gatewayBinary builds the gateway of this tree once and returns its path.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	binary, err := filepath.Abs(root + "/bin/wcs-gateway-checked")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/wcs-gateway")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// checkConfig has the gateway check a configuration and returns its errors.
func checkConfig(ctx context.Context, t testing.TB, config string, environ []string) error {
	t.Helper()
	binary, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.CommandContext(ctx, binary, "--config", file, "--check-config")
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, &out, io.Discard
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}
