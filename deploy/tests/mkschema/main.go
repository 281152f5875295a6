// Command mkschema writes the strict JSON schemas, without references, that rendered objects are checked
// against. Those of Kubernetes' own kinds come from the OpenAPI file of the module k8s.io/kubernetes,
// the others from the custom resource definitions of their projects' modules. Run it in deploy/tests
// when a kind or a version is added: go run ./mkschema schemas
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// The versions that the chart is checked against. The modules are read, not built: they are in no go.mod.
const (
	kubernetes = "k8s.io/kubernetes@v1.36.3"
	gatewayAPI = "sigs.k8s.io/gateway-api@v1.6.1"
	operator   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
)

// kinds are Kubernetes' own that the chart has, by the names of their definitions.
var kinds = []string{
	"io.k8s.api.apps.v1.Deployment", "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler", "io.k8s.api.core.v1.ConfigMap", "io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.Secret",
	"io.k8s.api.core.v1.Service", "io.k8s.api.core.v1.ServiceAccount", "io.k8s.api.networking.v1.Ingress", "io.k8s.api.networking.v1.NetworkPolicy",
	"io.k8s.api.policy.v1.PodDisruptionBudget",
}

// definitions are the files of custom resource definitions, by module.
var definitions = []struct{ module, file string }{
	{gatewayAPI, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
	{operator, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"},
	{operator, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"},
}

type object = map[string]any

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mkschema DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := builtIn(dir); err != nil {
		return fmt.Errorf("%s: %w", kubernetes, err)
	}
	for _, d := range definitions {
		if err := custom(dir, d.module, d.file); err != nil {
			return fmt.Errorf("%s, %s: %w", d.module, d.file, err)
		}
	}
	return nil
}

// moduleFile reads a file of a module, which is downloaded if it is not there yet.
func moduleFile(module, file string) ([]byte, error) {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go mod download: %w", err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(m.Dir, file))
}

func builtIn(dir string) error {
	b, err := moduleFile(kubernetes, "api/openapi-spec/swagger.json")
	if err != nil {
		return err
	}
	var spec struct {
		Definitions map[string]object `json:"definitions"`
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	for _, name := range kinds {
		d, ok := spec.Definitions[name]
		if !ok {
			return fmt.Errorf("no definition %s", name)
		}
		var id struct {
			GVK []gvk `json:"x-kubernetes-group-version-kind"`
		}
		if err := remarshal(d, &id); err != nil || len(id.GVK) != 1 {
			return errors.Join(fmt.Errorf("%s has no group, version and kind", name), err)
		}
		s := strict{definitions: spec.Definitions, open: map[string]bool{name: true}}
		if err := write(dir, id.GVK[0], s.schema(d)); err != nil {
			return err
		}
	}
	return nil
}

func custom(dir, module, file string) error {
	b, err := moduleFile(module, file)
	if err != nil {
		return err
	}
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema object }
			}
		}
	}
	if err := yaml.Unmarshal(b, &crd); err != nil {
		return err
	}
	for _, v := range crd.Spec.Versions {
		if v.Name != "v1" {
			continue
		}
		s := strict{open: map[string]bool{}}
		return write(dir, gvk{crd.Spec.Group, v.Name, crd.Spec.Names.Kind}, s.schema(v.Schema.OpenAPIV3Schema))
	}
	return errors.New("it has no version v1")
}

type gvk struct{ Group, Version, Kind string }

// write names the file as kubeconform looks for it with {{.ResourceKind}}{{.KindSuffix}}.json.
func write(dir string, id gvk, schema object) error {
	name, apiVersion := strings.ToLower(id.Kind)+"-"+id.Version, id.Version
	if id.Group != "" {
		group, _, _ := strings.Cut(id.Group, ".")
		name, apiVersion = strings.ToLower(id.Kind)+"-"+group+"-"+id.Version, id.Group+"/"+id.Version
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["required"] = []string{"apiVersion", "kind", "metadata"}
	properties, ok := schema["properties"].(object)
	if !ok {
		return fmt.Errorf("%s has no properties", id.Kind)
	}
	properties["apiVersion"], properties["kind"] = object{"const": apiVersion}, object{"const": id.Kind}
	b, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(b, '\n'), 0o644)
}

func remarshal(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}
